//! Sentence pairs with a human score of their likeness: one pair a line, `score<TAB>sentence<TAB>sentence`.

use super::documents::read_text;
use super::error::CorpusError;
use std::path::Path;

/// Two sentences and how alike people found them.
#[derive(Debug, Clone, PartialEq)]
pub struct SentencePair {
    /// The human score, on any scale.
    pub score: f64,
    /// One sentence.
    pub left: String,
    /// The other.
    pub right: String,
}

/// All pairs of a file, in its order; at least two, so that there is something to rank.
pub fn read_sentence_pairs(path: &Path) -> Result<Vec<SentencePair>, CorpusError> {
    let text = read_text(path)?;
    let lines = text.lines().enumerate();
    let pairs: Vec<SentencePair> = lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            parse(line).map_err(|problem| CorpusError::Line {
                line: index + 1,
                problem,
                path: path.to_path_buf(),
            })
        })
        .collect::<Result<_, _>>()?;
    if pairs.len() < 2 {
        let name = path.display().to_string();
        return Err(CorpusError::Empty { name });
    }
    Ok(pairs)
}

fn parse(line: &str) -> Result<SentencePair, String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [score, left, right] = fields[..] else {
        return Err(format!(
            "has {} fields; a pair is score, sentence and sentence, separated by tabs",
            fields.len()
        ));
    };
    let parsed = score.trim().parse::<f64>().ok();
    let score = parsed
        .filter(|number| number.is_finite())
        .ok_or_else(|| format!("begins with {score:?}, which is no score"))?;
    Ok(SentencePair {
        score,
        left: left.to_owned(),
        right: right.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_a_score_and_two_sentences() {
        let pair = parse("2.5\tA b.\tC d.").unwrap();
        assert_eq!(
            (pair.score, pair.left.as_str(), pair.right.as_str()),
            (2.5, "A b.", "C d.")
        );
    }

    #[test]
    fn other_lines_say_why() {
        for (line, expected) in [
            ("1\ta", "2 fields"),
            ("x\ta\tb", "\"x\""),
            ("NaN\ta\tb", "NaN"),
        ] {
            let problem = parse(line).unwrap_err();
            assert!(problem.contains(expected), "{problem} lacks {expected}");
        }
    }
}

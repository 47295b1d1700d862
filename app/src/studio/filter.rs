//! The filter language of the table of layers.
//!
//! Words join with "and": plain text in a name, `re:` a regular expression (to the end of the line), `role:mlp`,
//! `method:gptq`, `prune:wanda`, `pattern:2:4`, `sparsity>0.5`, `block:3` or `block:3-7`, comparisons such as `bits<4`, `error>1e-2`, `size>=1MB`, `bpw<4.5`, and the
//! marks `locked`, `selected`, `dense`. A `-` before a word turns it around.
//! Knows no table: facts of a layer are handed in.

use regex::Regex;

/// What a filter may ask of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Name.
    pub name: &'a str,
    /// What it does in the network.
    pub role: &'a str,
    /// Block, if any.
    pub block: Option<usize>,
    /// Method's word.
    pub method: &'a str,
    /// Bits of a code; `None` = dense.
    pub bits: Option<u8>,
    /// Group.
    pub group: usize,
    /// Share of weights that become zero.
    pub sparsity: f64,
    /// The word of how zeros are chosen; `none` where none are.
    pub prune: &'a str,
    /// Where zeros may lie; empty where there are none.
    pub pattern: &'a str,
    /// Stored bits for each weight.
    pub bits_per_weight: f64,
    /// Bytes to be written.
    pub bytes: u64,
    /// Weights.
    pub parameters: u64,
    /// Relative error, where known.
    pub error: Option<f64>,
    /// Edits leave it alone.
    pub locked: bool,
    /// It is selected.
    pub selected: bool,
}

/// A filter, ready to ask.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

/// Why a text is no filter, for the line under the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FilterError {
    /// What is wrong and what would be right.
    pub problem: String,
}

#[derive(Debug, Clone)]
struct Term {
    turned: bool,
    ask: Ask,
    /// As typed: the text of its chip.
    text: String,
}

#[derive(Debug, Clone)]
enum Ask {
    Plain(String),
    Regex(Regex),
    Role(String),
    Method(String),
    Prune(String),
    Pattern(String),
    Block(usize, usize),
    Number(Field, Sign, f64),
    Locked,
    Selected,
    Dense,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Bits,
    Group,
    Sparsity,
    BitsPerWeight,
    Bytes,
    Parameters,
    Error,
    Block,
}

#[derive(Debug, Clone, Copy)]
enum Sign {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
    Unequal,
}

/// Names of number fields, as typed.
const FIELDS: [(&str, Field); 14] = [
    ("bits", Field::Bits),
    ("group", Field::Group),
    ("sparsity", Field::Sparsity),
    ("zeros", Field::Sparsity),
    ("bpw", Field::BitsPerWeight),
    ("bytes", Field::Bytes),
    ("size", Field::Bytes),
    ("parameters", Field::Parameters),
    ("params", Field::Parameters),
    ("weights", Field::Parameters),
    ("error", Field::Error),
    ("err", Field::Error),
    ("block", Field::Block),
    ("layer", Field::Block),
];

/// Comparison signs, longest first.
const SIGNS: [(&str, Sign); 7] = [
    ("<=", Sign::LessOrEqual),
    (">=", Sign::MoreOrEqual),
    ("!=", Sign::Unequal),
    ("==", Sign::Equal),
    ("<", Sign::Less),
    (">", Sign::More),
    ("=", Sign::Equal),
];

impl Filter {
    /// Reads a filter; an empty text lets everything through.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut terms = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (turned, body) = match rest.strip_prefix('-') {
                Some(body) if !body.is_empty() => (true, body),
                _ => (false, rest),
            };
            let word_end = match body.starts_with("re:") {
                true => body.len(),
                false => body.find(char::is_whitespace).unwrap_or(body.len()),
            };
            let word = &body[..word_end];
            let text = rest[..rest.len() - body.len() + word_end].to_owned();
            terms.push(Term {
                turned,
                ask: ask(word)?,
                text,
            });
            rest = body[word_end..].trim_start();
        }
        Ok(Self { terms })
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a layer passes.
    pub fn passes(&self, facts: &Facts<'_>) -> bool {
        self.terms
            .iter()
            .all(|term| term.ask.holds(facts) != term.turned)
    }

    /// Its words, as typed: one chip each.
    pub fn chips(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| term.text.as_str())
    }

    /// The filter's text without its chip number `index`.
    pub fn without(&self, index: usize) -> String {
        let kept = self.terms.iter().enumerate().filter(|(i, _)| *i != index);
        let words: Vec<&str> = kept.map(|(_, term)| term.text.as_str()).collect();
        words.join(" ")
    }

    /// Byte ranges of `name` that plain words and expressions hit: what a table marks.
    pub fn hits(&self, name: &str) -> Vec<std::ops::Range<usize>> {
        let mut hits = Vec::new();
        for term in self.terms.iter().filter(|term| !term.turned) {
            match &term.ask {
                Ask::Plain(word) => {
                    // Names are ASCII nearly always; where they are not, lower case may move bytes and nothing is marked.
                    let lower = name.to_lowercase();
                    if lower.len() == name.len() {
                        hits.extend(lower.find(word).map(|at| at..at + word.len()));
                    }
                }
                Ask::Regex(regex) => hits.extend(regex.find(name).map(|hit| hit.range())),
                _ => {}
            }
        }
        hits.retain(|hit| {
            !hit.is_empty() && name.is_char_boundary(hit.start) && name.is_char_boundary(hit.end)
        });
        hits.sort_by_key(|hit| hit.start);
        hits
    }
}

fn ask(word: &str) -> Result<Ask, FilterError> {
    if let Some(expression) = word.strip_prefix("re:") {
        return Regex::new(expression).map(Ask::Regex).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            problem(format!(
                "Not a regular expression: {}",
                last.trim_start_matches("error: ")
            ))
        });
    }
    if let Some(role) = word.strip_prefix("role:") {
        return Ok(Ask::Role(role.to_lowercase()));
    }
    if let Some(method) = word.strip_prefix("method:") {
        return Ok(Ask::Method(method.to_lowercase()));
    }
    if let Some(method) = word.strip_prefix("prune:") {
        return Ok(Ask::Prune(method.to_lowercase()));
    }
    if let Some(pattern) = word.strip_prefix("pattern:") {
        return Ok(Ask::Pattern(pattern.to_lowercase()));
    }
    if let Some(blocks) = word.strip_prefix("block:") {
        return block_range(blocks);
    }
    match word {
        "locked" => return Ok(Ask::Locked),
        "selected" => return Ok(Ask::Selected),
        "dense" => return Ok(Ask::Dense),
        _ => {}
    }
    match comparison(word) {
        Some(comparison) => comparison,
        None => Ok(Ask::Plain(word.to_lowercase())),
    }
}

fn block_range(text: &str) -> Result<Ask, FilterError> {
    let wrong = || problem(format!("Not a block: {text}; write block:3 or block:3-7"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    Ok(Ask::Block(number(first)?, number(last)?))
}

/// `None` where the word is no comparison of a known field.
fn comparison(word: &str) -> Option<Result<Ask, FilterError>> {
    let at = word.find(['<', '>', '=', '!'])?;
    let (name, rest) = word.split_at(at);
    let name = name.to_lowercase();
    let (sign_text, sign) = SIGNS.iter().find(|(text, _)| rest.starts_with(text))?;
    let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
        return Some(Err(problem(format!(
            "Unknown field {name}; use bits, group, sparsity, bpw, size, params, error or block"
        ))));
    };
    let value = &rest[sign_text.len()..];
    Some(match number(value) {
        Some(value) => Ok(Ask::Number(*field, *sign, value)),
        None => Err(problem(format!(
            "Not a number after {name}{sign_text}; write a number such as 4, 1e-2 or 2MB"
        ))),
    })
}

/// A number with or without a unit of bytes.
fn number(text: &str) -> Option<f64> {
    if let Ok(value) = text.parse::<f64>() {
        return value.is_finite().then_some(value);
    }
    let lower = text.to_lowercase();
    let units = [
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("k", 1e3),
        ("m", 1e6),
        ("g", 1e9),
        ("b", 1.0),
    ];
    let (digits, unit) = units
        .iter()
        .find_map(|(unit, scale)| lower.strip_suffix(unit).map(|digits| (digits, scale)))?;
    digits.parse::<f64>().ok().map(|value| value * unit)
}

fn problem(problem: String) -> FilterError {
    FilterError { problem }
}

impl Ask {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Plain(word) => facts.name.to_lowercase().contains(word),
            Self::Regex(regex) => regex.is_match(facts.name),
            Self::Role(role) => role_fits(facts, role),
            Self::Method(method) => facts.method == method,
            Self::Prune(method) => facts.prune == method,
            Self::Pattern(pattern) => facts.pattern == pattern,
            Self::Block(first, last) => facts
                .block
                .is_some_and(|block| (*first..=*last).contains(&block)),
            Self::Number(field, sign, value) => field
                .of(facts)
                .is_some_and(|found| sign.holds(found, *value)),
            Self::Locked => facts.locked,
            Self::Selected => facts.selected,
            Self::Dense => facts.bits.is_none(),
        }
    }
}

/// A role's own word, or the part of the block it belongs to (`mlp`, `ffn`, `attn`).
fn role_fits(facts: &Facts<'_>, role: &str) -> bool {
    let name = facts.name.to_lowercase();
    let part = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match role {
        "mlp" | "ffn" => part(&["mlp", "ffn", "feed_forward", "intermediate"]),
        "attn" | "attention" => part(&["attn", "attention"]),
        role => facts.role.to_lowercase().contains(role),
    }
}

impl Field {
    fn of(self, facts: &Facts<'_>) -> Option<f64> {
        match self {
            Self::Bits => facts.bits.map(f64::from),
            Self::Group => facts.bits.map(|_| facts.group as f64),
            Self::Sparsity => Some(facts.sparsity),
            Self::BitsPerWeight => Some(facts.bits_per_weight),
            Self::Bytes => Some(facts.bytes as f64),
            Self::Parameters => Some(facts.parameters as f64),
            Self::Error => facts.error,
            Self::Block => facts.block.map(|block| block as f64),
        }
    }
}

impl Sign {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::More => left > right,
            Self::MoreOrEqual => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

#[cfg(test)]
mod tests;

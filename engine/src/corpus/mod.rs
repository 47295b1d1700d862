//! Text as token ids: reading, tokenizing once, cutting into windows, seeded sampling of sequences.
//!
//! Knows no model: the size of its vocabulary is handed in. The rules, which perplexity depends on: a text is tokenized
//! as a whole with the tokenizer's own special tokens; windows do not overlap and start at the first token; a last
//! partial window is dropped. Records of a `.jsonl` are texts of their own, so each gets its special tokens; their ids
//! follow one another in file order.

mod documents;
mod error;
mod ids;
mod pairs;
mod stream;
mod tokenizer;

pub use documents::{read_documents, read_sentences};
pub use error::CorpusError;
pub use pairs::{SentencePair, read_sentence_pairs};
pub use stream::TextStream;
pub use tokenizer::Tokenizer;

use crate::rng::Rng;
use documents::extension;
use rayon::prelude::*;
use std::path::Path;

/// The random stream that draws sequences.
const SEQUENCE_STREAM: u64 = 0x5345_5155;

/// A text as token ids that all fit one vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    ids: Vec<u32>,
    name: String,
}

impl Corpus {
    /// Opens a `.txt` (UTF-8), a `.jsonl` (records with a `"text"`) or a `.safetensors` (`input_ids`), and makes sure
    /// that every id is below `vocabulary`. The first two need the model's tokenizer.
    pub fn open(
        path: &Path,
        tokenizer: Option<&Tokenizer>,
        vocabulary: usize,
    ) -> Result<Self, CorpusError> {
        if extension(path) == "safetensors" {
            return Self::from_ids(&path.display().to_string(), ids::read(path)?, vocabulary);
        }
        let documents = read_documents(path)?;
        let tokenizer = tokenizer.ok_or_else(|| CorpusError::NoTokenizer {
            path: path.to_path_buf(),
        })?;
        Self::from_documents(
            &path.display().to_string(),
            &documents,
            tokenizer,
            vocabulary,
        )
    }

    /// Tokenizes texts, each as a whole, and puts their ids one after another. `name` is for messages.
    pub fn from_documents<T: AsRef<str> + Sync>(
        name: &str,
        documents: &[T],
        tokenizer: &Tokenizer,
        vocabulary: usize,
    ) -> Result<Self, CorpusError> {
        let encoded: Vec<Vec<u32>> = documents
            .par_iter()
            .map(|document| tokenizer.encode(document.as_ref()))
            .collect::<Result<_, _>>()?;
        Self::from_ids(name, encoded.concat(), vocabulary)
    }

    /// Takes token ids as they are. `name` is for messages.
    pub fn from_ids(name: &str, ids: Vec<u32>, vocabulary: usize) -> Result<Self, CorpusError> {
        if ids.is_empty() {
            return Err(CorpusError::Empty { name: name.into() });
        }
        let beyond = ids.iter().position(|&id| id as usize >= vocabulary);
        match beyond {
            Some(position) => Err(CorpusError::BeyondVocabulary {
                id: ids[position],
                position,
                vocabulary,
                name: name.into(),
            }),
            None => Ok(Self {
                ids,
                name: name.into(),
            }),
        }
    }

    /// All token ids.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Non-overlapping windows of `length` tokens from the first token on, the last partial one dropped. At least one.
    pub fn windows(&self, length: usize) -> Result<Vec<&[u32]>, CorpusError> {
        self.at_least(1, length)?;
        Ok(self.ids.chunks_exact(length).collect())
    }

    /// `count` different windows, drawn by `seed` from those that `windows` gives, in the order of the text.
    pub fn sample_sequences(
        &self,
        seed: u64,
        count: usize,
        length: usize,
    ) -> Result<Vec<&[u32]>, CorpusError> {
        self.at_least(count, length)?;
        let mut order = self.shuffled_windows(seed, length);
        order.truncate(count);
        order.sort_unstable();
        let sequence = |&index: &usize| &self.ids[index * length..(index + 1) * length];
        Ok(order.iter().map(sequence).collect())
    }

    /// At most `count` sequences of `length` tokens from windows that `sample_sequences` with `drawn` (seed, count, length)
    /// does not give, in the order of the text; none where those take the whole text.
    pub fn held_out_sequences(
        &self,
        drawn: (u64, usize, usize),
        count: usize,
        length: usize,
    ) -> Result<Vec<&[u32]>, CorpusError> {
        let (seed, taken, window) = drawn;
        self.at_least(taken, window)?;
        let order = self.shuffled_windows(seed, window);
        let rest = &order[taken..];
        let length = length.clamp(1, window);
        let mut starts: Vec<usize> = (0..window / length)
            .flat_map(|piece| {
                rest.iter()
                    .map(move |index| index * window + piece * length)
            })
            .take(count)
            .collect();
        starts.sort_unstable();
        Ok(starts
            .into_iter()
            .map(|start| &self.ids[start..start + length])
            .collect())
    }

    fn shuffled_windows(&self, seed: u64, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ids.len() / length).collect();
        Rng::new(seed, SEQUENCE_STREAM).shuffle(&mut order);
        order
    }

    fn at_least(&self, count: usize, length: usize) -> Result<(), CorpusError> {
        if length == 0 {
            return Err(CorpusError::NoLength);
        }
        let fitting = self.ids.len() / length;
        if fitting >= count {
            return Ok(());
        }
        Err(CorpusError::TooShort {
            tokens: self.ids.len(),
            count,
            length,
            fitting,
            name: self.name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn corpus(tokens: u32) -> Corpus {
        Corpus::from_ids("test", (0..tokens).collect(), tokens as usize).unwrap()
    }

    #[test]
    fn windows_drop_the_partial_one() {
        let corpus = corpus(10);
        assert_eq!(
            corpus.windows(4).unwrap(),
            [&[0, 1, 2, 3][..], &[4, 5, 6, 7]]
        );
        let message = corpus.windows(11).unwrap_err().to_string();
        assert!(
            message.contains("10 tokens") && message.contains("11"),
            "{message}"
        );
        assert!(matches!(corpus.windows(0), Err(CorpusError::NoLength)));
    }

    #[test]
    fn too_few_tokens_say_how_many_fit() {
        let message = corpus(10)
            .sample_sequences(0, 5, 3)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "the corpus has 10 tokens: 3 sequences of 3 tokens, and 5 were asked for; ask for fewer or shorter sequences, or give a longer text; test"
        );
    }

    #[test]
    fn ids_have_to_fit_the_vocabulary() {
        let error = Corpus::from_ids("test", vec![1, 2, 9, 3], 9).unwrap_err();
        assert!(
            matches!(
                error,
                CorpusError::BeyondVocabulary {
                    id: 9,
                    position: 2,
                    vocabulary: 9,
                    ..
                }
            ),
            "{error}"
        );
        let error = Corpus::from_ids("test", vec![], 9).unwrap_err();
        assert!(matches!(error, CorpusError::Empty { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn samples_are_different_windows_in_order(
            tokens in 1u32..400, seed in 0u64..50, count in 0usize..20, length in 1usize..20,
        ) {
            let corpus = corpus(tokens);
            let windows = corpus.windows(length.min(tokens as usize)).unwrap();
            match corpus.sample_sequences(seed, count, length) {
                Ok(sample) => {
                    prop_assert_eq!(sample.len(), count);
                    prop_assert!(sample.is_sorted_by(|left, right| left[0] < right[0]));
                    prop_assert!(sample.iter().all(|sequence| windows.contains(sequence)));
                    prop_assert_eq!(&sample, &corpus.sample_sequences(seed, count, length).unwrap());
                }
                Err(error) => prop_assert!(tokens as usize / length < count, "{}", error),
            }
        }
    }

    proptest! {
        #[test]
        fn held_out_sequences_share_no_token_with_the_drawn_ones(
            tokens in 20u32..400, seed in 0u64..50, taken in 1usize..10, window in 1usize..20,
            count in 0usize..20, length in 1usize..30,
        ) {
            let corpus = corpus(tokens);
            let Ok(drawn) = corpus.sample_sequences(seed, taken, window) else { return Ok(()) };
            let held_out = corpus.held_out_sequences((seed, taken, window), count, length).unwrap();
            prop_assert!(held_out.len() <= count);
            let free = tokens as usize / window - taken;
            prop_assert_eq!(held_out.is_empty(), free == 0 || count == 0);
            // Ids of this corpus are positions.
            let seen: std::collections::HashSet<u32> = drawn.concat().into_iter().collect();
            for sequence in &held_out {
                prop_assert_eq!(sequence.len(), length.min(window));
                prop_assert!(sequence.iter().all(|id| !seen.contains(id)));
            }
            prop_assert!(held_out.is_sorted_by(|left, right| left.last() < right.first()));
        }
    }

    #[test]
    fn seeds_draw_different_sequences() {
        let corpus = corpus(1000);
        let draw = |seed| corpus.sample_sequences(seed, 5, 10).unwrap();
        assert_ne!(draw(0), draw(1));
    }
}

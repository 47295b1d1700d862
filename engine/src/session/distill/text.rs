//! The text as sequences: windows of a decoder's tokens, sentences of an encoder.

use super::super::{Session, SessionError};
use crate::corpus::{Corpus, read_sentences};
use crate::model::{Model, ModelConfig};
use crate::recipe::TrainSettings;
use rayon::prelude::*;
use std::path::Path;

/// Tokens of a sequence where nobody says, if the context is not shorter.
const DEFAULT_TOKENS: usize = 512;
/// Tokens at which sentences are cut where nobody says.
const DEFAULT_SENTENCE_TOKENS: usize = 128;

/// Most tokens of a sequence for a student of `config`'s shape.
pub(super) fn sequence_length(
    settings: &TrainSettings,
    config: &ModelConfig,
    is_encoder: bool,
) -> usize {
    match settings.length {
        0 if is_encoder => DEFAULT_SENTENCE_TOKENS.min(config.context_length),
        0 => DEFAULT_TOKENS.min(config.context_length),
        some => some,
    }
}

impl Session {
    /// All sequences of the text at `path`, by this model's tokenizer, for a student of `student`'s shape: tokens below
    /// `vocabulary`.
    pub(super) fn training_sequences(
        &self,
        path: &Path,
        settings: &TrainSettings,
        (student, vocabulary): (&Model, usize),
    ) -> Result<Vec<Vec<u32>>, SessionError> {
        let config = student.config();
        let length = sequence_length(settings, config, student.is_encoder());
        if length < 2 || length > config.context_length {
            return Err(self.input_problem(&format!(
                "sequences of {length} tokens do not fit the student, whose context is {}; choose a --length of 2 to {}",
                config.context_length, config.context_length
            )));
        }
        if student.is_encoder() {
            return self.sentences_as_ids(path, length);
        }
        let corpus = Corpus::open(path, self.tokenizer()?.as_ref(), vocabulary)?;
        let windows = corpus.windows(length)?;
        Ok(windows.into_iter().map(<[u32]>::to_vec).collect())
    }

    fn sentences_as_ids(&self, path: &Path, length: usize) -> Result<Vec<Vec<u32>>, SessionError> {
        let tokenizer = self.tokenizer()?.ok_or_else(|| {
            self.input_problem(
                "an encoder is trained on sentences, and the model has no tokenizer.json",
            )
        })?;
        let tokenizer = tokenizer.truncated(length)?;
        let sentences = read_sentences(path)?;
        let ids: Vec<Vec<u32>> = sentences
            .par_iter()
            .map(|sentence| tokenizer.encode(sentence))
            .collect::<Result<_, _>>()?;
        Ok(ids.into_iter().filter(|ids| !ids.is_empty()).collect())
    }
}

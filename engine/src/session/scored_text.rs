//! Text on which losses of whole models are measured, and the loss of a model written to disk.
//!
//! Decoders: mean KL to the open model per scored token. Encoders: mean `1 - cosine` of sentence embeddings.

use super::choose_requests::{Slice, Verification};
use super::{Session, SessionError};
use crate::corpus::read_sentences;
use crate::evaluate::{self, EncoderTask, Pooling, evaluate_decoder, evaluate_encoder};
use crate::model::Model;
use crate::recipe::CalibrationSettings;
use crate::report::{Measure, Notice, Observer};
use crate::settings::KvCache;
use crate::units::hex;
use sha2::{Digest, Sha256};
use std::path::Path;

/// What losses are measured on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScoredText {
    /// Of a decoder: token ids.
    Sequences(Vec<Vec<u32>>),
    /// Of an encoder: sentences.
    Sentences(Sentences),
}

/// Sentences and all that decides what a model makes of them, but for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentences {
    texts: Vec<String>,
    /// Tokens at which they are cut.
    length: usize,
    /// Of the tokenizer and the pooling.
    digest: String,
}

/// A loss measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loss {
    pub(super) mean: f64,
    pub(super) stderr: Option<f64>,
}

impl ScoredText {
    /// What a loss on it is called.
    pub(super) fn measure(&self) -> Measure {
        match self {
            Self::Sequences(_) => Measure::Kl,
            Self::Sentences(_) => Measure::CosineDistance,
        }
    }

    /// Tokens scored, or sentences.
    pub(super) fn scored(&self) -> u64 {
        match self {
            Self::Sequences(sequences) => {
                let scored = sequences
                    .iter()
                    .map(|ids| ids.len().saturating_sub(1) as u64);
                scored.sum()
            }
            Self::Sentences(sentences) => sentences.texts.len() as u64,
        }
    }

    /// Bytes that are the same for the same text alone.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        match self {
            Self::Sequences(sequences) => {
                let ids = |ids: &Vec<u32>| {
                    let length = (ids.len() as u64).to_le_bytes();
                    let ids = ids.iter().flat_map(|id| id.to_le_bytes());
                    length.into_iter().chain(ids).collect::<Vec<u8>>()
                };
                sequences.iter().flat_map(ids).collect()
            }
            Self::Sentences(sentences) => format!("{sentences:?}").into_bytes(),
        }
    }

    /// Why nothing can be scored on it.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self.scored() {
            0 => Err(
                "there is no token to score: losses need at least one sequence of two tokens (--slice-sequences, --slice-length)",
            ),
            _ => Ok(()),
        }
    }
}

impl Session {
    /// The small text of `slice`; without one of its own, what `calibration` leaves of its text.
    pub(super) fn scored_slice(
        &self,
        slice: &Slice,
        calibration: &CalibrationSettings,
        observer: &dyn Observer,
    ) -> Result<ScoredText, SessionError> {
        let model = self.model()?;
        let own = slice.corpus.as_deref();
        let Some(path) = own.or(calibration.corpus.as_deref().map(Path::new)) else {
            return Err(self.input_problem("losses are measured on a text; name one with --corpus"));
        };
        if model.is_encoder() {
            if own.is_none() {
                observer.notice(Notice::Warning(
                    "losses are measured on sentences of the calibration text; a text of its own (--slice-corpus) would be fairer",
                ));
            }
            return self.sentences(path, slice.sequences, slice.length);
        }
        let corpus = self.open_corpus(path)?;
        let length = slice.length.min(model.config().context_length);
        let sequences = if own.is_some() {
            let fitting = corpus.ids().len() / length.max(1);
            corpus.sample_sequences(
                calibration.seed,
                slice.sequences.min(fitting.max(1)),
                length,
            )?
        } else {
            let drawn = (calibration.seed, calibration.sequences, calibration.length);
            let held_out = corpus.held_out_sequences(drawn, slice.sequences, length)?;
            if held_out.is_empty() && slice.sequences > 0 {
                observer.notice(Notice::Warning(
                    "calibration takes the whole text, so losses are measured on what calibrates; a text of its own (--slice-corpus) or fewer sequences would be fairer",
                ));
                let length = length.min(calibration.length);
                corpus.held_out_sequences((0, 0, length), slice.sequences, length)?
            } else {
                held_out
            }
        };
        Ok(ScoredText::Sequences(
            sequences.into_iter().map(<[u32]>::to_vec).collect(),
        ))
    }

    /// The text that verifies; `slice` where none is named.
    pub(super) fn verification_text(
        &self,
        verification: &Verification,
        slice: &ScoredText,
    ) -> Result<ScoredText, SessionError> {
        let model = self.model()?;
        let Some(path) = &verification.corpus else {
            return Ok(slice.clone());
        };
        if model.is_encoder() {
            let most = verification.windows.unwrap_or(usize::MAX);
            return self.sentences(path, most, verification.length.unwrap_or(128));
        }
        let corpus = self.open_corpus(path)?;
        let length = verification
            .length
            .unwrap_or_else(|| self.default_length(model));
        let mut windows = corpus.windows(length)?;
        windows.truncate(verification.windows.unwrap_or(usize::MAX));
        Ok(ScoredText::Sequences(
            windows.into_iter().map(<[u32]>::to_vec).collect(),
        ))
    }

    /// The last `most` sentences of a file.
    fn sentences(
        &self,
        path: &Path,
        most: usize,
        length: usize,
    ) -> Result<ScoredText, SessionError> {
        let mut sentences = read_sentences(path)?;
        if sentences.is_empty() {
            return Err(
                self.input_problem("an encoder is measured on sentences, and the text has none")
            );
        }
        let first = sentences.len().saturating_sub(most.max(1));
        let tokenizer = self.checkpoint.read_side("tokenizer.json");
        let mut digest = Sha256::new();
        digest.update(tokenizer.unwrap_or_default());
        digest.update(format!("{:?}", Pooling::read(&self.checkpoint)?));
        Ok(ScoredText::Sentences(Sentences {
            texts: sentences.split_off(first),
            length,
            digest: hex(&digest.finalize()),
        }))
    }

    /// The open model about to be measured on `text` with some of its layers replaced.
    pub(super) fn slice<'a>(
        &'a self,
        text: &ScoredText,
        observer: &'a dyn Observer,
    ) -> Result<evaluate::Slice<'a>, SessionError> {
        let model = self.model()?;
        // The other half is for solvers, which work while the slice stands.
        let memory_bytes = self.memory_bytes() / 2;
        match text {
            ScoredText::Sequences(sequences) => {
                let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
                let slice = evaluate::Slice::decoder(model, &sequences, memory_bytes, observer);
                Ok(slice?)
            }
            text => self.with_encoder_task(text, |task| {
                let slice = evaluate::Slice::encoder(model, task, memory_bytes, observer);
                Ok(slice?)
            }),
        }
    }

    /// The loss of `changed`, whose tokens see keys and values as `kept` says, against the open model as it runs.
    pub(super) fn loss_of(
        &self,
        changed: &Model,
        kept: KvCache,
        text: &ScoredText,
        observer: &dyn Observer,
    ) -> Result<Loss, SessionError> {
        let original = &self.model_on_kernels()?;
        let memory_bytes = self.memory_bytes();
        match text {
            ScoredText::Sequences(sequences) => {
                let windows: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
                let report = evaluate_decoder(
                    changed,
                    kept,
                    Some(original),
                    &windows,
                    memory_bytes,
                    observer,
                )?;
                let kl = report.kl.expect("a reference was given");
                Ok(Loss {
                    mean: kl.mean,
                    stderr: kl.stderr,
                })
            }
            ScoredText::Sentences(..) => self.with_encoder_task(text, |task| {
                let report =
                    evaluate_encoder(changed, Some(original), task, memory_bytes, observer)?;
                let cosine = report.cosine.map_or(0.0, |cosine| cosine.mean);
                Ok(Loss {
                    mean: 1.0 - cosine,
                    stderr: None,
                })
            }),
        }
    }

    /// Calls `work` with the task that sentences are.
    pub(super) fn with_encoder_task<T>(
        &self,
        text: &ScoredText,
        work: impl FnOnce(&EncoderTask<'_>) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let ScoredText::Sentences(sentences) = text else {
            return Err(self.input_problem("a decoder has no sentences"));
        };
        let tokenizer = self.tokenizer()?.ok_or_else(|| {
            self.input_problem(
                "an encoder is measured on sentences, and the model has no tokenizer.json",
            )
        })?;
        let pooling = Pooling::read(&self.checkpoint)?;
        work(&EncoderTask {
            sentences: &sentences.texts,
            pairs: &[],
            tokenizer: &tokenizer,
            length: sentences.length,
            pooling: &pooling,
        })
    }
}

//! Why an evaluation could not be made.

use crate::corpus::CorpusError;
use crate::model::ModelError;
use crate::monitor::Stopped;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum EvaluateError {
    /// The monitor asked for it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The network cannot run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A text cannot be tokenized.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// Nothing to score.
    #[error("there is nothing to evaluate: {problem}")]
    Nothing { problem: String },
    /// The wrong kind of network.
    #[error("the model is {found}, but this evaluation needs {needed}")]
    WrongKind {
        found: &'static str,
        needed: &'static str,
    },
    /// A reference whose outputs cannot stand beside the model's.
    #[error(
        "the reference has a {what} of {reference}, the model one of {model}; compare with the model that it was made from"
    )]
    Unlike {
        what: &'static str,
        reference: usize,
        model: usize,
    },
    /// NaN or infinite outputs.
    #[error(
        "the outputs for {place} are not finite: a weight of the model or of its reference is NaN or far too large; look at the warnings of the run that wrote it"
    )]
    NotFinite { place: String },
    /// A pooling file that we cannot follow.
    #[error("the pooling of sentence embeddings is unclear: {problem}; {}", path.display())]
    Pooling { problem: String, path: PathBuf },
}

//! Why a model could not be opened or run.

use crate::tensor::{Dtype, SourceError};

/// What can go wrong between a `config.json`, named tensors and a forward pass.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// `model_type` names no family of the table.
    #[error(
        "the network of model_type \"{model_type}\" is not known; its layers can be listed and compressed without calibration, but it cannot be run"
    )]
    UnknownFamily {
        /// As config.json spells it; empty where it says nothing.
        model_type: String,
    },
    /// config.json lacks a key that has no default.
    #[error("config.json lacks the key \"{key}\"; copy it from the model's original config.json")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A value of config.json makes no sense.
    #[error("config.json: \"{key}\" {problem}")]
    BadKey {
        /// The key.
        key: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A tensor that config.json calls for does not exist.
    #[error("there is no tensor named {name}, which config.json calls for")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor's shape contradicts config.json.
    #[error("tensor {name} has the shape {found:?}, but config.json calls for {expected:?}")]
    WrongShape {
        /// The tensor.
        name: String,
        /// As stored.
        found: Vec<usize>,
        /// As config.json calls for.
        expected: Vec<usize>,
    },
    /// A weight is stored as integers.
    #[error("tensor {name} holds {dtype} values, but a weight must be floating point")]
    NotFloat {
        /// The tensor.
        name: String,
        /// As stored.
        dtype: Dtype,
    },
    /// A token id beyond the embedding table.
    #[error(
        "token id {token} is outside the vocabulary of {vocabulary}; the ids were made for another model"
    )]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Rows of the embedding table.
        vocabulary: usize,
    },
    /// More positions than the model has learned.
    #[error(
        "{tokens} tokens do not fit: the model has {limit} learned positions; use shorter sequences"
    )]
    TooLong {
        /// Positions asked for.
        tokens: usize,
        /// Positions there are.
        limit: usize,
    },
    /// A call that does not fit this model: a mistake of the caller.
    #[error("{problem}")]
    Misuse {
        /// What does not fit.
        problem: String,
    },
    /// A smaller network that the family's configuration cannot describe.
    #[error("{what} cannot be taken out of a {family}: {reason}; leave the {what} as they are")]
    CannotShrink {
        /// What was to go.
        what: &'static str,
        /// The family.
        family: &'static str,
        /// Why it cannot be said.
        reason: String,
    },
    /// A tensor could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Tensor arithmetic failed.
    #[error("arithmetic failed: {0}")]
    Tensor(Box<candle_core::Error>),
}

impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}

impl ModelError {
    pub(super) fn bad_key(key: &str, problem: impl Into<String>) -> Self {
        Self::BadKey {
            key: key.to_owned(),
            problem: problem.into(),
        }
    }
}

//! Why training could not start or go on.

use crate::formats::StoreError;
use crate::model::ModelError;
use crate::monitor::Stopped;

/// What can go wrong between a teacher, a student and a text.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A call or a request that does not fit; the whole sentence.
    #[error("{problem}")]
    Misuse {
        /// What does not fit, and what to do.
        problem: String,
    },
    /// Too many steps in a row had no finite loss or gradient.
    #[error(
        "the loss or its gradient was no finite number in {steps} steps in a row (last at step {last}); use a lower learning rate"
    )]
    NotFinite {
        /// Steps skipped in a row.
        steps: u64,
        /// The last of them.
        last: u64,
    },
    /// The network could not be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The run's state could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

impl TrainError {
    /// A request that does not fit.
    pub fn misuse(problem: impl Into<String>) -> Self {
        Self::Misuse {
            problem: problem.into(),
        }
    }
}

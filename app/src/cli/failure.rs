//! Why a verb gave no answer; each kind has its exit code.
//!
//! Knows no engine error by name except through `Display`: engine errors are written for people already.

use crate::studio::sample::SampleError;
use pare_engine::session::SessionError;
use std::fmt;

/// Why a verb gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The words make no sense together; exit code 2.
    WrongUse(String),
    /// The job failed; exit code 1.
    Failed(String),
    /// Ctrl-C; exit code 130.
    Stopped,
}

impl Failure {
    /// A failed job, in the words of whatever failed.
    pub(crate) fn failed(cause: impl fmt::Display) -> Self {
        Self::Failed(cause.to_string())
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        if error.is_stopped() {
            Self::Stopped
        } else {
            Self::failed(error)
        }
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        Self::failed(error)
    }
}

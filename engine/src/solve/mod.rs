//! Solvers: pure functions from weights and statistics to codes.
//!
//! A solver knows no model, file, progress bar or print; it polls a `Monitor` and returns a `Solved` or a `SolveError`.
//! Non-finite weights are an error that names the place; zero rows, dead inputs and tail groups are not.

mod fit;

pub use fit::fit_step;

use crate::monitor::Stopped;
use crate::tensor::Matrix;

/// Why a layer could not be solved.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SolveError {
    /// The monitor asked for it.
    #[error("stopped")]
    Stopped,
    /// A weight is NaN or infinite.
    #[error(
        "the weight at row {row}, column {column} is not a finite number, so the layer cannot be quantized; leave the layer out with method none, or repair the checkpoint"
    )]
    NonFinite {
        /// Output.
        row: usize,
        /// Input.
        column: usize,
    },
    /// Weights and statistics do not belong together.
    #[error("{what} has {found} columns where the weights have {expected}")]
    Shape {
        /// What does not fit.
        what: &'static str,
        /// Columns of the weights.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// The settings ask for something that this solver cannot do.
    #[error("{problem}")]
    BadConfig {
        /// What is wrong and what to do, a whole sentence.
        problem: String,
    },
    /// No damping made the Gram matrix positive definite.
    #[error("the Gram matrix could not be factored: {reason}")]
    Unfactorable {
        /// What was tried, as the end of a sentence.
        reason: String,
    },
}

impl From<Stopped> for SolveError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The first weight that is NaN or infinite, as an error.
pub fn check_finite(weights: &Matrix) -> Result<(), SolveError> {
    let bad = weights.data().iter().position(|weight| !weight.is_finite());
    match bad {
        None => Ok(()),
        Some(index) => Err(SolveError::NonFinite {
            row: index / weights.columns(),
            column: index % weights.columns(),
        }),
    }
}

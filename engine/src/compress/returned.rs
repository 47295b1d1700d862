//! Solved layers as their container gives them back, where it rounds zeros once more.
//!
//! Reports tell of these, and the layers after see what these make; what the run keeps are the codes and zeros behind them.

use super::Choice;
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::solve::{SolveError, chosen_for_biases, with_rounded_biases};
use crate::solved::Solved;
use crate::tensor::Matrix;
use std::borrow::Cow;

/// Codes for what the container will make of zeros.
pub(super) fn chosen(
    choice: &Choice,
    weights: &Matrix,
    solved: Solved,
    moments: Option<&Moments>,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    match choice.biases {
        Some(dtype) => chosen_for_biases(weights, solved, dtype, moments, monitor),
        None => Ok(solved),
    }
}

/// The layer as it comes back.
pub(super) fn returned<'solved>(choice: &Choice, solved: &'solved Solved) -> Cow<'solved, Solved> {
    let changed = choice
        .biases
        .and_then(|dtype| with_rounded_biases(solved, dtype));
    changed.map_or(Cow::Borrowed(solved), Cow::Owned)
}

//! Solvers: pure functions from weights and statistics to codes.
//!
//! A solver knows no model, file, progress bar or print; it polls a `Monitor` and returns a `Solved` or a `SolveError`.
//! Non-finite weights are an error that names the place; zero rows, dead inputs and tail groups are not.

mod biases;
mod codes_only;
mod fit;
mod float;
pub mod gptq;
mod hqq;
mod layer;
mod low_rank;
mod nf4;
mod palette;
mod polish;
mod prune;
mod refine;
mod rtn;

pub use biases::{chosen_for_biases, with_rounded_biases};
pub use codes_only::move_codes;
pub use fit::fit_step;
pub use gptq::{Factors, GptqConfig, Kept, Zeros, gptq, gptq_with_zeros};
pub use hqq::{HqqConfig, hqq};
pub use layer::{round_layer, solve_layer, solve_layer_sharing};
pub use low_rank::{
    Factored, OuterProducts, Tensor4, Tucker2, Whitened, factor, outer_products, rank_for_energy,
    tucker2,
};
pub use nf4::{Nf4Config, nf4};
pub use palette::{PaletteConfig, palette, tied_layers};
pub use prune::{MaskConfig, mask_by_score};
pub use refine::{DEFAULT_ROUNDS, RefineConfig, gptq_refined};
pub use rtn::{RtnConfig, rtn};

use crate::monitor::Stopped;
use crate::tensor::Matrix;
use rayon::prelude::*;

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
    /// Values looked at without a branch.
    const RUN: usize = 4096;
    let bad_run = weights.data().par_chunks(RUN).position_first(|run| {
        // All exponent bits set: NaN or infinite.
        run.iter()
            .map(|weight| u32::from(weight.to_bits() & 0x7f80_0000 == 0x7f80_0000))
            .fold(0, |any, bad| any | bad)
            != 0
    });
    let bad = bad_run.and_then(|run| {
        let mut rest = weights.data()[run * RUN..].iter();
        Some(run * RUN + rest.position(|weight| !weight.is_finite())?)
    });
    match bad {
        None => Ok(()),
        Some(index) => Err(SolveError::NonFinite {
            row: index / weights.columns(),
            column: index % weights.columns(),
        }),
    }
}

/// `importance` divided by its mean, so that no product of a search leaves the range of f32; `None` where it says nothing
/// (no importance, all zero, or not finite).
fn check_importance(
    weights: &Matrix,
    importance: Option<&[f32]>,
) -> Result<Option<Vec<f32>>, SolveError> {
    let Some(importance) = importance else {
        return Ok(None);
    };
    if importance.len() != weights.columns() {
        return Err(SolveError::Shape {
            what: "the mean square of the inputs",
            expected: weights.columns(),
            found: importance.len(),
        });
    }
    let sum: f64 = importance.iter().map(|&value| f64::from(value)).sum();
    let mean = sum / importance.len().max(1) as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return Ok(None);
    }
    let scaled = importance
        .iter()
        .map(|&value| (f64::from(value) / mean) as f32);
    Ok(Some(scaled.collect()))
}

/// Bits that codes of one byte can have.
fn check_bits(bits: u8) -> Result<(), SolveError> {
    if (2..=8).contains(&bits) {
        return Ok(());
    }
    Err(SolveError::BadConfig {
        problem: format!("a code has 2 to 8 bits, not {bits}; choose bits in that range"),
    })
}

//! The cheap estimate: some rows, solved by what is quick, and how far they move.

use crate::distortion::{relative_output_error, relative_weight_error, sqnr_db};
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::settings::LayerSettings;
use crate::solve::{SolveError, round_layer, solve_layer};
use crate::solved::{Method, Solved};
use crate::tensor::Matrix;

/// What a relative error is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// `||W-Q||_F / ||W||_F`: no inputs are known.
    Weights,
    /// `||X(W-Q)ᵀ||_F / ||XWᵀ||_F` over the inputs whose moments were given.
    Inputs,
}

impl Basis {
    /// What can be measured with or without moments.
    pub(super) fn of(moments: Option<&Moments>) -> Self {
        match moments {
            Some(_) => Self::Inputs,
            None => Self::Weights,
        }
    }
}

/// What settings would cost a layer, judged from some of its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Relative error of what `basis` says; 0 where there is no signal.
    pub relative_error: f64,
    /// What it is measured on.
    pub basis: Basis,
    /// Signal to quantization noise of these rows; `None` where there is no error or no signal.
    pub sqnr_db: Option<f64>,
    /// Rows solved.
    pub sampled_rows: usize,
}

/// Solves `rows` (some rows of a layer, `[rows, in]`) and measures how far they move.
///
/// GPTQ and AWQ are stood in for by rounding to nearest with the same grid and clip search: an error that they rarely
/// exceed. `none` moves nothing.
pub fn estimate(
    rows: &Matrix,
    moments: Option<&Moments>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Estimate, SolveError> {
    check_width(rows, moments)?;
    let estimate = Estimate {
        relative_error: 0.0,
        basis: Basis::of(moments),
        sqnr_db: None,
        sampled_rows: rows.rows(),
    };
    let Some(solved) = stand_in(rows, moments, settings, monitor)? else {
        return Ok(estimate);
    };
    let after = solved.dequantize();
    Ok(Estimate {
        relative_error: relative_error(rows, &after, moments).unwrap_or(0.0),
        sqnr_db: sqnr_db(rows, &after),
        ..estimate
    })
}

/// The layer solved by the asked method, or by rounding to nearest where that would need more than a moment.
pub(super) fn stand_in(
    weights: &Matrix,
    moments: Option<&Moments>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Option<Solved>, SolveError> {
    let importance = moments.map(|moments| &moments.mean_square[..]);
    let solved = match settings.method {
        Method::None => return Ok(None),
        Method::Rtn | Method::Gptq | Method::Awq => {
            round_layer(weights, importance, settings, monitor)?
        }
        Method::Hqq | Method::Nf4 => solve_layer(weights, None, settings, monitor)?,
    };
    Ok(Some(solved))
}

/// The relative error of outputs where moments are known, else of weights; `None` without signal.
pub(super) fn relative_error(
    before: &Matrix,
    after: &Matrix,
    moments: Option<&Moments>,
) -> Option<f64> {
    let error = match moments {
        Some(moments) => relative_output_error(before, after, &moments.gram),
        None => relative_weight_error(before, after),
    };
    error.filter(|error| error.is_finite())
}

/// Moments must belong to the weights.
pub(super) fn check_width(weights: &Matrix, moments: Option<&Moments>) -> Result<(), SolveError> {
    let expected = weights.columns();
    match moments.map(Moments::width) {
        Some(found) if found != expected => Err(SolveError::Shape {
            what: "the Gram matrix",
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

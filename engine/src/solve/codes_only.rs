//! Other codes for scales that somebody else fixed: coordinate descent on the error of the outputs.
//!
//! For containers whose scales are themselves quantized, such as the super-blocks of llama.cpp. Knows no container.

use super::polish::polish_what;
use super::{SolveError, check_finite};
use crate::grid::AffineGrid;
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Matrix;

/// Passes over all codes; each lowers the error, and few codes move after these.
const ROUNDS: u32 = 6;

/// Share of the mean diagonal that is added to the Gram matrix.
const DAMPING: f64 = 0.01;

/// Moves `codes` on `grid` so that outputs on the calibration inputs are nearer to those of `weights`; no scale changes.
pub fn move_codes(
    weights: &Matrix,
    codes: Codes,
    grid: AffineGrid,
    moments: &Moments,
    monitor: &dyn Monitor,
) -> Result<Codes, SolveError> {
    check_finite(weights)?;
    if moments.width() != weights.columns() {
        return Err(SolveError::Shape {
            what: "the Gram matrix",
            expected: weights.columns(),
            found: moments.width(),
        });
    }
    let diagonal = moments.gram.diagonal();
    let mean =
        diagonal.iter().map(|&entry| f64::from(entry)).sum::<f64>() / diagonal.len().max(1) as f64;
    let solved = Solved {
        method: Method::Rtn,
        codes,
        grid: Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    };
    let ridge = (DAMPING * mean) as f32;
    let moved = polish_what(
        solved,
        weights,
        &moments.gram,
        ridge,
        (ROUNDS, false),
        monitor,
    )?;
    Ok(moved.codes)
}

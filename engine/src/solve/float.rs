//! Weights that stay floats: rounded to the dtype in which they are stored, nothing else.

use super::{SolveError, check_finite};
use crate::solved::{Codes, Floats, Grid, Method, Solved};
use crate::tensor::{Dtype, Matrix};

/// The weights themselves, as they will be read back.
pub(super) fn float(weights: &Matrix, dtype: Dtype) -> Result<Solved, SolveError> {
    check_finite(weights)?;
    Ok(without_codes(
        weights,
        snapped(weights.data().to_vec(), dtype),
    ))
}

/// A layer of `weights`' shape whose grid needs no codes.
pub(super) fn without_codes(weights: &Matrix, grid: Grid) -> Solved {
    Solved {
        method: Method::Float,
        codes: Codes {
            rows: weights.rows(),
            columns: weights.columns(),
            values: Vec::new(),
        },
        grid,
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

/// `values` rounded to what `dtype` can hold.
pub(super) fn snapped(mut values: Vec<f32>, dtype: Dtype) -> Grid {
    dtype.snap(&mut values);
    Grid::Floats(Floats { dtype, values })
}

//! Blocks whose codes answer to all moments of the inputs: scales as ggml's search finds them with importance, then codes that
//! make up for each other's errors.

use super::plan::GgufPart;
use super::write::each_row;
use crate::formats::store::StoreError;
use crate::ggml::{self, GgmlType};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::moments::Moments;
use crate::report::Observer;
use crate::solve::{SolveError, move_codes};
use crate::solved::Codes;
use crate::tensor::Matrix;
use rayon::prelude::*;

/// What stands for a scale of zero: its codes change nothing.
const NO_SCALE: f32 = 1e-30;

/// The rows of `weights` (`[out, in]`, in the source's order) in the part's type and order.
pub(super) fn encode(
    part: &GgufPart,
    weights: &Matrix,
    moments: &Moments,
    observer: &dyn Observer,
) -> Result<Vec<u8>, StoreError> {
    let columns = weights.columns();
    let mut bytes = ggml::encode(
        part.kind,
        columns,
        weights.data(),
        Some(&moments.mean_square),
    );
    let row_bytes = bytes.len() / weights.rows().max(1);
    if let Some((codes, grid)) = as_grid(part.kind, weights, &bytes) {
        let moved = move_codes(weights, codes, grid, moments, observer);
        let moved = moved.map_err(|error| match error {
            SolveError::Stopped => StoreError::Stopped(crate::monitor::Stopped),
            error => StoreError::Unsolved {
                tensor: part.name.clone(),
                problem: error.to_string(),
            },
        })?;
        bytes
            .par_chunks_mut(row_bytes)
            .enumerate()
            .for_each(|(row, bytes)| ggml::replace_codes(part.kind, moved.row(row), bytes));
    }
    Ok(each_row(part, |row, output| {
        output.copy_from_slice(&bytes[row * row_bytes..(row + 1) * row_bytes]);
    }))
}

/// Blocks as codes on a grid whose zeros are real numbers.
fn as_grid(kind: GgmlType, weights: &Matrix, bytes: &[u8]) -> Option<(Codes, AffineGrid)> {
    let (bits, share) = ggml::grid_of(kind)?;
    let (rows, columns) = (weights.rows(), weights.columns());
    let config = GridConfig {
        bits,
        group: share,
        symmetric: false,
        scale_dtype: ScaleDtype::F32,
    };
    let mut grid = AffineGrid::neutral(config, rows, columns);
    grid.fractional_zeros = true;
    let mut values = Vec::with_capacity(rows * columns);
    let (mut scales, mut zeros) = (Vec::new(), Vec::new());
    for row in bytes.chunks_exact(bytes.len() / rows.max(1)) {
        let row = ggml::unpack_row(kind, row);
        values.extend(row.codes);
        for (scale, offset) in row.steps {
            let scale = if scale == 0.0 { NO_SCALE } else { scale };
            scales.push(scale);
            zeros.push(-offset / scale);
        }
    }
    (grid.scales, grid.zeros) = (scales, zeros);
    let codes = Codes {
        rows,
        columns,
        values,
    };
    Some((codes, grid))
}

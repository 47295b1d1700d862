//! Fake quantization: weights as they will be once they are stored as integers, with a way back through.
//!
//! Rounding has no slope, so gradients take it as the identity (straight-through: Bengio et al. 2013, arXiv 1308.3432),
//! and clipping as what it is; scales and zeros get the gradient of Esser et al. 2020 (arXiv 1902.08153, equation 3) and
//! Bhalgat et al. 2020 (arXiv 2004.09576). Forward values are exactly those of `Solved::dequantize` for the same codes.
//! Knows no network, loss or optimizer.

mod affine;
mod levels;
mod offsets;
#[cfg(test)]
pub(super) mod testing;

pub use affine::{LatentGrid, fake_quantize};
pub use levels::{block_weights, grid_weights, palette_weights};
pub use offsets::{ClipRange, OffsetGrid};

use crate::grid::Groups;
use rayon::prelude::*;
use std::ops::Range;

/// One group of one row: where its weights lie in the row, and where its scale lies.
#[derive(Debug, Clone)]
struct Place {
    /// Index of the group among all groups, row-major.
    group: usize,
    /// Its columns.
    columns: Range<usize>,
}

/// The groups of row `row`.
fn places(groups: Groups, row: usize) -> impl Iterator<Item = Place> {
    let count = groups.count();
    (0..count).map(move |group| Place {
        group: row * count + group,
        columns: groups.range(group),
    })
}

/// Fills `[rows, columns]` row by row, in parallel; no value depends on another row.
fn by_rows(rows: usize, columns: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut output = vec![0.0; rows * columns];
    output
        .par_chunks_mut(columns.max(1))
        .enumerate()
        .for_each(|(row, out)| fill(row, out));
    output
}

/// One vector for each row, in order.
fn each_row<T: Send>(rows: usize, make: impl Fn(usize) -> Vec<T> + Sync + Send) -> Vec<T> {
    let parts: Vec<Vec<T>> = (0..rows).into_par_iter().map(make).collect();
    parts.into_iter().flatten().collect()
}

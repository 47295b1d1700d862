//! Scales and zeros of a row slab, one line per group, rows in lanes.

use crate::grid::{GridConfig, Step};
use crate::solve::fit_step;

/// How steps are chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fitting {
    /// The grid.
    pub(super) grid: GridConfig,
    /// Steps of the clip search.
    pub(super) clip_search: u32,
}

/// Rows that are turned at a time: a cache line of f32.
const TURNED: usize = 16;

impl Fitting {
    /// Fits one group for all lanes: `columns` yields its columns as lines of at least `lanes` values.
    pub(super) fn fit_lanes<'a>(
        self,
        columns: impl ExactSizeIterator<Item = &'a [f32]> + Clone,
        importance: &[f32],
        scales: &mut [f32],
        zeros: &mut [f32],
    ) {
        let width = columns.len();
        let mut rows = vec![0.0f32; TURNED * width];
        let lanes = scales.len();
        for first in (0..lanes).step_by(TURNED) {
            let end = (first + TURNED).min(lanes);
            for (column, line) in columns.clone().enumerate() {
                for (row, &weight) in line[first..end].iter().enumerate() {
                    rows[row * width + column] = weight;
                }
            }
            for (row, weights) in (first..end).zip(rows.chunks_exact(width)) {
                let step = self.fit(weights, importance);
                scales[row] = step.scale;
                zeros[row] = step.zero;
            }
        }
    }

    fn fit(self, weights: &[f32], importance: &[f32]) -> Step {
        fit_step(weights, Some(importance), self.grid, self.clip_search)
    }
}

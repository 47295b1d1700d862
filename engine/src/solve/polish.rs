//! Polish of a rounded layer: scales are refitted and codes moved one by one while the error falls.
//!
//! The error is `tr((T - Q) H (T - Q)ᵀ)` with `T` the target and `H` the damped Gram matrix; `R = (T - Q) H` is kept up to
//! date. *Refit* of a group's scale with levels `k = code - zero`: `Δs = Σ R_j k_j / kᵀ H k`, snapped, taken only where the
//! error falls. *Coordinate descent*: the best weight for column `j` given all others is `Q_j + R_j / H_jj`; its nearest
//! code is taken. Rows are independent; codes of a block of columns move first, and one product then brings `R` up to date.

use super::SolveError;
use crate::grid::{AffineGrid, GridConfig, Step};
use crate::kernels::{Operand, Threads, gemm};
use crate::monitor::Monitor;
use crate::solved::{Grid, Solved};
use crate::tensor::{Matrix, Symmetric};
use rayon::prelude::*;

/// Rows that one task polishes: enough for matrix products at speed, few enough to share the work.
const SLAB_ROWS: usize = 64;
/// Columns whose codes move between two products.
const BLOCK_COLUMNS: usize = 64;

/// Polishes `solved` (on an affine grid) for `rounds` rounds towards `target`.
pub(super) fn polish(
    solved: Solved,
    target: &Matrix,
    gram: &Symmetric,
    ridge: f32,
    rounds: u32,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    polish_what(solved, target, gram, ridge, (rounds, true), monitor)
}

/// The same; `rounds` says how many, and whether scales move too.
pub(super) fn polish_what(
    mut solved: Solved,
    target: &Matrix,
    gram: &Symmetric,
    ridge: f32,
    (rounds, scales_move): (u32, bool),
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let columns = target.columns();
    let Grid::Affine(grid) = &mut solved.grid else {
        return Ok(solved);
    };
    if target.data().is_empty() || rounds == 0 {
        return Ok(solved);
    }
    let mut hessian = gram.to_matrix().into_data();
    for diagonal in hessian.iter_mut().step_by(columns + 1) {
        // A dead input has no say in any output: its code stays.
        *diagonal += if *diagonal == 0.0 { 0.0 } else { ridge };
    }
    let AffineGrid {
        config,
        scales,
        zeros,
        ..
    } = grid;
    let steps = SLAB_ROWS * config.groups(columns).count();
    solved
        .codes
        .values
        .par_chunks_mut(SLAB_ROWS * columns)
        .zip(target.data().par_chunks(SLAB_ROWS * columns))
        .zip(scales.par_chunks_mut(steps))
        .zip(zeros.par_chunks(steps))
        .try_for_each(|(((codes, target), scales), zeros)| {
            let mut slab = Slab {
                config: *config,
                columns,
                hessian: &hessian,
                codes,
                scales,
                zeros,
                residual: Vec::new(),
            };
            slab.set_residual(target);
            for _ in 0..rounds {
                monitor.check()?;
                if scales_move {
                    slab.refit_scales();
                    monitor.check()?;
                }
                slab.move_codes();
            }
            Ok::<(), SolveError>(())
        })?;
    solved.loss = None;
    Ok(solved)
}

/// Some rows of the layer, with all that belongs to them.
struct Slab<'a> {
    config: GridConfig,
    columns: usize,
    /// Damped Gram matrix `[columns, columns]`.
    hessian: &'a [f32],
    codes: &'a mut [u8],
    scales: &'a mut [f32],
    zeros: &'a [f32],
    /// `(T - Q) H`, `[rows, columns]`.
    residual: Vec<f32>,
}

impl Slab<'_> {
    fn rows(&self) -> usize {
        self.codes.len() / self.columns
    }

    fn step(&self, row: usize, group: usize) -> Step {
        let index = row * self.config.groups(self.columns).count() + group;
        Step {
            scale: self.scales[index],
            zero: self.zeros[index],
        }
    }

    fn set_residual(&mut self, target: &[f32]) {
        let groups = self.config.groups(self.columns);
        let mut difference = target.to_vec();
        for (row, difference) in difference.chunks_mut(self.columns).enumerate() {
            for (column, value) in difference.iter_mut().enumerate() {
                let code = f32::from(self.codes[row * self.columns + column]);
                *value -= self.step(row, groups.of(column)).weight(code);
            }
        }
        self.residual = vec![0.0; difference.len()];
        let all = 0..self.columns;
        add_product(
            &mut self.residual,
            &difference,
            self.hessian,
            all,
            self.columns,
            1.0,
        );
    }

    /// One refit of every scale.
    fn refit_scales(&mut self) {
        let groups = self.config.groups(self.columns);
        let mut products = vec![0.0f32; self.residual.len()];
        for group in 0..groups.count() {
            let range = groups.range(group);
            let levels = self.levels(group);
            products.fill(0.0);
            add_product(
                &mut products,
                &levels,
                self.hessian,
                range.clone(),
                self.columns,
                1.0,
            );
            for (row, levels) in levels.chunks(range.len()).enumerate() {
                let span = row * self.columns..(row + 1) * self.columns;
                let (residual, products) = (&mut self.residual[span.clone()], &products[span]);
                let pull = dot(&residual[range.clone()], levels);
                let stiffness = dot(&products[range.clone()], levels);
                let scale = &mut self.scales[row * groups.count() + group];
                let change = scale_change(self.config, *scale, pull, stiffness);
                if change != 0.0 {
                    *scale += change;
                    let pairs = residual.iter_mut().zip(products);
                    pairs.for_each(|(residual, product)| *residual -= change * product);
                }
            }
        }
    }

    /// `code - zero` of one group, `[rows, width of the group]`.
    fn levels(&self, group: usize) -> Vec<f32> {
        let range = self.config.groups(self.columns).range(group);
        let rows = self.codes.chunks(self.columns).enumerate();
        rows.flat_map(|(row, codes)| {
            let zero = self.step(row, group).zero;
            codes[range.clone()]
                .iter()
                .map(move |&code| f32::from(code) - zero)
        })
        .collect()
    }

    /// One pass of coordinate descent over all codes.
    fn move_codes(&mut self) {
        for first in (0..self.columns).step_by(BLOCK_COLUMNS) {
            let block = first..(first + BLOCK_COLUMNS).min(self.columns);
            let width = block.len();
            let mut moves = vec![0.0f32; self.rows() * width];
            let mut moved = false;
            for (row, moves) in moves.chunks_mut(width).enumerate() {
                moved |= self.move_codes_of_row(row, block.start, moves);
            }
            if moved {
                add_product(
                    &mut self.residual,
                    &moves,
                    self.hessian,
                    block,
                    self.columns,
                    -1.0,
                );
            }
        }
    }

    /// Moves codes of one row inside a block and says by how much; `R` is followed inside the block only.
    fn move_codes_of_row(&mut self, row: usize, first: usize, moves: &mut [f32]) -> bool {
        let groups = self.config.groups(self.columns);
        let max_code = f32::from(self.config.max_code());
        let width = moves.len();
        let start = row * self.columns + first;
        let mut local = [0.0f32; BLOCK_COLUMNS];
        let local = &mut local[..width];
        local.copy_from_slice(&self.residual[start..start + width]);
        let mut moved = false;
        for offset in 0..width {
            let column = first + offset;
            let line = &self.hessian[column * self.columns + first..][..width];
            if line[offset] <= 0.0 {
                continue;
            }
            let step = self.step(row, groups.of(column));
            let code = &mut self.codes[start + offset];
            let before = f32::from(*code);
            let best = step.weight(before) + local[offset] / line[offset];
            let after = step.code(best, max_code);
            if after != before {
                *code = after as u8;
                let change = step.scale * (after - before);
                moves[offset] = change;
                let pairs = local.iter_mut().zip(line);
                pairs.for_each(|(residual, entry)| *residual -= change * entry);
                moved = true;
            }
        }
        moved
    }
}

/// By how much a scale moves: to the snapped optimum, where the error then falls.
fn scale_change(config: GridConfig, scale: f32, pull: f64, stiffness: f64) -> f32 {
    let wanted = f64::from(scale) + pull / stiffness;
    if !(stiffness > 0.0 && wanted > 0.0 && wanted.is_finite()) {
        return 0.0;
    }
    let change = config.scale_dtype.snap_scale(wanted as f32) - scale;
    let gain = f64::from(change) * (2.0 * pull - f64::from(change) * stiffness);
    // The sum must give back the snapped scale exactly, or codes and scale would part.
    if gain > 0.0 && config.scale_dtype.snap_scale(scale + change) == scale + change {
        change
    } else {
        0.0
    }
}

/// `target += sign * left H[lines, :]`, `left` `[rows, lines]`.
fn add_product(
    target: &mut [f32],
    left: &[f32],
    hessian: &[f32],
    lines: std::ops::Range<usize>,
    columns: usize,
    sign: f32,
) {
    let rows = target.len() / columns;
    let width = lines.len();
    gemm(
        target,
        columns,
        [rows, columns, width],
        (
            Operand::new(left, width),
            Operand::new(
                &hessian[lines.start * columns..lines.end * columns],
                columns,
            ),
        ),
        (sign, 1.0),
        Threads::One,
    );
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    let pairs = left.iter().zip(right);
    pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests;

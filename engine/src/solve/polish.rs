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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::monitor::Unwatched;
    use crate::rng::Rng;
    use crate::solve::{RtnConfig, rtn};

    fn grid(bits: u8, group: usize) -> GridConfig {
        GridConfig {
            bits,
            group,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        }
    }

    fn normal_matrix(rows: usize, columns: usize, stream: u64) -> Matrix {
        let mut rng = Rng::new(61, stream);
        Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32)
    }

    /// A Gram matrix of inputs that lean on their neighbours; input `dead` is never seen.
    fn gram(width: usize, dead: Option<usize>) -> Symmetric {
        let mut rng = Rng::new(62, 0);
        let mut sums = vec![0.0f64; width * width];
        for _ in 0..3 * width {
            let mut inputs: Vec<f64> = (0..width).map(|_| rng.normal()).collect();
            for column in 1..width {
                inputs[column] += 0.8 * inputs[column - 1];
            }
            if let Some(dead) = dead {
                inputs[dead] = 0.0;
            }
            for row in 0..width {
                for column in 0..width {
                    sums[row * width + column] += inputs[row] * inputs[column];
                }
            }
        }
        let upper = (0..width).flat_map(|row| {
            sums[row * width + row..(row + 1) * width]
                .iter()
                .map(|sum| (sum / (3 * width) as f64) as f32)
        });
        Symmetric::new(width, upper.collect())
    }

    /// `tr((T - Q)(H + ridge)(T - Q)ᵀ)` by the definition, in f64.
    fn slow_error(target: &Matrix, solved: &Solved, gram: &Symmetric, ridge: f64) -> f64 {
        let found = solved.dequantize();
        let mut error = 0.0;
        for row in 0..target.rows() {
            let pairs = target.row(row).iter().zip(found.row(row));
            let change: Vec<f64> = pairs.map(|(&t, &q)| f64::from(t) - f64::from(q)).collect();
            for (i, left) in change.iter().enumerate() {
                for (j, right) in change.iter().enumerate() {
                    let ridge = if i == j { ridge } else { 0.0 };
                    error += left * right * (f64::from(gram.at(i, j)) + ridge);
                }
            }
        }
        error
    }

    fn rounded(target: &Matrix, config: GridConfig) -> Solved {
        let config = RtnConfig {
            grid: config,
            clip_search: 0,
        };
        rtn(target, None, &config, &Unwatched).unwrap()
    }

    #[test]
    fn every_round_lowers_the_error() {
        for (rows, columns, group) in [(3, 20, 8), (70, 150, 64), (5, 70, 0)] {
            let (target, gram) = (normal_matrix(rows, columns, 0), gram(columns, None));
            let start = rounded(&target, grid(3, group));
            let mut last = slow_error(&target, &start, &gram, 0.01);
            let first = last;
            for rounds in 1..4 {
                let polished =
                    polish(start.clone(), &target, &gram, 0.01, rounds, &Unwatched).unwrap();
                let error = slow_error(&target, &polished, &gram, 0.01);
                assert!(
                    error <= last * 1.0001,
                    "round {rounds}: {last} became {error}"
                );
                last = error;
            }
            assert!(
                last < 0.7 * first,
                "{rows} x {columns}: {first} became {last}"
            );
        }
    }

    #[test]
    fn in_the_end_no_single_code_can_do_better() {
        let (target, gram) = (normal_matrix(4, 30, 1), gram(30, None));
        let solved = polish(
            rounded(&target, grid(3, 8)),
            &target,
            &gram,
            0.0,
            50,
            &Unwatched,
        );
        let solved = solved.unwrap();
        let least = slow_error(&target, &solved, &gram, 0.0);
        for index in 0..solved.codes.values.len() {
            for other in 0..8 {
                let mut changed = solved.clone();
                changed.codes.values[index] = other;
                let error = slow_error(&target, &changed, &gram, 0.0);
                assert!(
                    error >= least * (1.0 - 1e-5),
                    "code {index} to {other}: {least} became {error}"
                );
            }
        }
    }

    #[test]
    fn a_refitted_scale_is_the_best_of_all_scales() {
        let config = GridConfig {
            scale_dtype: ScaleDtype::F32,
            ..grid(3, 0)
        };
        // Error of scale s: 5 (s - 2)², so at s = 1: pull 5, stiffness 5.
        assert_eq!(scale_change(config, 1.0, 5.0, 5.0), 1.0);
        assert_eq!(scale_change(config, 1.0, -5.0, 5.0), 0.0, "0 is no scale");
        assert_eq!(scale_change(config, 1.0, 5.0, 0.0), 0.0);
        assert_eq!(scale_change(config, 1.0, f64::NAN, 1.0), 0.0);
    }

    #[test]
    fn scales_stay_snapped_and_dead_inputs_keep_their_codes() {
        let (target, gram) = (normal_matrix(9, 40, 2), gram(40, Some(13)));
        let start = rounded(&target, grid(2, 16));
        let polished = polish(start.clone(), &target, &gram, 0.02, 3, &Unwatched).unwrap();
        let Grid::Affine(affine) = &polished.grid else {
            panic!("still affine");
        };
        for &scale in &affine.scales {
            assert_eq!(ScaleDtype::F16.snap_scale(scale), scale);
        }
        for row in 0..9 {
            assert_eq!(polished.codes.row(row)[13], start.codes.row(row)[13]);
        }
        assert!(polished.codes.values.iter().all(|&code| code <= 3));
    }

    #[test]
    fn the_thread_count_changes_nothing_and_empty_layers_pass() {
        let (target, gram) = (normal_matrix(150, 70, 3), gram(70, None));
        let solve = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let start = rounded(&target, grid(3, 32));
            let pool = pool.build().unwrap();
            pool.install(|| polish(start, &target, &gram, 0.01, 2, &Unwatched).unwrap())
        };
        assert_eq!(solve(1), solve(3));
        let empty = Matrix::zeros(0, 70);
        let start = rounded(&empty, grid(3, 32));
        assert_eq!(
            polish(start.clone(), &empty, &gram, 0.01, 2, &Unwatched).unwrap(),
            start
        );
    }
}

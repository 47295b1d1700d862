//! Blocked flipped Cholesky: `H = R Rᵀ` with `R` upper triangular, `Rᵀ` written over the lower triangle of `H`.
//!
//! Left-looking from the last panel of rows to the first. With `S = Rᵀ`, `H = Sᵀ S`, and for the panel of rows `J`:
//! `S[J, ..J.end] = S_JJ⁻ᵀ (H[J, ..J.end] - S[J.end.., J]ᵀ S[J.end.., ..J.end])`: one product, one small factorization, one
//! triangular solve. The product over rows far below is taken for several panels at once. All work lies along rows;
//! columns are split over threads in pieces that depend on the order alone.

use crate::kernels::{Element, Operand, Threads, gemm, substitute_backward, transpose};
use crate::monitor::{Monitor, Stopped};
use rayon::prelude::*;
use std::ops::Range;

/// Rows whose far past is summed in one product: enough that packing its operands costs little.
const WIDE: usize = 512;
/// Rows factored at once: few, because that part runs on one thread.
const PANEL: usize = 128;
/// Columns that one task solves.
const PIECE: usize = 256;
/// A pivot below this many roundings of the diagonal it came from is noise.
const NOISE: f64 = 64.0;

/// Why a factorization ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FactorError {
    /// The monitor asked for it.
    #[error("stopped")]
    Stopped,
    /// The matrix is not positive definite as far as this precision can tell.
    #[error("the matrix is not positive definite: pivot {index}")]
    NotPositive {
        /// The first pivot, counted from the last, that is not clearly positive.
        index: usize,
    },
}

impl From<Stopped> for FactorError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Replaces the lower triangle of `matrix` (row-major `[order, order]`) by `Rᵀ`, where `matrix = R Rᵀ`.
///
/// Only the lower triangle, with the diagonal, is read; what stands above it is overwritten inside diagonal blocks.
/// Polls the monitor once per panel. After an error the contents are unspecified.
///
/// # Panics
/// If the length does not fit the order.
pub fn flipped_cholesky<T: Element>(
    matrix: &mut [T],
    order: usize,
    monitor: &dyn Monitor,
) -> Result<(), FactorError> {
    assert_eq!(matrix.len(), order * order, "a matrix of order {order}");
    let diagonal: Vec<T> = (0..order).map(|row| matrix[row * order + row]).collect();
    for wide_start in (0..order).step_by(WIDE).rev() {
        monitor.check()?;
        let wide = wide_start..(wide_start + WIDE).min(order);
        let (head, below) = matrix.split_at_mut(wide.end * order);
        let rows = &mut head[wide.start * order..];
        let far = turned(below, order, wide.clone());
        subtract_product(rows, &far, below, order, 0..wide.start);
        for start in wide.clone().step_by(PANEL).rev() {
            monitor.check()?;
            let lines = start..(start + PANEL).min(wide.end);
            let (head, beside) = rows.split_at_mut((lines.end - wide.start) * order);
            let panel = &mut head[(start - wide.start) * order..];
            let far = &far[(start - wide.start) * (order - wide.end)..];
            subtract_product(panel, far, below, order, wide.start..lines.end);
            let near = turned(beside, order, lines.clone());
            subtract_product(panel, &near, beside, order, 0..lines.end);
            let block = factor_block(panel, order, start, &diagonal[lines])
                .map_err(|index| FactorError::NotPositive { index })?;
            solve_panel(panel, &block, order, start);
        }
    }
    Ok(())
}

/// Columns `lines` of `rows` as rows: contiguous along the summed dimension, which spares the product its slowest packing.
fn turned<T: Element>(rows: &[T], order: usize, lines: Range<usize>) -> Vec<T> {
    const STRIP: usize = 32;
    let depth = rows.len() / order;
    let mut turned = vec![T::ZERO; depth * lines.len()];
    if depth > 0 {
        let strips = turned.par_chunks_mut(STRIP * depth).enumerate();
        strips.for_each(|(strip, target)| {
            let width = target.len() / depth;
            let source = &rows[lines.start + strip * STRIP..];
            transpose(target, depth, source, order, depth, width);
        });
    }
    turned
}

/// Takes the finished rows' share from some rows: `rows[.., columns] -= turned * done[.., columns]`.
fn subtract_product<T: Element>(
    rows: &mut [T],
    turned: &[T],
    done: &[T],
    order: usize,
    columns: Range<usize>,
) {
    let depth = done.len() / order;
    if depth == 0 || columns.is_empty() {
        return;
    }
    let operands = (
        Operand::new(turned, depth),
        Operand::new(&done[columns.start..], order),
    );
    let count = rows.len() / order;
    gemm(
        &mut rows[columns.start..],
        order,
        [count, columns.len(), depth],
        operands,
        (-T::ONE, T::ONE),
        Threads::Pool,
    );
}

/// Factors the panel's diagonal block in place and returns `R` of it, row-major. `Err` is the pivot that failed.
fn factor_block<T: Element>(
    panel: &mut [T],
    order: usize,
    start: usize,
    diagonal: &[T],
) -> Result<Vec<T>, usize> {
    let size = diagonal.len();
    let mut upper = vec![T::ZERO; size * size];
    for row in 0..size {
        for column in 0..=row {
            upper[column * size + row] = panel[row * order + start + column];
        }
    }
    // `upper` holds the block's upper triangle; column `pivot` of R is finished from the last to the first.
    for pivot in (0..size).rev() {
        let value = upper[pivot * size + pivot];
        let noise = T::from_f64(NOISE) * T::EPSILON * diagonal[pivot];
        // Written so that NaN fails too.
        let clearly_positive = value > noise && value > T::ZERO && value.to_f64().is_finite();
        if !clearly_positive {
            return Err(start + pivot);
        }
        let root = value.square_root();
        let column: Vec<T> = (0..pivot)
            .map(|row| upper[row * size + pivot] / root)
            .collect();
        upper[pivot * size + pivot] = root;
        for row in 0..pivot {
            upper[row * size + pivot] = column[row];
            let line = &mut upper[row * size + row..row * size + pivot];
            for (value, &other) in line.iter_mut().zip(&column[row..]) {
                *value -= column[row] * other;
            }
        }
    }
    Ok(upper)
}

/// Finishes the panel: its columns left of the diagonal block by a triangular solve, the block itself by copying.
fn solve_panel<T: Element>(panel: &mut [T], block: &[T], order: usize, start: usize) {
    // Pieces are solved in copies: in the panel itself, lines a large power of two apart would share their cache sets.
    let source = &*panel;
    let pieces: Vec<Vec<T>> = (0..start)
        .into_par_iter()
        .step_by(PIECE)
        .map(|first| {
            let width = PIECE.min(start - first);
            let mut piece = Vec::with_capacity(source.len() / order * width);
            for row in source.chunks_exact(order) {
                piece.extend_from_slice(&row[first..first + width]);
            }
            substitute_backward(&mut piece, width, width, block);
            piece
        })
        .collect();
    let size = panel.len() / order;
    for (row, target) in panel.chunks_exact_mut(order).enumerate() {
        for (piece, target) in pieces.iter().zip(target[..start].chunks_mut(PIECE)) {
            target.copy_from_slice(&piece[row * target.len()..][..target.len()]);
        }
        for column in 0..size {
            target[start + column] = if column <= row {
                block[column * size + row]
            } else {
                T::ZERO
            };
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;
    use crate::rng::Rng;
    use proptest::prelude::*;

    /// `A Aᵀ / order` plus a tenth of the identity, `A` random.
    pub(in crate::linalg) fn random_spd(order: usize, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed, 0);
        let values: Vec<f64> = (0..order * order).map(|_| rng.normal()).collect();
        let mut matrix = vec![0.0; order * order];
        for row in 0..order {
            for column in 0..order {
                let dot: f64 = (0..order)
                    .map(|inner| values[row * order + inner] * values[column * order + inner])
                    .sum();
                let ridge = if row == column { 0.1 } else { 0.0 };
                matrix[row * order + column] = dot / order as f64 + ridge;
            }
        }
        matrix
    }

    /// Largest difference between `matrix` and `SᵀS`.
    fn residual<T: Element>(matrix: &[f64], factor: &[T], order: usize) -> f64 {
        let mut largest = 0.0f64;
        for row in 0..order {
            for column in 0..=row {
                let product: f64 = (row..order)
                    .map(|inner| {
                        factor[inner * order + row].to_f64()
                            * factor[inner * order + column].to_f64()
                    })
                    .sum();
                largest = largest.max((product - matrix[row * order + column]).abs());
            }
        }
        largest
    }

    fn check<T: Element>(order: usize, seed: u64, tolerance: f64) {
        let matrix = random_spd(order, seed);
        let mut factor: Vec<T> = matrix.iter().map(|&value| T::from_f64(value)).collect();
        flipped_cholesky(&mut factor, order, &Unwatched).unwrap();
        let found = residual(&matrix, &factor, order);
        assert!(found < tolerance, "order {order}: residual {found}");
    }

    #[test]
    fn gives_back_the_matrix_around_panel_edges() {
        for order in [1, 2, 127, 128, 129, 300, 641] {
            check::<f32>(order, order as u64, 1e-5);
            check::<f64>(order, order as u64, 1e-13);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn gives_back_random_matrices(order in 1usize..40, seed in any::<u64>()) {
            check::<f64>(order, seed, 1e-13);
        }
    }

    #[test]
    fn an_empty_matrix_is_factored() {
        assert_eq!(flipped_cholesky::<f32>(&mut [], 0, &Unwatched), Ok(()));
    }

    #[test]
    fn a_failed_pivot_is_a_value() {
        for order in [3, 200] {
            let mut matrix = vec![0.0f64; order * order];
            for row in 0..order {
                matrix[row * order + row] = if row == 1 { -1.0 } else { 1.0 };
            }
            assert_eq!(
                flipped_cholesky(&mut matrix, order, &Unwatched),
                Err(FactorError::NotPositive { index: 1 })
            );
        }
        let mut not_a_number = [f32::NAN];
        assert_eq!(
            flipped_cholesky(&mut not_a_number, 1, &Unwatched),
            Err(FactorError::NotPositive { index: 0 })
        );
    }

    #[test]
    fn one_thread_and_three_give_the_same_bits() {
        let order: usize = 700;
        let factor_on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let mut factor: Vec<f32> = (0..order * order)
                .map(|index| {
                    let (row, column) = (index / order, index % order);
                    let distance = row.abs_diff(column) as f32;
                    (-distance / 50.0).exp() + if row == column { 0.1 } else { 0.0 }
                })
                .collect();
            pool.install(|| flipped_cholesky(&mut factor, order, &Unwatched))
                .unwrap();
            factor
        };
        assert!(factor_on(1) == factor_on(3));
    }

    struct Stopping;
    impl Monitor for Stopping {
        fn step(&self, _done: u64, _total: u64) {}
        fn should_stop(&self) -> bool {
            true
        }
    }

    #[test]
    fn stops_when_asked() {
        let mut matrix = [1.0f32];
        assert_eq!(
            flipped_cholesky(&mut matrix, 1, &Stopping),
            Err(FactorError::Stopped)
        );
    }
}

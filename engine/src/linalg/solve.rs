//! Triangular solves against a flipped Cholesky factor, blocked so that most of the work is matrix products.
//!
//! Tiles hold one column per line and rows in lanes, as `kernels::columns` wants them.

use crate::kernels::{
    Element, Operand, Threads, gemm, substitute_backward, substitute_forward, transpose,
};
use crate::monitor::{Monitor, Stopped};
use rayon::prelude::*;
use std::ops::Range;

/// Lines of a diagonal block.
const BLOCK: usize = 128;
/// Rows that one task solves.
const SLAB: usize = 128;

/// Solves `X H = B` in place: `rows` is `B` `[count, order]` row-major, `factor` is what `flipped_cholesky` left of `H`.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn solve_rows<T: Element>(
    rows: &mut [T],
    factor: &[T],
    order: usize,
    monitor: &dyn Monitor,
) -> Result<(), Stopped> {
    assert_eq!(factor.len(), order * order, "a factor of order {order}");
    if order == 0 {
        return Ok(());
    }
    assert_eq!(rows.len() % order, 0, "rows of {order} values");
    rows.par_chunks_mut(SLAB * order).try_for_each(|slab| {
        monitor.check()?;
        let lanes = slab.len() / order;
        let mut tile = vec![T::ZERO; slab.len()];
        transpose(&mut tile, lanes, slab, order, lanes, order);
        backward(&mut tile, lanes, factor, order);
        monitor.check()?;
        forward(&mut tile, lanes, factor, order);
        transpose(slab, order, &tile, lanes, order, lanes);
        Ok(())
    })
}

/// Solves `X R = B` in place, with the `R` of which `flipped_cholesky` left the transpose in `factor`.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn divide_rows<T: Element>(rows: &mut [T], factor: &[T], order: usize) {
    assert_eq!(factor.len(), order * order, "a factor of order {order}");
    if order == 0 {
        return;
    }
    assert_eq!(rows.len() % order, 0, "rows of {order} values");
    rows.par_chunks_mut(SLAB * order).for_each(|slab| {
        let lanes = slab.len() / order;
        let mut tile = vec![T::ZERO; slab.len()];
        transpose(&mut tile, lanes, slab, order, lanes, order);
        forward(&mut tile, lanes, factor, order);
        transpose(slab, order, &tile, lanes, order, lanes);
    });
}

/// Solves `unit * x = tile` in place for the unit lower triangle `unit[j * unit_stride + i]`, `i < j`; its diagonal is not
/// read. `tile` is `[count, stride]`, `lanes` of each line in use.
///
/// # Panics
/// If a slice is too short for its shape.
pub fn solve_unit_lower<T: Element>(
    tile: &mut [T],
    stride: usize,
    lanes: usize,
    unit: &[T],
    unit_stride: usize,
) {
    let count = tile.len() / stride;
    for start in (0..count).step_by(BLOCK) {
        let lines = start..(start + BLOCK).min(count);
        let (known, rest) = tile.split_at_mut(start * stride);
        let target = &mut rest[..lines.len() * stride];
        if start > 0 {
            let operands = (
                Operand::new(&unit[start * unit_stride..], unit_stride),
                Operand::new(known, stride),
            );
            let shape = [lines.len(), lanes, start];
            let scales = (-T::ONE, T::ONE);
            gemm(target, stride, shape, operands, scales, Threads::One);
        }
        let block = copy_block(unit, unit_stride, lines);
        substitute_forward(target, stride, lanes, &block);
    }
}

/// The diagonal block `lines x lines` of a row-major matrix.
pub fn copy_block<T: Element>(matrix: &[T], stride: usize, lines: Range<usize>) -> Vec<T> {
    lines
        .clone()
        .flat_map(|row| &matrix[row * stride..][lines.clone()])
        .copied()
        .collect()
}

/// `y S = b` for each lane, from the last line: `y_j = (b_j - Σ_{i>j} S_ij y_i) / S_jj`.
fn backward<T: Element>(tile: &mut [T], lanes: usize, factor: &[T], order: usize) {
    for start in (0..order).step_by(BLOCK).rev() {
        let end = (start + BLOCK).min(order);
        let (head, done) = tile.split_at_mut(end * lanes);
        let target = &mut head[start * lanes..];
        if end < order {
            let operands = (
                Operand::transposed(&factor[end * order + start..], order),
                Operand::new(done, lanes),
            );
            let shape = [end - start, lanes, order - end];
            let scales = (-T::ONE, T::ONE);
            gemm(target, lanes, shape, operands, scales, Threads::One);
        }
        let size = end - start;
        let block = copy_block(factor, order, start..end);
        let mut upper = vec![T::ZERO; size * size];
        transpose(&mut upper, size, &block, size, size, size);
        substitute_backward(target, lanes, lanes, &upper);
    }
}

/// `x Sᵀ = y` for each lane, from the first line: `x_i = (y_i - Σ_{j<i} S_ij x_j) / S_ii`.
fn forward<T: Element>(tile: &mut [T], lanes: usize, factor: &[T], order: usize) {
    for start in (0..order).step_by(BLOCK) {
        let end = (start + BLOCK).min(order);
        let (known, rest) = tile.split_at_mut(start * lanes);
        let target = &mut rest[..(end - start) * lanes];
        if start > 0 {
            let operands = (
                Operand::new(&factor[start * order..], order),
                Operand::new(known, lanes),
            );
            let shape = [end - start, lanes, start];
            let scales = (-T::ONE, T::ONE);
            gemm(target, lanes, shape, operands, scales, Threads::One);
        }
        let size = end - start;
        let mut block = copy_block(factor, order, start..end);
        for (line, row) in block.chunks_exact_mut(size).enumerate() {
            let pivot = row[line];
            row.iter_mut().for_each(|value| *value = *value / pivot);
            let values = &mut target[line * lanes..(line + 1) * lanes];
            values.iter_mut().for_each(|value| *value = *value / pivot);
        }
        substitute_forward(target, lanes, lanes, &block);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::linalg::cholesky::tests::random_spd;
    use crate::linalg::flipped_cholesky;
    use crate::monitor::Unwatched;
    use crate::rng::Rng;

    #[test]
    fn solving_undoes_multiplying() {
        for (count, order) in [(1, 1), (3, 40), (130, 129), (2, 300)] {
            let matrix = random_spd(order, 5);
            let mut rng = Rng::new(6, 0);
            let expected: Vec<f64> = (0..count * order).map(|_| rng.normal()).collect();
            let mut rows = vec![0.0; count * order];
            let operands = (Operand::new(&expected, order), Operand::new(&matrix, order));
            let shape = [count, order, order];
            gemm(&mut rows, order, shape, operands, (1.0, 0.0), Threads::One);
            let mut factor = matrix.clone();
            flipped_cholesky(&mut factor, order, &Unwatched).unwrap();
            solve_rows(&mut rows, &factor, order, &Unwatched).unwrap();
            for (index, (found, expected)) in rows.iter().zip(&expected).enumerate() {
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{count} x {order}, value {index}: {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn dividing_undoes_multiplying_by_the_factor() {
        let (count, order) = (5, 150);
        let mut factor = random_spd(order, 8);
        flipped_cholesky(&mut factor, order, &Unwatched).unwrap();
        for row in 0..order {
            factor[row * order + row + 1..(row + 1) * order].fill(0.0);
        }
        let mut rng = Rng::new(9, 0);
        let expected: Vec<f64> = (0..count * order).map(|_| rng.normal()).collect();
        let mut rows = vec![0.0; count * order];
        let operands = (
            Operand::new(&expected, order),
            Operand::transposed(&factor, order),
        );
        let shape = [count, order, order];
        gemm(&mut rows, order, shape, operands, (1.0, 0.0), Threads::One);
        divide_rows(&mut rows, &factor, order);
        for (found, expected) in rows.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        }
    }

    #[test]
    fn a_unit_lower_solve_equals_plain_substitution() {
        let (count, lanes) = (300, 5);
        let unit: Vec<f64> = (0..count * (count + 2))
            .map(|index| ((index * 7 % 13) as f64 - 6.0) / 100.0)
            .collect();
        let start: Vec<f64> = (0..count * lanes).map(|index| (index % 9) as f64).collect();
        let mut found = start.clone();
        solve_unit_lower(&mut found, lanes, lanes, &unit, count + 2);
        let mut expected = start;
        for line in 0..count {
            for earlier in 0..line {
                for lane in 0..lanes {
                    let known = expected[earlier * lanes + lane];
                    expected[line * lanes + lane] -= unit[line * (count + 2) + earlier] * known;
                }
            }
        }
        for (found, expected) in found.iter().zip(&expected) {
            let tolerance = 1e-9 * expected.abs().max(1.0);
            assert!(
                (found - expected).abs() < tolerance,
                "{found}, expected {expected}"
            );
        }
    }
}

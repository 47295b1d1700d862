//! The Gram matrix, damped until it can be factored, in the order in which columns are visited.
//!
//! f32 first, f64 where a pivot fails; then more damping, 0.01 of the mean diagonal at a time; then a growing floor that
//! even a matrix with one huge input cannot escape.

use super::super::SolveError;
use crate::kernels::Element;
use crate::linalg::{FactorError, flipped_cholesky};
use crate::monitor::Monitor;
use crate::tensor::Symmetric;
use rayon::prelude::*;

/// `H + ridge = R Rᵀ` in visiting order, as rounding wants it.
#[derive(Debug)]
pub(super) struct Factor {
    /// `R_ij / R_jj` at `[j, i]` for `i < j`: how the error of an earlier column moves a later one. Row-major.
    pub(super) unit: Vec<f32>,
    /// `R_jj² / 2`: what a squared rounding error costs.
    pub(super) price: Vec<f64>,
    /// Inputs, in the original order, that were never non-zero. Their weights count as 0.
    pub(super) dead: Vec<bool>,
    /// Share of the mean diagonal that was added in the end.
    pub(super) damping: f64,
    /// Dampings at which the factorization failed.
    pub(super) failures: u32,
}

/// Width of the tiles in which the triangle is mirrored.
const TILE: usize = 32;

impl Factor {
    /// Factors `gram`, its rows and columns taken in the order `columns`.
    pub(super) fn new(
        gram: &Symmetric,
        columns: &[usize],
        damping: f64,
        monitor: &dyn Monitor,
    ) -> Result<Self, SolveError> {
        if !gram.upper().iter().all(|value| value.is_finite()) {
            return Err(SolveError::Unfactorable {
                reason:
                    "it holds values that are not finite numbers; calibrate again with other texts"
                        .into(),
            });
        }
        let diagonal = Diagonal::of(gram);
        let mut failures = 0;
        for share in dampings(damping, diagonal.largest / diagonal.mean) {
            if let Some(Triangle { unit, price }) =
                factor_at(gram, columns, &diagonal, share, monitor)?
            {
                return Ok(Self {
                    unit,
                    price,
                    dead: diagonal.dead,
                    damping: share,
                    failures,
                });
            }
            failures += 1;
        }
        Err(SolveError::Unfactorable {
            reason: format!(
                "it stayed indefinite at {failures} dampings from {damping} up; calibrate with more or longer texts"
            ),
        })
    }
}

/// The diagonal, and what damping is measured by.
struct Diagonal {
    dead: Vec<bool>,
    /// Mean over inputs that are not dead; 1 where all are.
    mean: f64,
    largest: f64,
}

impl Diagonal {
    fn of(gram: &Symmetric) -> Self {
        let values = gram.diagonal();
        let dead: Vec<bool> = values.iter().map(|&value| value == 0.0).collect();
        let live = values.iter().filter(|&&value| value != 0.0);
        let (count, sum) = live.fold((0u64, 0.0), |(count, sum), &value| {
            (count + 1, sum + f64::from(value))
        });
        let mean = if sum > 0.0 { sum / count as f64 } else { 1.0 };
        let largest = values.iter().copied().fold(0.0, f32::max);
        Self {
            dead,
            mean,
            largest: f64::from(largest),
        }
    }
}

/// Shares of the mean diagonal to try, in order. `peak` is the largest diagonal over the mean.
fn dampings(first: f64, peak: f64) -> impl Iterator<Item = f64> {
    let ladder = (0..)
        .map(move |rung| first + 0.01 * f64::from(rung))
        .enumerate()
        .take_while(|&(rung, share)| rung == 0 || share < 1.0)
        .map(|(_, share)| share);
    let floors = (0..6).map(move |power| first.max(1.0) + peak * 1e-6 * 10f64.powi(power));
    ladder.chain(floors)
}

/// `Factor::unit` and `Factor::price`.
struct Triangle {
    unit: Vec<f32>,
    price: Vec<f64>,
}

/// The factor at one damping: in f32, then in f64; `None` where neither works.
fn factor_at(
    gram: &Symmetric,
    columns: &[usize],
    diagonal: &Diagonal,
    share: f64,
    monitor: &dyn Monitor,
) -> Result<Option<Triangle>, SolveError> {
    let order = columns.len();
    let ridge = share * diagonal.mean;
    let mut single = lower_in_order(gram, columns);
    damp(&mut single, columns, diagonal, ridge);
    match flipped_cholesky(&mut single, order, monitor) {
        Ok(()) => {
            let price = normalize(&mut single, order);
            return Ok(Some(Triangle {
                unit: single,
                price,
            }));
        }
        Err(FactorError::Stopped) => return Err(SolveError::Stopped),
        Err(FactorError::NotPositive { .. }) => {}
    }
    drop(single);
    let mut double: Vec<f64> = lower_in_order(gram, columns)
        .iter()
        .map(|&value| f64::from(value))
        .collect();
    damp(&mut double, columns, diagonal, ridge);
    match flipped_cholesky(&mut double, order, monitor) {
        Ok(()) => {
            let price = normalize(&mut double, order);
            let unit = double.iter().map(|&value| value as f32).collect();
            Ok(Some(Triangle { unit, price }))
        }
        Err(FactorError::Stopped) => Err(SolveError::Stopped),
        Err(FactorError::NotPositive { .. }) => Ok(None),
    }
}

/// Adds the ridge; dead inputs get the mean, so that they neither fail nor shift anything.
fn damp<T: Element>(matrix: &mut [T], columns: &[usize], diagonal: &Diagonal, ridge: f64) {
    let order = columns.len();
    for (position, &column) in columns.iter().enumerate() {
        let value = &mut matrix[position * order + position];
        if diagonal.dead[column] {
            *value = T::from_f64(diagonal.mean);
        }
        *value += T::from_f64(ridge);
    }
}

/// Divides each row of `Rᵀ` by its diagonal in place, and prices the diagonal.
fn normalize<T: Element>(factor: &mut [T], order: usize) -> Vec<f64> {
    let rows = factor.par_chunks_exact_mut(order.max(1)).enumerate();
    rows.map(|(row, values)| {
        let pivot = values[row];
        for value in &mut values[..row] {
            *value = *value / pivot;
        }
        0.5 * pivot.to_f64() * pivot.to_f64()
    })
    .collect()
}

/// `[order, order]` row-major whose lower triangle holds `gram` with rows and columns in the order `columns`.
fn lower_in_order(gram: &Symmetric, columns: &[usize]) -> Vec<f32> {
    let order = columns.len();
    let full = mirrored(gram);
    if columns
        .iter()
        .enumerate()
        .all(|(position, &column)| position == column)
    {
        return full;
    }
    let mut ordered = vec![0.0; full.len()];
    ordered
        .par_chunks_exact_mut(order)
        .enumerate()
        .for_each(|(position, target)| {
            let source = &full[columns[position] * order..][..order];
            for (target, &column) in target[..=position].iter_mut().zip(columns) {
                *target = source[column];
            }
        });
    ordered
}

/// All `order x order` values, mirrored in tiles.
fn mirrored(gram: &Symmetric) -> Vec<f32> {
    let order = gram.order();
    let mut full = vec![0.0; order * order];
    full.par_chunks_mut(TILE * order.max(1))
        .enumerate()
        .for_each(|(tile, target)| {
            let first = tile * TILE;
            for (offset, line) in target.chunks_exact_mut(order).enumerate() {
                let row = first + offset;
                line[row..].copy_from_slice(gram.upper_row(row));
            }
            for left in (0..first + TILE).step_by(TILE) {
                mirror_tile(gram, target, first, left);
            }
        });
    full
}

/// Fills what lies left of the diagonal in columns `left..left + TILE` of the rows that start at `first`.
fn mirror_tile(gram: &Symmetric, target: &mut [f32], first: usize, left: usize) {
    let order = gram.order();
    let sources: [&[f32]; TILE] = std::array::from_fn(|offset| {
        let column = left + offset;
        if column < order {
            gram.upper_row(column)
        } else {
            &[]
        }
    });
    for (row, line) in (first..).zip(target.chunks_exact_mut(order)) {
        let end = row.min(left + TILE);
        let values = line.get_mut(left..end).unwrap_or_default();
        for ((column, value), source) in (left..).zip(values).zip(&sources) {
            *value = source[row - column];
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;

    fn counting(order: usize) -> Symmetric {
        let len = Symmetric::stored_len(order);
        Symmetric::new(order, (0..len).map(|index| index as f32).collect())
    }

    #[test]
    fn mirroring_and_ordering_reach_every_element() {
        for order in [1, 31, 32, 33, 70] {
            let gram = counting(order);
            assert_eq!(mirrored(&gram), gram.to_matrix().into_data());
            let columns: Vec<usize> = (0..order).map(|column| (column * 7 + 3) % order).collect();
            let lower = lower_in_order(&gram, &columns);
            for row in 0..order {
                for column in 0..=row {
                    let expected = gram.at(columns[row], columns[column]);
                    let found = lower[row * order + column];
                    assert_eq!(found, expected, "({row}, {column}) of {order}");
                }
            }
        }
    }

    #[test]
    fn dampings_climb_to_one_and_then_over_floors() {
        let tried: Vec<f64> = dampings(0.5, 1000.0).collect();
        assert_eq!(tried.len(), 50 + 6);
        assert!(tried.is_sorted());
        assert_eq!(dampings(3.0, 1.0).next(), Some(3.0));
    }

    #[test]
    fn an_indefinite_matrix_is_damped_and_says_so() {
        // Eigenvalues 3 and -0.04: nothing below a damping of about 0.03 helps.
        let gram = Symmetric::new(2, vec![1.48, 1.52, 1.48]);
        let factor = Factor::new(&gram, &[0, 1], 0.01, &Unwatched).unwrap();
        assert_eq!(factor.failures, 2);
        assert!((factor.damping - 0.03).abs() < 1e-12);
    }

    #[test]
    fn hopeless_statistics_are_an_error() {
        let gram = Symmetric::new(2, vec![1.0, 100.0, 1.0]);
        let error = Factor::new(&gram, &[0, 1], 0.01, &Unwatched).unwrap_err();
        assert!(matches!(error, SolveError::Unfactorable { .. }), "{error}");
        let gram = Symmetric::new(1, vec![f32::NAN]);
        let error = Factor::new(&gram, &[0], 0.01, &Unwatched).unwrap_err();
        assert!(matches!(error, SolveError::Unfactorable { .. }), "{error}");
    }

    #[test]
    fn what_f32_cannot_factor_f64_can() {
        let near = 1.0 - f32::EPSILON;
        let gram = Symmetric::new(2, vec![1.0, near, 1.0]);
        let factor = Factor::new(&gram, &[0, 1], 0.0, &Unwatched).unwrap();
        assert_eq!((factor.failures, factor.damping), (0, 0.0));
    }
}

//! Thin factors: in place of weights, or for what codes and zeros lose.
//!
//! With inputs of Gram matrix `H`, damped, and `H = R Rᵀ`, the output error of a change `E` of the weights is `‖E R‖²`. The
//! best `E` of a rank is the head of the singular vectors of `E R` divided by `R` (whitened SVD; EoRA, Liu et al. 2024,
//! arXiv 2410.21271, has the same closed form). Without inputs `R` is the identity.
//!
//! Factors are rounded to their dtype before their error is told, and never make it worse: where they would, they are zero.

mod convolution;
mod head;
#[cfg(test)]
mod tests;
mod whiten;

pub use convolution::{OuterProducts, Tensor4, Tucker2, outer_products, tucker2};
pub use whiten::Whitened;

use super::float::without_codes;
use super::{SolveError, check_finite};
use crate::grid::ScaleDtype;
use crate::kernels::{Operand, Threads, gemm};
use crate::linalg::symmetric_eigenvalues;
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::settings::{LayerSettings, Rank};
use crate::solved::{Grid, LowRank, Solved, Warning};
use crate::tensor::Matrix;
use head::Head;
use rayon::prelude::*;

/// Factors, and what they hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Factored {
    /// The factors.
    pub factors: LowRank,
    /// Share of the output energy of what was factored that they hold, 0 to 1; 1 where there was none.
    pub energy_kept: f64,
}

/// The factors of `rank` that hold most of what `weights` do to the outputs.
///
/// # Panics
/// If `whitened` is of another width.
pub fn factor(
    weights: &Matrix,
    whitened: &Whitened,
    rank: usize,
    dtype: ScaleDtype,
    monitor: &dyn Monitor,
) -> Result<Factored, SolveError> {
    check_finite(weights)?;
    let (rows, columns) = (weights.rows(), weights.columns());
    let values = whitened.times(weights);
    let energy = energy_of(&values);
    let rank = rank.min(rows.min(columns));
    let mut factors = LowRank {
        outer: Matrix::zeros(rows, rank),
        inner: Matrix::zeros(rank, columns),
        dtype,
    };
    if rank == 0 || energy == 0.0 {
        return Ok(Factored {
            factors,
            energy_kept: 1.0,
        });
    }
    let Head { outer, mut inner } = Head::of(&values, (rows, columns), rank, monitor)?;
    monitor.check()?;
    whitened.divide(&mut inner);
    store_balanced(&outer, &inner, &mut factors);
    let left = energy_of(&whitened.times(&without(weights, &factors)));
    if left >= energy || !left.is_finite() {
        factors.outer.data_mut().fill(0.0);
        factors.inner.data_mut().fill(0.0);
        return Ok(Factored {
            factors,
            energy_kept: 0.0,
        });
    }
    Ok(Factored {
        factors,
        energy_kept: 1.0 - left / energy,
    })
}

/// The least rank whose singular values hold `share` of the squares of all, at least 1.
pub fn rank_for_energy(
    weights: &Matrix,
    share: f64,
    monitor: &dyn Monitor,
) -> Result<usize, SolveError> {
    check_finite(weights)?;
    let (rows, columns) = (weights.rows(), weights.columns());
    let values: Vec<f64> = weights
        .data()
        .iter()
        .map(|&value| f64::from(value))
        .collect();
    let (gram, order) = head::smaller_gram(&values, (rows, columns));
    let energies = symmetric_eigenvalues(gram, order, monitor)?;
    let total: f64 = energies.iter().map(|energy| energy.max(0.0)).sum();
    let mut held = 0.0;
    for (index, energy) in energies.iter().enumerate() {
        held += energy.max(0.0);
        if held >= share * total {
            return Ok(index + 1);
        }
    }
    Ok(order.max(1))
}

/// A layer that is nothing but factors.
pub(super) fn factors_instead(
    weights: &Matrix,
    moments: Option<&Moments>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let mut solved = without_codes(weights, Grid::Nothing);
    add_factors(weights, &mut solved, moments, settings, monitor)?;
    Ok(solved)
}

/// `solved` with factors of what it loses of `weights`.
pub(super) fn factors_of_loss(
    weights: &Matrix,
    mut solved: Solved,
    moments: Option<&Moments>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let mut loss = weights.clone();
    let pairs = loss.data_mut().par_iter_mut();
    pairs
        .zip(solved.dequantize().data())
        .for_each(|(weight, value)| *weight -= value);
    add_factors(&loss, &mut solved, moments, settings, monitor)?;
    solved.loss = None;
    Ok(solved)
}

fn add_factors(
    weights: &Matrix,
    solved: &mut Solved,
    moments: Option<&Moments>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<(), SolveError> {
    let rank = match (
        settings.rank,
        settings.rank.of_shape(weights.rows(), weights.columns()),
    ) {
        (_, Some(rank)) => rank,
        (Rank::Energy(share), None) => rank_for_energy(weights, share, monitor)?,
        (_, None) => return Ok(()),
    };
    let whitened = match moments {
        None => Whitened::identity(weights.columns()),
        Some(moments) => match Whitened::new(&moments.gram, settings.damping, monitor) {
            Ok(whitened) => whitened,
            Err(SolveError::Unfactorable { reason }) => {
                solved.warnings.push(Warning::FactorsOfWeights { reason });
                Whitened::identity(weights.columns())
            }
            Err(error) => return Err(error),
        },
    };
    if whitened.order() != weights.columns() {
        return Err(SolveError::Shape {
            what: "the Gram matrix",
            expected: weights.columns(),
            found: whitened.order(),
        });
    }
    let factored = factor(weights, &whitened, rank, settings.scale_dtype, monitor)?;
    solved.factors = Some(factored.factors);
    Ok(())
}

/// `weights` less the product of the factors.
fn without(weights: &Matrix, factors: &LowRank) -> Matrix {
    let (rows, columns) = (weights.rows(), weights.columns());
    let mut left = weights.clone();
    gemm(
        left.data_mut(),
        columns,
        [rows, columns, factors.rank()],
        (
            Operand::new(factors.outer.data(), factors.rank()),
            Operand::new(factors.inner.data(), columns),
        ),
        (-1.0, 1.0),
        Threads::Pool,
    );
    left
}

/// Writes the factors, each pair of a column and a row scaled so that both are of one size, as their dtype holds them.
fn store_balanced(outer: &[f64], inner: &[f64], factors: &mut LowRank) {
    let rank = factors.rank();
    let columns = factors.inner.columns();
    let dtype = factors.dtype;
    for index in 0..rank {
        let column = || outer.iter().skip(index).step_by(rank);
        let row = &inner[index * columns..(index + 1) * columns];
        let largest = |values: &mut dyn Iterator<Item = &f64>| {
            values.fold(0.0, |largest: f64, value| largest.max(value.abs()))
        };
        let (of_column, of_row) = (largest(&mut column()), largest(&mut row.iter()));
        let scale = (of_row / of_column).sqrt();
        let scale = if scale.is_finite() && scale > 0.0 {
            scale
        } else {
            1.0
        };
        let target = factors
            .outer
            .data_mut()
            .iter_mut()
            .skip(index)
            .step_by(rank);
        for (target, value) in target.zip(column()) {
            *target = dtype.snap((value * scale) as f32);
        }
        let target = factors.inner.row_mut(index);
        for (target, value) in target.iter_mut().zip(row) {
            *target = dtype.snap((value / scale) as f32);
        }
    }
}

/// `Σ x²`, run by run in order.
fn energy_of(values: &[f64]) -> f64 {
    const RUN: usize = 1 << 14;
    let runs = values.par_chunks(RUN);
    let sums: Vec<f64> = runs
        .map(|run| run.iter().map(|value| value * value).sum())
        .collect();
    sums.iter().sum()
}

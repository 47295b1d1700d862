//! Refinement of GPTQ for few bits: aim at what the original inputs gave, then polish scales and codes.
//!
//! 1. *Corrected target*. The layer sees inputs `x` of the compressed prefix where the original saw `o`. With `H` the mean
//!    of `x xᵀ` and `C` of `o xᵀ`, the weights that best give the original outputs are `W + D`,
//!    `D = W (C - H)(H + ridge)⁻¹`; GPTQ rounds `W + blend D`, the blend in `0..=1` as held-out rows advise.
//! 2. *Polish* (`polish`): scales and codes move by turns, each move lowering `tr((T - Q)(H + ridge)(T - Q)ᵀ)`.
//! 3. *Judge*. The error against the original outputs over held-out rows decides; plain GPTQ stays unless it is beaten.
//!
//! The target is the least-squares answer to inputs that differ from the original ones, as in Qronos (arXiv 2505.11695);
//! the polish is block coordinate descent on the layer's quadratic loss. Knows no model and no file.

use super::SolveError;
use super::gptq::{self, Factors, GptqConfig, Prepared};
use super::polish::polish;
use crate::distortion::output_energy;
use crate::kernels::{Element, Operand, Threads, gemm};
use crate::linalg::{FactorError, flipped_cholesky, solve_rows};
use crate::moments::LayerStatistics;
use crate::monitor::Monitor;
use crate::solved::{Solved, Warning};
use crate::tensor::{Matrix, Symmetric};
use rayon::prelude::*;

/// How GPTQ's result is refined. No field has a hidden default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefineConfig {
    /// Rounds of scale refit and coordinate descent.
    pub rounds: u32,
}

/// Rounds after which the held-out error hardly falls any more.
pub const DEFAULT_ROUNDS: u32 = 3;

/// A blend below this is not worth another target.
const LEAST_BLEND: f64 = 0.05;

/// GPTQ, refined where held-out rows confirm it; otherwise plain GPTQ with `Warning::RefinementRejected`.
///
/// Without held-out statistics the calibration rows themselves judge.
pub fn gptq_refined(
    weights: &Matrix,
    statistics: &LayerStatistics,
    config: &GptqConfig,
    refine: &RefineConfig,
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    gptq::check(weights, &statistics.moments, config)?;
    check_width(weights, statistics)?;
    let prepared = Prepared::new(&statistics.moments, config, factors, monitor)?;
    let plain = prepared.solve(weights, config, monitor)?;
    let gram = &statistics.moments.gram;
    let judge = Judge::new(weights, statistics);
    let target = corrected_target(weights, statistics, config.damping, &judge, monitor)?;
    let mut candidates = vec![plain];
    if let Some(target) = &target {
        candidates.push(prepared.solve(target, config, monitor)?);
    }
    let target = target.as_ref().unwrap_or(weights);
    let start = candidates[candidates.len() - 1].clone();
    let ridge = (config.damping * mean_of_live(gram)) as f32;
    candidates.push(polish(start, target, gram, ridge, refine.rounds, monitor)?);
    Ok(judge.best(candidates))
}

fn check_width(weights: &Matrix, statistics: &LayerStatistics) -> Result<(), SolveError> {
    let crosses = [
        ("the mixed Gram matrix", statistics.cross.as_ref()),
        (
            "the held-out mixed Gram matrix",
            statistics
                .held_out
                .as_ref()
                .and_then(|rows| rows.cross.as_ref()),
        ),
    ];
    let crosses = crosses
        .into_iter()
        .filter_map(|(what, cross)| Some((what, cross?.columns())));
    let held_out = statistics
        .held_out
        .iter()
        .map(|rows| ("the held-out Gram matrix", rows.gram.order()));
    for (what, found) in crosses.chain(held_out) {
        if found != weights.columns() {
            return Err(SolveError::Shape {
                what,
                expected: weights.columns(),
                found,
            });
        }
    }
    Ok(())
}

/// Mean of the diagonal over inputs that were ever non-zero; 0 where none was.
fn mean_of_live(gram: &Symmetric) -> f64 {
    let diagonal = gram.diagonal();
    let live = diagonal.iter().filter(|&&value| value != 0.0);
    let (count, sum) = live.fold((0u64, 0.0), |(count, sum), &value| {
        (count + 1, sum + f64::from(value))
    });
    sum / count.max(1) as f64
}

/// Measures candidates by held-out rows. With `Δ = Q - W` the squared distance of `Q x` from the original `W o` is, up to
/// what no candidate changes, `tr(Δ H Δᵀ) + 2 <W (H - C), Δ>`: no difference of large numbers is taken.
struct Judge<'a> {
    weights: &'a Matrix,
    gram: &'a Symmetric,
    /// `W (H - C)`, where inputs differ from the original ones.
    slope: Option<Matrix>,
}

impl<'a> Judge<'a> {
    fn new(weights: &'a Matrix, statistics: &'a LayerStatistics) -> Self {
        let (gram, cross) = match &statistics.held_out {
            Some(rows) => (&rows.gram, rows.cross.as_ref()),
            None => (&statistics.moments.gram, statistics.cross.as_ref()),
        };
        let slope = cross.map(|cross| {
            let mut slope = times_difference(weights, cross, gram);
            slope
                .data_mut()
                .iter_mut()
                .for_each(|value| *value = -*value);
            slope
        });
        Self {
            weights,
            gram,
            slope,
        }
    }

    /// Error of `W + change`, less that of `W`.
    fn error(&self, change: &Matrix) -> f64 {
        output_energy(change, self.gram) + 2.0 * self.slope_along(change)
    }

    fn slope_along(&self, change: &Matrix) -> f64 {
        self.slope
            .as_ref()
            .map_or(0.0, |slope| inner(slope, change))
    }

    /// The share of `change` in `0..=1` that errs least.
    fn best_share(&self, change: &Matrix) -> f64 {
        let energy = output_energy(change, self.gram);
        if energy > 0.0 {
            (-self.slope_along(change) / energy).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// The candidate that errs least; the first of `candidates` is the plain one.
    fn best(&self, candidates: Vec<Solved>) -> Solved {
        let mut best: Option<(f64, usize, Solved)> = None;
        for (index, candidate) in candidates.into_iter().enumerate() {
            let error = self.error(&minus(candidate.dequantize(), self.weights));
            if best.as_ref().is_none_or(|(least, ..)| error < *least) {
                best = Some((error, index, candidate));
            }
        }
        let (_, index, mut solved) = best.expect("there is always the plain candidate");
        if index == 0 {
            solved.warnings.push(Warning::RefinementRejected);
        } else {
            solved.loss = None;
        }
        solved
    }
}

/// `W + blend D`; `None` where inputs are the original ones, or held-out rows see no use in it.
fn corrected_target(
    weights: &Matrix,
    statistics: &LayerStatistics,
    damping: f64,
    judge: &Judge<'_>,
    monitor: &dyn Monitor,
) -> Result<Option<Matrix>, SolveError> {
    let Some(cross) = &statistics.cross else {
        return Ok(None);
    };
    let gram = &statistics.moments.gram;
    let right = times_difference(weights, cross, gram);
    let solved = match divide::<f32>(&right, gram, damping, monitor)? {
        Some(change) => Some(change),
        None => divide::<f64>(&right, gram, damping, monitor)?,
    };
    let Some(mut change) = solved else {
        return Ok(None);
    };
    let blend = judge.best_share(&change);
    if blend < LEAST_BLEND {
        return Ok(None);
    }
    let pairs = change.data_mut().par_iter_mut().zip(weights.data());
    pairs.for_each(|(value, weight)| *value = weight + blend as f32 * *value);
    let finite = change.data().par_iter().all(|value| value.is_finite());
    Ok(finite.then_some(change))
}

/// `right (gram + ridge)⁻¹`; `None` where the matrix cannot be factored in this precision.
fn divide<T: Element>(
    right: &Matrix,
    gram: &Symmetric,
    damping: f64,
    monitor: &dyn Monitor,
) -> Result<Option<Matrix>, SolveError> {
    let order = gram.order();
    let mean = mean_of_live(gram);
    let mut factor: Vec<T> = gram
        .to_matrix()
        .into_data()
        .into_iter()
        .map(|value| T::from_f64(f64::from(value)))
        .collect();
    for diagonal in factor.iter_mut().step_by(order + 1) {
        // A dead input gets the mean, so that it neither fails nor moves.
        if *diagonal == T::ZERO {
            *diagonal = T::from_f64(if mean > 0.0 { mean } else { 1.0 });
        }
        *diagonal += T::from_f64(damping * mean);
    }
    match flipped_cholesky(&mut factor, order, monitor) {
        Ok(()) => {}
        Err(FactorError::Stopped) => return Err(SolveError::Stopped),
        Err(FactorError::NotPositive { .. }) => return Ok(None),
    }
    let mut rows: Vec<T> = right
        .data()
        .iter()
        .map(|&value| T::from_f64(f64::from(value)))
        .collect();
    solve_rows(&mut rows, &factor, order, monitor)?;
    let data = rows.into_iter().map(|value| value.to_f64() as f32);
    Ok(Some(Matrix::new(right.rows(), order, data.collect())))
}

/// `weights (cross - gram)`.
fn times_difference(weights: &Matrix, cross: &Matrix, gram: &Symmetric) -> Matrix {
    let difference = minus(cross.clone(), &gram.to_matrix());
    let (rows, columns) = (weights.rows(), weights.columns());
    let mut product = Matrix::zeros(rows, columns);
    gemm(
        product.data_mut(),
        columns,
        [rows, columns, columns],
        (
            Operand::new(weights.data(), columns),
            Operand::new(difference.data(), columns),
        ),
        (1.0, 0.0),
        Threads::Pool,
    );
    product
}

fn minus(mut left: Matrix, right: &Matrix) -> Matrix {
    let pairs = left.data_mut().par_iter_mut().zip(right.data());
    pairs.for_each(|(left, right)| *left -= right);
    left
}

/// `Σ left right`, in f64, run by run in order.
fn inner(left: &Matrix, right: &Matrix) -> f64 {
    const RUN: usize = 1 << 14;
    let runs: Vec<f64> = left
        .data()
        .par_chunks(RUN)
        .zip(right.data().par_chunks(RUN))
        .map(|(left, right)| {
            let pairs = left.iter().zip(right);
            pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        })
        .collect();
    runs.iter().sum()
}

#[cfg(test)]
mod tests;

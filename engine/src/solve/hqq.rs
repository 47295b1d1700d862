//! HQQ: data-free; the zero of each group moves until a norm below 1 of the weight error is small.
//!
//! Badri and Shaji 2023, half-quadratic quantization. Scales come from min-max and stay; zeros are real numbers, snapped to
//! the dtype in which they are stored before an error is measured. The best step is kept, not the last.

use super::{SolveError, check_bits, check_finite, fit_step};
use crate::grid::{AffineGrid, GridConfig, Step};
use crate::mask::Mask;
use crate::monitor::Monitor;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Matrix;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rounds of the zero's search.
const ROUNDS: usize = 20;
/// The norm's exponent.
const NORM: f32 = 0.7;
/// Penalty weight of the first round.
const FIRST_PENALTY: f32 = 10.0;
/// Growth of the penalty weight per round.
const PENALTY_GROWTH: f32 = 1.01;

/// What HQQ is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HqqConfig {
    /// The grid. A symmetric one leaves no zero to fit and is rounded as it is.
    pub grid: GridConfig,
}

/// Rounds `weights` to grids with fitted real zeros.
pub fn hqq(
    weights: &Matrix,
    config: &HqqConfig,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    hqq_of_kept(weights, None, config, monitor)
}

/// The same with zeros fitted to the weights that `mask` keeps; the others get the code nearest to zero.
pub(super) fn hqq_of_kept(
    weights: &Matrix,
    mask: Option<&Mask>,
    config: &HqqConfig,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    check_bits(config.grid.bits)?;
    check_finite(weights)?;
    let (rows, columns) = (weights.rows(), weights.columns());
    let mut grid = AffineGrid::neutral(config.grid, rows, columns);
    grid.fractional_zeros = !config.grid.symmetric;
    let mut codes = vec![0u8; rows * columns];
    let groups = grid.groups();
    let width = columns.max(1);
    let steps = groups.count().max(1);
    let done = AtomicU64::new(0);
    codes
        .par_chunks_mut(width)
        .zip(grid.scales.par_chunks_mut(steps))
        .zip(grid.zeros.par_chunks_mut(steps))
        .zip(weights.data().par_chunks(width))
        .enumerate()
        .try_for_each(|(row, (((codes, scales), zeros), weights))| {
            monitor.check()?;
            for group in 0..groups.count() {
                let range = groups.range(group);
                let weights = &weights[range.clone()];
                let step = match mask {
                    None => fit_group(weights, config.grid),
                    Some(mask) => {
                        let keep = &mask.row(row)[range.clone()];
                        let kept = weights.iter().zip(keep).filter(|(_, keep)| **keep);
                        let kept: Vec<f32> = kept.map(|(&weight, _)| weight).collect();
                        fit_group(&kept, config.grid)
                    }
                };
                encode(weights, step, config.grid, &mut codes[range]);
                (scales[group], zeros[group]) = (step.scale, step.zero);
            }
            monitor.step(done.fetch_add(1, Ordering::Relaxed) + 1, rows as u64);
            Ok::<(), SolveError>(())
        })?;
    Ok(Solved {
        method: Method::Hqq,
        codes: Codes {
            rows,
            columns,
            values: codes,
        },
        grid: Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

/// Fits one group.
fn fit_group(weights: &[f32], config: GridConfig) -> Step {
    let first = fit_step(weights, None, config, 0);
    if config.symmetric || weights.is_empty() {
        return first;
    }
    fit_zero(weights, first, config)
}

fn encode(weights: &[f32], step: Step, config: GridConfig, codes: &mut [u8]) {
    let max_code = f32::from(config.max_code());
    for (code, &weight) in codes.iter_mut().zip(weights) {
        *code = step.code(weight, max_code) as u8;
    }
}

/// Moves the zero by turns: codes, then the error's shrunken part, then the mean zero that explains the rest.
fn fit_zero(weights: &[f32], first: Step, config: GridConfig) -> Step {
    let max_code = f32::from(config.max_code());
    let mut step = first;
    let mut best = (f64::INFINITY, first);
    let mut penalty = FIRST_PENALTY;
    for _ in 0..ROUNDS {
        let (mut error_sum, mut zero_sum) = (0.0f64, 0.0f64);
        for &weight in weights {
            let code = step.code(weight, max_code);
            let error = weight - step.weight(code);
            let kept = shrink(error, penalty);
            error_sum += f64::from(error.abs());
            zero_sum += f64::from(code - (weight - kept) / step.scale);
        }
        if error_sum >= best.0 {
            break;
        }
        best = (error_sum, step);
        let zero = (zero_sum / weights.len() as f64) as f32;
        let snapped = config.scale_dtype.snap(zero);
        step.zero = if snapped.is_finite() {
            snapped
        } else {
            step.zero
        };
        penalty *= PENALTY_GROWTH;
    }
    best.1
}

/// The minimiser of the half-quadratic step: `sign(x) max(0, |x| - |x|^(p-1) / penalty)`.
fn shrink(error: f32, penalty: f32) -> f32 {
    let size = error.abs();
    // Where |x|^(2-p) <= 1 / penalty the result is 0; one compare spares the power for all ordinary weights.
    if size * size <= size.min(1.0) / penalty {
        return 0.0;
    }
    let shrunk = size - size.powf(NORM - 1.0) / penalty;
    shrunk.max(0.0).copysign(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::monitor::Unwatched;
    use crate::rng::Rng;

    fn config(bits: u8, group: usize, symmetric: bool) -> HqqConfig {
        HqqConfig {
            grid: GridConfig {
                bits,
                group,
                symmetric,
                scale_dtype: ScaleDtype::F16,
            },
        }
    }

    fn mean_error(weights: &Matrix, found: &Matrix) -> f64 {
        let pairs = weights.data().iter().zip(found.data());
        let sum: f64 = pairs.map(|(a, b)| f64::from((a - b).abs())).sum();
        sum / weights.data().len() as f64
    }

    /// The formulas of the method in f64, with the same snapping.
    fn slow_zero(weights: &[f32], scale: f64, zero: f64, max_code: f64) -> f64 {
        let (mut zero, mut best) = (zero, (f64::INFINITY, zero));
        let mut penalty = 10.0;
        for _ in 0..20 {
            let code = |weight: f64| {
                (weight / scale + zero)
                    .round_ties_even()
                    .clamp(0.0, max_code)
            };
            let error = |weight: f64| weight - scale * (code(weight) - zero);
            let mean = weights
                .iter()
                .map(|&w| error(f64::from(w)).abs())
                .sum::<f64>();
            if mean >= best.0 {
                break;
            }
            best = (mean, zero);
            let next = weights.iter().map(|&weight| {
                let (weight, d) = (f64::from(weight), error(f64::from(weight)));
                let kept = d.signum() * (d.abs() - d.abs().powf(-0.3) / penalty).max(0.0);
                code(weight) - (weight - kept) / scale
            });
            zero = next.sum::<f64>() / weights.len() as f64;
            zero = f64::from(ScaleDtype::F16.snap(zero as f32));
            penalty *= 1.01;
        }
        best.1
    }

    #[test]
    fn zeros_follow_the_slow_twin() {
        let mut rng = Rng::new(41, 0);
        for magnitude in [0.02, 1.0, 40.0] {
            for _ in 0..20 {
                let weights: Vec<f32> =
                    (0..64).map(|_| (rng.normal() * magnitude) as f32).collect();
                let grid = config(3, 0, false).grid;
                let first = fit_step(&weights, None, grid, 0);
                let found = fit_zero(&weights, first, grid).zero;
                let expected =
                    slow_zero(&weights, first.scale.into(), first.zero.into(), 7.0) as f32;
                assert!(
                    (found - expected).abs() <= 0.02 * expected.abs().max(1.0),
                    "magnitude {magnitude}: expected {expected}, found {found}"
                );
            }
        }
    }

    #[test]
    fn a_fitted_zero_beats_the_whole_one() {
        let mut rng = Rng::new(42, 0);
        let weights = Matrix::from_fn(32, 256, |_, _| rng.normal() as f32 * 0.03);
        for bits in [2, 3, 4] {
            let fitted = hqq(&weights, &config(bits, 64, false), &Unwatched).unwrap();
            let rtn_config = super::super::RtnConfig {
                grid: config(bits, 64, false).grid,
                clip_search: 0,
            };
            let plain = super::super::rtn(&weights, None, &rtn_config, &Unwatched).unwrap();
            let fitted = mean_error(&weights, &fitted.dequantize());
            let plain = mean_error(&weights, &plain.dequantize());
            assert!(fitted < plain, "{bits} bits: {fitted} against {plain}");
        }
    }

    #[test]
    fn odd_layers_stay_finite() {
        for weights in [
            Matrix::zeros(0, 5),
            Matrix::zeros(5, 0),
            Matrix::zeros(3, 8),
            Matrix::new(1, 5, vec![7.0; 5]),
            Matrix::new(2, 3, vec![1e38, -3e38, 2e38, 0.0, 1e-38, 1.0]),
        ] {
            for symmetric in [false, true] {
                let solved = hqq(&weights, &config(3, 2, symmetric), &Unwatched).unwrap();
                let found = solved.dequantize();
                assert!(
                    found.data().iter().all(|value| value.is_finite()),
                    "{weights:?}"
                );
            }
        }
        let zeros = Matrix::zeros(3, 8);
        let solved = hqq(&zeros, &config(3, 4, false), &Unwatched).unwrap();
        assert_eq!(solved.dequantize(), zeros);
    }
}

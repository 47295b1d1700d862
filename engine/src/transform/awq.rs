//! AWQ: scales that protect the input channels which carry most, to be folded into whatever makes the input.
//!
//! Lin et al. 2023, arXiv 2306.00978, section 3.2, with the weight's own magnitude in the scale as in the authors' code.
//! `W x = (W diag s)(x / s)`: a channel with a large scale is rounded finely, and the producer divides by `s` for free.
//! Candidates are judged through the Gram matrix, `tr(dW H dWᵀ)`, on a sample of rows: no forward pass.
//! Knows no block and no fold: `model` folds, `compress` decides where.

use crate::distortion::output_error;
use crate::grid::GridConfig;
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::solve::{RtnConfig, SolveError, rtn};
use crate::tensor::Matrix;

/// Exponents tried: `i / RATIOS` of the way from weights alone to inputs alone.
const RATIOS: usize = 20;

/// Rows of each consumer that judge a candidate; evenly spaced over all rows.
const SAMPLED_ROWS: usize = 512;

/// No scale is smaller, so that no channel is lost.
const SMALLEST_SCALE: f32 = 1e-4;

/// How the scaled weights will be rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AwqConfig {
    /// Their grid.
    pub grid: GridConfig,
    /// Steps of the clip search; 0 = min-max.
    pub clip_search: u32,
}

/// The best scales `[width]` for layers `consumers` (`[out, width]` each) that share one input; all ones where scaling
/// does not help.
pub fn awq_scales(
    consumers: &[&Matrix],
    moments: &Moments,
    config: &AwqConfig,
    monitor: &dyn Monitor,
) -> Result<Vec<f32>, SolveError> {
    let width = moments.width();
    let sampled: Vec<Matrix> = consumers
        .iter()
        .map(|weights| sample_rows(weights))
        .collect();
    let magnitudes = weight_magnitudes(consumers, config.grid, width);
    let mut best = (vec![1.0; width], f64::INFINITY);
    for candidate in candidates(&moments.mean_abs, &magnitudes) {
        monitor.check().map_err(|_| SolveError::Stopped)?;
        let mut error = 0.0;
        for weights in &sampled {
            error += scaled_error(weights, moments, &candidate, config, monitor)?;
        }
        if error < best.1 {
            best = (candidate, error);
        }
    }
    Ok(best.0)
}

/// All ones first, so that a tie changes nothing; then both forms at every ratio.
fn candidates(inputs: &[f32], weights: &[f32]) -> impl Iterator<Item = Vec<f32>> {
    let ratio = |step: usize| step as f32 / RATIOS as f32;
    let joint = (0..RATIOS).map(move |step| {
        let pairs = inputs.iter().zip(weights);
        let scale = |(x, w): (&f32, &f32)| x.powf(ratio(step)) / (w.powf(1.0 - ratio(step)) + 1e-4);
        normalized(pairs.map(scale).collect())
    });
    let by_inputs = (1..RATIOS)
        .map(move |step| normalized(inputs.iter().map(|x| x.powf(ratio(step))).collect()));
    std::iter::once(vec![1.0; inputs.len()])
        .chain(joint)
        .chain(by_inputs)
}

/// Scaled so that the largest and the smallest are each other's inverse; dead or overflowing channels stay at 1.
fn normalized(mut scales: Vec<f32>) -> Vec<f32> {
    for scale in &mut scales {
        *scale = if scale.is_finite() {
            scale.max(SMALLEST_SCALE)
        } else {
            1.0
        };
    }
    let largest = scales.iter().copied().fold(SMALLEST_SCALE, f32::max);
    let smallest = scales.iter().copied().fold(largest, f32::min);
    let middle = (largest * smallest).sqrt();
    scales
        .iter()
        .map(|scale| (scale / middle).max(SMALLEST_SCALE))
        .collect()
}

/// Mean over all rows of `|w| / (largest |w| of its group)`, `[width]`.
fn weight_magnitudes(consumers: &[&Matrix], grid: GridConfig, width: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    let groups = grid.groups(width);
    let rows: usize = consumers.iter().map(|weights| weights.rows()).sum();
    for row in consumers
        .iter()
        .flat_map(|weights| (0..weights.rows()).map(|row| weights.row(row)))
    {
        for group in 0..groups.count() {
            let range = groups.range(group);
            let largest = row[range.clone()]
                .iter()
                .fold(0.0f32, |largest, w| largest.max(w.abs()));
            for column in range {
                sums[column] += f64::from(row[column].abs() / (largest + 1e-6));
            }
        }
    }
    sums.into_iter()
        .map(|sum| (sum / rows.max(1) as f64) as f32)
        .collect()
}

fn sample_rows(weights: &Matrix) -> Matrix {
    let count = weights.rows().min(SAMPLED_ROWS);
    let row_of = |index: usize| index * weights.rows() / count.max(1);
    let data = (0..count)
        .flat_map(|index| weights.row(row_of(index)).iter().copied())
        .collect();
    Matrix::new(count, weights.columns(), data)
}

/// `tr(dW H dWᵀ)` where `dW` is what rounding `W diag s` and dividing by `s` again changes.
fn scaled_error(
    weights: &Matrix,
    moments: &Moments,
    scales: &[f32],
    config: &AwqConfig,
    monitor: &dyn Monitor,
) -> Result<f64, SolveError> {
    let mut scaled = weights.clone();
    multiply_columns(&mut scaled, scales, |weight, scale| weight * scale);
    let squares = moments.mean_square.iter().zip(scales);
    let importance: Vec<f32> = squares
        .map(|(square, scale)| square / (scale * scale))
        .collect();
    let rounding = RtnConfig {
        grid: config.grid,
        clip_search: config.clip_search,
    };
    let mut rounded = rtn(&scaled, Some(&importance), &rounding, monitor)?.dequantize();
    multiply_columns(&mut rounded, scales, |weight, scale| weight / scale);
    Ok(output_error(weights, &rounded, &moments.gram))
}

fn multiply_columns(weights: &mut Matrix, scales: &[f32], apply: impl Fn(f32, f32) -> f32) {
    for row in 0..weights.rows() {
        for (weight, &scale) in weights.row_mut(row).iter_mut().zip(scales) {
            *weight = apply(*weight, scale);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{WIDTH, moments, weights};
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::moments::Accumulator;
    use crate::monitor::Unwatched;

    fn config() -> AwqConfig {
        let grid = GridConfig {
            bits: 3,
            group: 16,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        };
        AwqConfig {
            grid,
            clip_search: 0,
        }
    }

    #[test]
    fn outlier_channels_are_protected() {
        let (first, second) = (weights(40), weights(24));
        let moments = moments(30.0);
        let scales = awq_scales(&[&first, &second], &moments, &config(), &Unwatched).unwrap();
        let mean = scales.iter().sum::<f32>() / WIDTH as f32;
        assert!(
            scales[3] > 2.0 * mean && scales[17] > 2.0 * mean,
            "{scales:?}"
        );
        let ones = vec![1.0; WIDTH];
        let error =
            |scales: &[f32]| scaled_error(&first, &moments, scales, &config(), &Unwatched).unwrap();
        assert!(
            error(&scales) < 0.7 * error(&ones),
            "{} against {}",
            error(&scales),
            error(&ones)
        );
        assert!(scales.iter().all(|scale| scale.is_finite() && *scale > 0.0));
    }

    #[test]
    fn silent_inputs_are_not_scaled() {
        let silent = Accumulator::new(WIDTH, false).finish().0;
        let scales = awq_scales(&[&weights(8)], &silent, &config(), &Unwatched).unwrap();
        assert_eq!(scales, vec![1.0; WIDTH]);
    }
}

//! SmoothQuant: scales that move range from inputs, which are rounded with few scales, into weights, which have many.
//!
//! Xiao et al. 2022, arXiv 2211.10438, equation 4: `s_j = max|x_j|^a / max|w_j|^(1-a)`, never below 1e-5 as in the
//! authors' code. A channel that calibration never saw, or that no weight reads, has no range to move and keeps 1:
//! the equation's limit would blow up whatever comes through it later.

use crate::moments::Moments;
use crate::tensor::Matrix;

/// No scale is smaller.
const SMALLEST_SCALE: f64 = 1e-5;

/// The scales `[width]` for layers `consumers` (`[out, width]` each) that share one input. `exponent` 0 leaves the whole
/// range to the inputs, 1 moves all of it into the weights.
pub fn smooth_scales(consumers: &[&Matrix], moments: &Moments, exponent: f64) -> Vec<f32> {
    let largest = largest_weights(consumers, moments.width());
    let pairs = moments.abs_max.iter().zip(largest);
    pairs
        .map(|(&input, weight)| scale(f64::from(input), f64::from(weight), exponent))
        .collect()
}

fn scale(input: f64, weight: f64, exponent: f64) -> f32 {
    if input == 0.0 || weight == 0.0 {
        return 1.0;
    }
    let scale = (input.powf(exponent) / weight.powf(1.0 - exponent)).max(SMALLEST_SCALE) as f32;
    match scale.is_normal() {
        true => scale,
        false => 1.0,
    }
}

/// Largest `|w|` of each column over all rows of all consumers.
fn largest_weights(consumers: &[&Matrix], width: usize) -> Vec<f32> {
    let mut largest = vec![0.0f32; width];
    for weights in consumers {
        for row in 0..weights.rows() {
            for (largest, weight) in largest.iter_mut().zip(weights.row(row)) {
                *largest = largest.max(weight.abs());
            }
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::super::divide_inputs;
    use super::super::testing::{WIDTH, moments, weights};
    use super::*;

    #[test]
    fn scales_are_those_of_the_equation() {
        let mut moments = moments(2.0);
        moments.abs_max[..4].copy_from_slice(&[16.0, 4.0, 0.0, 1.0]);
        let mut first = Matrix::zeros(2, WIDTH);
        first.row_mut(0)[..4].copy_from_slice(&[0.25, -1.0, 1.0, 0.0]);
        let mut second = Matrix::zeros(1, WIDTH);
        second.row_mut(0)[..4].copy_from_slice(&[-0.5, 0.5, 1.0, 0.0]);
        let cases = [
            // 16 / 0.5, 4 / 1, a dead input, a channel that nobody reads.
            (0.5, [(16.0f32 / 0.5).sqrt(), 2.0, 1.0, 1.0]),
            (1.0, [16.0, 4.0, 1.0, 1.0]),
            (0.0, [2.0, 1.0, 1.0, 1.0]),
        ];
        for (exponent, expected) in cases {
            let found = smooth_scales(&[&first, &second], &moments, exponent);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-6 * expected,
                    "exponent {exponent}: expected {expected}, found {found}"
                );
            }
        }
    }

    #[test]
    fn half_of_the_way_gives_inputs_and_weights_the_same_range() {
        let (moments, weights) = (moments(100.0), weights(40));
        let scales = smooth_scales(&[&weights], &moments, 0.5);
        let inputs = divide_inputs(&moments, &scales).abs_max;
        let largest = largest_weights(&[&weights], WIDTH);
        for column in (0..WIDTH).filter(|&column| moments.abs_max[column] > 0.0) {
            let (input, weight) = (inputs[column], largest[column] * scales[column]);
            assert!(
                (input - weight).abs() < 1e-4 * weight,
                "column {column}: inputs to {input}, weights to {weight}"
            );
        }
        assert_eq!(scales[5], 1.0, "a dead input is left alone");
    }
}

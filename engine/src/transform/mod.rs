//! Scales of input channels that are folded into whatever makes the input: AWQ and SmoothQuant.
//!
//! `W x = (W diag s)(x / s)`: both choose `s`, for different ends. Knows no block and no fold: `model` folds, `compress`
//! decides where.

mod awq;
mod smooth;
pub mod structure;
#[cfg(test)]
mod testing;

pub use awq::{AwqConfig, awq_scales};
pub use smooth::smooth_scales;

use crate::moments::Moments;
use crate::tensor::Symmetric;

/// Moments of the inputs `x / scales`.
pub fn divide_inputs(moments: &Moments, scales: &[f32]) -> Moments {
    let width = moments.width();
    let mut upper = Vec::with_capacity(Symmetric::stored_len(width));
    for row in 0..width {
        let columns = moments.gram.upper_row(row).iter().zip(&scales[row..]);
        upper.extend(columns.map(|(value, scale)| value / (scales[row] * scale)));
    }
    let divided = |values: &[f32], power: i32| {
        let pairs = values.iter().zip(scales);
        pairs
            .map(|(value, scale)| value / scale.powi(power))
            .collect()
    };
    Moments {
        count: moments.count,
        gram: Symmetric::new(width, upper),
        mean_square: divided(&moments.mean_square, 2),
        mean_abs: divided(&moments.mean_abs, 1),
        abs_max: divided(&moments.abs_max, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{WIDTH, moments};
    use super::*;

    #[test]
    fn divided_moments_are_those_of_divided_inputs() {
        let moments = moments(2.0);
        let scales: Vec<f32> = (0..WIDTH).map(|column| 0.5 + column as f32 / 8.0).collect();
        let divided = divide_inputs(&moments, &scales);
        let expected = moments.gram.at(3, 17) / (scales[3] * scales[17]);
        assert!((divided.gram.at(3, 17) - expected).abs() < 1e-6);
        for (square, diagonal) in divided.mean_square.iter().zip(divided.gram.diagonal()) {
            assert!(
                (square - diagonal).abs() <= 1e-5 * diagonal.abs(),
                "{square} against {diagonal}"
            );
        }
    }
}

//! Weights and inputs that the tests of both scalings share.

use crate::moments::{Accumulator, Moments};
use crate::rng::Rng;
use crate::tensor::Matrix;

pub(super) const WIDTH: usize = 32;

pub(super) fn weights(rows: usize) -> Matrix {
    let mut rng = Rng::new(1, 0);
    Matrix::from_fn(rows, WIDTH, |_, _| rng.normal() as f32)
}

/// Inputs with two channels that carry far more than the others, and one that is dead.
pub(super) fn moments(outlier: f64) -> Moments {
    let mut rng = Rng::new(2, 0);
    let factor = |column| match column {
        3 | 17 => outlier,
        5 => 0.0,
        _ => 1.0,
    };
    let rows: Vec<f32> = (0..200 * WIDTH)
        .map(|index| (rng.normal() * factor(index % WIDTH)) as f32)
        .collect();
    let mut accumulator = Accumulator::new(WIDTH, false);
    accumulator.add(0, &rows, None);
    accumulator.finish().0
}

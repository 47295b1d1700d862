//! Gradients against differences of a slow twin in f64.
#![allow(clippy::unwrap_used)]

use crate::rng::Rng;
use crate::tensor::Matrix;
use crate::train::values::{constant, values_of};
use candle_core::{Tensor, Var};

/// Standard normal values.
pub(crate) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 1);
    (0..count).map(|_| rng.normal() as f32).collect()
}

pub(crate) fn matrix(rows: usize, columns: usize, values: &[f32]) -> Matrix {
    Matrix::new(rows, columns, values.to_vec())
}

/// Checks the gradient of a random combination of `output` at each value of each variable against central differences
/// of `twin`, which gives the outputs for moved values; where both are smooth they must agree closely.
pub(crate) fn check_gradient(
    label: &str,
    variables: &[Var],
    output: &Tensor,
    twin: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    const STEP: f64 = 1e-6;
    let toward = random(output.elem_count(), 77);
    let weighed = constant(toward.clone(), output.shape()).unwrap();
    let gradients = (output * weighed)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let start: Vec<Vec<f64>> = variables
        .iter()
        .map(|var| values_of(var).unwrap().into_iter().map(f64::from).collect())
        .collect();
    let twin_values = twin(&start);
    for (index, (&expected, found)) in twin_values
        .iter()
        .zip(values_of(output).unwrap())
        .enumerate()
    {
        let error = (expected - f64::from(found)).abs();
        assert!(
            error <= 1e-5 * (1.0 + expected.abs()),
            "{label}: value {index} is {found}, the twin's {expected}"
        );
    }
    let loss = |values: &[Vec<f64>]| -> f64 {
        let outputs = twin(values);
        outputs
            .iter()
            .zip(&toward)
            .map(|(out, &by)| out * f64::from(by))
            .sum()
    };
    for (which, var) in variables.iter().enumerate() {
        let gradient = match gradients.get(var) {
            Some(gradient) => values_of(gradient).unwrap(),
            None => vec![0.0; var.elem_count()],
        };
        for (place, &found) in gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = start.clone();
                moved[which][place] += step;
                loss(&moved)
            };
            let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let error = (expected - f64::from(found)).abs();
            assert!(
                error <= 1e-4 * (1.0 + expected.abs()),
                "{label}: slope {place} of variable {which} is {found}, by differences {expected}"
            );
        }
    }
}

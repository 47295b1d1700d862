//! Factors against the whole spectrum, and the laws that bind them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::linalg::symmetric_eigenvalues;
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::tensor::Symmetric;

fn random_matrix(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut rng = Rng::new(seed, 7);
    Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32)
}

/// Neighbouring inputs are alike, sizes differ.
fn gram(width: usize) -> Symmetric {
    let size = |column: usize| 0.3 + (column * 7919 % 64) as f32 / 8.0;
    let upper = (0..width).flat_map(|row| {
        (row..width)
            .map(move |column| size(row) * size(column) * (-((column - row) as f32) / 6.0).exp())
    });
    Symmetric::new(width, upper.collect())
}

/// Squares of the singular values of `weights R`, falling.
fn energies(weights: &Matrix, whitened: &Whitened) -> Vec<f64> {
    let values = whitened.times(weights);
    let (gram, order) = head::smaller_gram(&values, (weights.rows(), weights.columns()));
    symmetric_eigenvalues(gram, order, &Unwatched).unwrap()
}

fn left_of(weights: &Matrix, whitened: &Whitened, rank: usize, dtype: ScaleDtype) -> f64 {
    let found = factor(weights, whitened, rank, dtype, &Unwatched).unwrap();
    let left = energy_of(&whitened.times(&without(weights, &found.factors)));
    let energy = energy_of(&whitened.times(weights));
    let kept = 1.0 - left / energy;
    assert!((found.energy_kept - kept).abs() < 1e-9, "{kept} kept");
    left
}

#[test]
fn the_error_is_the_tail_of_the_singular_values() {
    for (rows, columns) in [(40, 60), (60, 40), (30, 30), (1, 9), (9, 1)] {
        let weights = random_matrix(rows, columns, 3);
        for whitened in [
            Whitened::identity(columns),
            Whitened::new(&gram(columns), 0.01, &Unwatched).unwrap(),
        ] {
            let energies = energies(&weights, &whitened);
            let total: f64 = energies.iter().sum();
            for rank in [1, 7, 20] {
                let left = left_of(&weights, &whitened, rank, ScaleDtype::F32);
                let tail: f64 = energies.iter().skip(rank).sum();
                assert!(
                    (left - tail).abs() < 1e-5 * total,
                    "{rows} x {columns}, rank {rank}: {left} left, tail {tail}"
                );
            }
        }
    }
}

/// The same where random products stand for the whole spectrum.
#[test]
fn a_thin_head_of_a_large_matrix_is_nearly_the_best() {
    let (rows, columns, rank) = (480, 500, 24);
    // Singular values that fall slowly, as those of rounding errors do.
    let weights = random_matrix(rows, columns, 4);
    let whitened = Whitened::new(&gram(columns), 0.01, &Unwatched).unwrap();
    let tail: f64 = energies(&weights, &whitened).iter().skip(rank).sum();
    let left = left_of(&weights, &whitened, rank, ScaleDtype::F32);
    assert!(left / tail - 1.0 < 2e-3, "{left} left, tail {tail}");
}

#[test]
fn factors_never_make_it_worse_in_any_dtype() {
    let mut weights = random_matrix(20, 30, 5);
    for (scale, dtype) in [
        (1.0, ScaleDtype::F16),
        (1e-7, ScaleDtype::F16),
        (1e6, ScaleDtype::BF16),
        (1e12, ScaleDtype::F16),
    ] {
        weights
            .data_mut()
            .iter_mut()
            .for_each(|value| *value *= scale);
        let whitened = Whitened::new(&gram(30), 0.01, &Unwatched).unwrap();
        let found = factor(&weights, &whitened, 4, dtype, &Unwatched).unwrap();
        let left = energy_of(&whitened.times(&without(&weights, &found.factors)));
        let energy = energy_of(&whitened.times(&weights));
        assert!(left <= energy, "{scale} {dtype:?}: {left} of {energy}");
        weights
            .data_mut()
            .iter_mut()
            .for_each(|value| *value /= scale);
    }
}

#[test]
fn nothing_and_too_much_are_factored() {
    let whitened = Whitened::identity(6);
    let zero = factor(
        &Matrix::zeros(4, 6),
        &whitened,
        2,
        ScaleDtype::F16,
        &Unwatched,
    )
    .unwrap();
    assert_eq!((zero.energy_kept, zero.factors.rank()), (1.0, 2));
    let weights = random_matrix(4, 6, 8);
    let whole = factor(&weights, &whitened, 99, ScaleDtype::F32, &Unwatched).unwrap();
    assert_eq!(whole.factors.rank(), 4);
    assert!(whole.energy_kept > 1.0 - 1e-10);
}

#[test]
fn a_dead_input_costs_no_rank() {
    let mut full = gram(12).to_matrix();
    for other in 0..12 {
        full.data_mut()[5 * 12 + other] = 0.0;
        full.data_mut()[other * 12 + 5] = 0.0;
    }
    let upper = (0..12)
        .flat_map(|row| full.row(row)[row..].to_vec())
        .collect();
    let whitened = Whitened::new(&Symmetric::new(12, upper), 1e-6, &Unwatched).unwrap();
    let mut weights = Matrix::zeros(3, 12);
    for row in 0..3 {
        weights.row_mut(row)[5] = 50.0;
        weights.row_mut(row)[2] = 1.0;
    }
    let found = factor(&weights, &whitened, 1, ScaleDtype::F32, &Unwatched).unwrap();
    assert!(found.energy_kept > 0.999, "{}", found.energy_kept);
}

#[test]
fn energy_asks_for_the_least_rank_that_holds_it() {
    // Singular values 4, 2 and 1: energies 16, 4 and 1.
    let mut weights = Matrix::zeros(3, 5);
    for (row, value) in [4.0, 2.0, 1.0].into_iter().enumerate() {
        weights.row_mut(row)[row] = value;
    }
    for (share, expected) in [(0.5, 1), (0.77, 2), (0.95, 2), (0.96, 3), (1.0, 3)] {
        let rank = rank_for_energy(&weights, share, &Unwatched).unwrap();
        assert_eq!(rank, expected, "{share}");
    }
}

#[test]
fn a_broken_gram_matrix_is_an_error() {
    let broken = Symmetric::new(1, vec![f32::NAN]);
    let error = Whitened::new(&broken, 0.01, &Unwatched).unwrap_err();
    assert!(matches!(error, SolveError::Unfactorable { .. }));
}

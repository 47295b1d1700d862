//! Error measures of a solved layer, several because each hides something, and histograms of its weights.
//!
//! Sums are taken in f64, per slab of rows in row order, so that no measure depends on the thread count.
//! Knows no solver and no report; a measure that has no meaning (no signal, no error) is `None`.

mod histogram;
mod output;

pub use histogram::{BINS, Histogram, HistogramCounter, Histograms};
pub use output::{output_energy, output_error, relative_output_error, row_output_errors};

use crate::tensor::Matrix;
use rayon::prelude::*;

/// `Σ w²`: what errors of weights are relative to.
pub fn weight_energy(weights: &Matrix) -> f64 {
    let [energy] = slab_sums(weights, weights, |weight, _| [weight * weight]);
    energy
}

/// `Σ (w-q)²`.
pub fn weight_error(original: &Matrix, solved: &Matrix) -> f64 {
    let [_, error] = signal_and_error(original, solved);
    error
}

/// `10 log10(Σ w² / Σ (w-q)²)`; `None` where there is no signal or no error.
pub fn sqnr_db(original: &Matrix, solved: &Matrix) -> Option<f64> {
    let [signal, error] = signal_and_error(original, solved);
    decibels(signal, error)
}

/// `10 log10(signal / error)` of two energies; `None` where one of them is zero.
pub fn decibels(signal: f64, error: f64) -> Option<f64> {
    (signal > 0.0 && error > 0.0).then(|| 10.0 * (signal / error).log10())
}

/// `Σ w q / (||w|| ||q||)` over all weights; `None` where one of them is all zero.
pub fn cosine(original: &Matrix, solved: &Matrix) -> Option<f64> {
    let [product, left, right] = slab_sums(original, solved, |weight, found| {
        [weight * found, weight * weight, found * found]
    });
    let norms = left.sqrt() * right.sqrt();
    (norms > 0.0).then(|| product / norms)
}

/// `max |w - q|`.
pub fn max_error(original: &Matrix, solved: &Matrix) -> f64 {
    let pairs = original.data().par_iter().zip(solved.data());
    pairs
        .map(|(&weight, &found)| f64::from((weight - found).abs()))
        .reduce(|| 0.0, worst)
}

/// The larger of two errors; NaN where one of them is, which `f64::max` would drop.
pub fn worst(one: f64, other: f64) -> f64 {
    match one > other || one.is_nan() {
        true => one,
        false => other,
    }
}

/// `[Σ w², Σ (w-q)²]`.
fn signal_and_error(original: &Matrix, solved: &Matrix) -> [f64; 2] {
    slab_sums(original, solved, |weight, found| {
        [weight * weight, (weight - found) * (weight - found)]
    })
}

/// `left - right`.
pub fn difference(left: &Matrix, right: &Matrix) -> Matrix {
    assert_eq!(
        (left.rows(), left.columns()),
        (right.rows(), right.columns()),
        "two forms of one layer have one shape"
    );
    let mut data = left.data().to_vec();
    data.par_iter_mut()
        .zip(right.data())
        .for_each(|(left, right)| *left -= right);
    Matrix::new(left.rows(), left.columns(), data)
}

/// Sums over all pairs of weights, slab by slab in order.
fn slab_sums<const N: usize>(
    original: &Matrix,
    solved: &Matrix,
    terms: impl Fn(f64, f64) -> [f64; N] + Sync,
) -> [f64; N] {
    const RUN: usize = 1 << 14;
    let runs: Vec<[f64; N]> = original
        .data()
        .par_chunks(RUN)
        .zip(solved.data().par_chunks(RUN))
        .map(|(original, solved)| {
            let mut sums = [0.0; N];
            for (&weight, &found) in original.iter().zip(solved) {
                let terms = terms(f64::from(weight), f64::from(found));
                sums.iter_mut()
                    .zip(terms)
                    .for_each(|(sum, term)| *sum += term);
            }
            sums
        })
        .collect();
    let mut totals = [0.0; N];
    for run in runs {
        totals
            .iter_mut()
            .zip(run)
            .for_each(|(total, sum)| *total += sum);
    }
    totals
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tensor::Symmetric;

    #[test]
    fn a_worst_error_never_hides_one_that_is_no_number() {
        for errors in [
            [1.0, f64::NAN, 2.0],
            [f64::NAN, 1.0, 2.0],
            [1.0, 2.0, f64::NAN],
        ] {
            assert!(errors.into_iter().fold(0.0, worst).is_nan());
        }
        assert_eq!([1.0, 3.0, 2.0].into_iter().fold(0.0, worst), 3.0);
    }

    #[test]
    fn measures_without_meaning_are_none() {
        let zeros = Matrix::zeros(2, 3);
        let ones = Matrix::new(2, 3, vec![1.0; 6]);
        let gram = Symmetric::scaled_identity(3, 1.0);
        assert_eq!(relative_output_error(&zeros, &ones, &gram), None);
        assert_eq!(sqnr_db(&zeros, &ones), None);
        assert_eq!(sqnr_db(&ones, &ones), None);
        assert_eq!(cosine(&zeros, &ones), None);
        assert_eq!(max_error(&zeros, &ones), 1.0);
        assert_eq!(relative_output_error(&ones, &zeros, &gram), Some(1.0));
        assert_eq!(output_energy(&Matrix::zeros(0, 3), &gram), 0.0);
    }

    #[test]
    fn sqnr_and_cosine_follow_their_formulas() {
        let weights = Matrix::new(1, 2, vec![3.0, 4.0]);
        let solved = Matrix::new(1, 2, vec![3.0, 3.5]);
        let sqnr = sqnr_db(&weights, &solved).unwrap();
        assert!(
            (sqnr - 20.0).abs() < 1e-12,
            "25 / 0.25 is 20 dB, found {sqnr}"
        );
        let found = cosine(&weights, &solved).unwrap();
        let expected = 23.0 / (5.0 * (9.0f64 + 12.25).sqrt());
        assert!(
            (found - expected).abs() < 1e-12,
            "expected {expected}, found {found}"
        );
        assert_eq!(max_error(&weights, &solved), 0.5);
    }
}

//! Error measures of a solved layer, several because each hides something, and histograms of its weights.
//!
//! Sums are taken in f64, per slab of rows in row order, so that no measure depends on the thread count.
//! Knows no solver and no report; a measure that has no meaning (no signal, no error) is `None`.

use crate::kernels::{Operand, Threads, gemm};
use crate::tensor::{Matrix, Symmetric};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows of one slab: the unit in which work is split and sums are added.
const SLAB_ROWS: usize = 128;

/// Columns of the Gram matrix multiplied at once.
const PANEL_COLUMNS: usize = 512;

/// Bins of a histogram.
pub const BINS: usize = 256;

/// `||X(W-Q)ᵀ||_F / ||XWᵀ||_F` (not squared); `None` where `XWᵀ` is zero.
pub fn relative_output_error(original: &Matrix, solved: &Matrix, gram: &Symmetric) -> Option<f64> {
    let signal = output_energy(original, gram);
    let error = output_error(original, solved, gram);
    (signal > 0.0).then(|| (error / signal).sqrt())
}

/// `tr((W-Q) H (W-Q)ᵀ)` with `H` the mean Gram matrix: mean squared error of the outputs, summed over outputs.
pub fn output_error(original: &Matrix, solved: &Matrix, gram: &Symmetric) -> f64 {
    output_energy(&difference(original, solved), gram)
}

/// `tr(W H Wᵀ)` with `H` the mean Gram matrix: mean square of the outputs, summed over outputs.
///
/// Only blocks on and above the diagonal of `H` are multiplied: half the work of `W H`.
///
/// # Panics
/// If the width of `weights` is not the order of `gram`.
pub fn output_energy(weights: &Matrix, gram: &Symmetric) -> f64 {
    let columns = weights.columns();
    assert_eq!(columns, gram.order(), "one Gram row per input");
    let mut energy = 0.0;
    for first in (0..columns).step_by(PANEL_COLUMNS) {
        let last = (first + PANEL_COLUMNS).min(columns);
        let panel = doubled_panel(gram, first, last);
        let slabs: Vec<f64> = weights
            .data()
            .par_chunks(SLAB_ROWS * columns)
            .map(|slab| panel_energy(slab, columns, &panel, first, last))
            .collect();
        energy += slabs.iter().sum::<f64>();
    }
    // Rounding can leave a tiny negative number where the truth is 0.
    energy.max(0.0)
}

/// `10 log10(Σ w² / Σ (w-q)²)`; `None` where there is no signal or no error.
pub fn sqnr_db(original: &Matrix, solved: &Matrix) -> Option<f64> {
    let [signal, error] = slab_sums(original, solved, |weight, found| {
        [weight * weight, (weight - found) * (weight - found)]
    });
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
        .reduce(|| 0.0, f64::max)
}

/// Three histograms over the same layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// Original weights.
    pub before: Histogram,
    /// Weights as reopened.
    pub after: Histogram,
    /// `after - before`.
    pub error: Histogram,
}

impl Histograms {
    /// Histograms of `original`, of `solved` and of what moved.
    pub fn of(original: &Matrix, solved: &Matrix) -> Self {
        Self {
            before: Histogram::of(original.data()),
            after: Histogram::of(solved.data()),
            error: Histogram::of(difference(solved, original).data()),
        }
    }
}

/// 256 equal bins over `[-limit, limit]`; `limit` is a power of two, so that two histograms merge exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Half the covered range.
    pub limit: f32,
    /// Counts, 256 of them.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Counts `values` within the smallest power of two above them all. Non-finite values are not counted.
    pub fn of(values: &[f32]) -> Self {
        let largest = values
            .par_iter()
            .map(|value| if value.is_finite() { value.abs() } else { 0.0 })
            .reduce(|| 0.0, f32::max);
        let limit = power_of_two_above(largest);
        let bins_per_unit = BINS as f64 / 2.0 / f64::from(limit);
        let counts = values
            .par_chunks(1 << 16)
            .map(|values| {
                let mut counts = vec![0u64; BINS];
                for &value in values.iter().filter(|value| value.is_finite()) {
                    let bin = f64::from(value) * bins_per_unit + BINS as f64 / 2.0;
                    counts[(bin as usize).min(BINS - 1)] += 1;
                }
                counts
            })
            .reduce(|| vec![0; BINS], add_counts);
        Self { limit, counts }
    }

    /// The histogram of both sets of values, exactly as if they had been counted together.
    pub fn merge(&self, other: &Self) -> Self {
        let limit = self.limit.max(other.limit);
        Self {
            limit,
            counts: add_counts(self.widened(limit), other.widened(limit)),
        }
    }

    /// Counts as they are over a range of `limit`, a power of two not below the own.
    fn widened(&self, limit: f32) -> Vec<u64> {
        let mut counts = self.counts.clone();
        let mut reached = f64::from(self.limit);
        while reached < f64::from(limit) {
            let pairs = counts.chunks(2).map(|pair| pair.iter().sum());
            let inner: Vec<u64> = pairs.collect();
            counts = vec![0; BINS];
            counts[BINS / 4..BINS / 4 * 3].copy_from_slice(&inner);
            reached *= 2.0;
        }
        counts
    }
}

/// The smallest power of two strictly above `value`, 1 for 0: so that no value lies on the edge, where bins could not be
/// halved exactly. Above `2^127` no f32 is a power of two; the outer bins then take the rest.
fn power_of_two_above(value: f32) -> f32 {
    if value == 0.0 {
        return 1.0;
    }
    let exponent = f64::from(value).log2().floor() as i32 + 1;
    let limit = 2f64.powi(exponent);
    let limit = if limit > f64::from(value) {
        limit
    } else {
        limit * 2.0
    };
    limit.min(2f64.powi(127)) as f32
}

fn add_counts(mut left: Vec<u64>, right: Vec<u64>) -> Vec<u64> {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
    left
}

fn difference(left: &Matrix, right: &Matrix) -> Matrix {
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

/// Columns `first..last` of `H`, rows `0..last`; rows above the diagonal block doubled, for they stand for their mirror too.
fn doubled_panel(gram: &Symmetric, first: usize, last: usize) -> Vec<f32> {
    let width = last - first;
    let mut panel = vec![0.0; last * width];
    panel
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(row, values)| {
            if row < first {
                let source = &gram.upper_row(row)[first - row..last - row];
                let pairs = values.iter_mut().zip(source);
                pairs.for_each(|(value, entry)| *value = 2.0 * entry);
            } else {
                for (offset, value) in values.iter_mut().enumerate() {
                    *value = gram.at(row, first + offset);
                }
            }
        });
    panel
}

/// `Σ (slab[:, ..last] panel) ∘ slab[:, first..last]`.
fn panel_energy(slab: &[f32], columns: usize, panel: &[f32], first: usize, last: usize) -> f64 {
    let (rows, width) = (slab.len() / columns, last - first);
    let mut product = vec![0.0f32; rows * width];
    gemm(
        &mut product,
        width,
        [rows, width, last],
        (Operand::new(slab, columns), Operand::new(panel, width)),
        (1.0, 0.0),
        Threads::One,
    );
    let rows = slab.chunks(columns).zip(product.chunks(width));
    let terms = rows.flat_map(|(weights, product)| weights[first..last].iter().zip(product));
    terms
        .map(|(&weight, &product)| f64::from(weight) * f64::from(product))
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn normal_matrix(rows: usize, columns: usize, stream: u64) -> Matrix {
        let mut rng = Rng::new(21, stream);
        Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32)
    }

    /// Mean of `x xᵀ` over the rows of `inputs`.
    fn gram_of(inputs: &Matrix) -> Symmetric {
        let width = inputs.columns();
        let mut upper = Vec::new();
        for row in 0..width {
            for column in row..width {
                let sum: f64 = (0..inputs.rows())
                    .map(|token| f64::from(inputs.row(token)[row] * inputs.row(token)[column]))
                    .sum();
                upper.push((sum / inputs.rows() as f64) as f32);
            }
        }
        Symmetric::new(width, upper)
    }

    /// `||X Wᵀ||²` by the definition.
    fn slow_energy(inputs: &Matrix, weights: &Matrix) -> f64 {
        let mut energy = 0.0;
        for token in 0..inputs.rows() {
            for row in 0..weights.rows() {
                let pairs = inputs.row(token).iter().zip(weights.row(row));
                let output: f64 = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                energy += output * output;
            }
        }
        energy
    }

    #[test]
    fn output_errors_are_those_of_real_outputs() {
        for (rows, columns) in [(1, 1), (5, 33), (131, 70), (3, 600)] {
            let inputs = normal_matrix(40, columns, 0);
            let gram = gram_of(&inputs);
            let weights = normal_matrix(rows, columns, 1);
            let mut solved = weights.clone();
            for value in solved.data_mut() {
                *value = (*value * 4.0).round() / 4.0;
            }
            let error = slow_energy(&inputs, &difference(&weights, &solved));
            let signal = slow_energy(&inputs, &weights);
            let found = output_error(&weights, &solved, &gram);
            let expected = error / 40.0;
            assert!(
                (found - expected).abs() < 1e-4 * expected,
                "{rows} x {columns}: expected {expected}, found {found}"
            );
            let found = relative_output_error(&weights, &solved, &gram).unwrap();
            let expected = (error / signal).sqrt();
            assert!(
                (found - expected).abs() < 1e-4 * expected,
                "{rows} x {columns}: expected {expected}, found {found}"
            );
        }
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

    #[test]
    fn the_range_is_the_smallest_power_of_two_above_all() {
        for (largest, limit) in [
            (0.0, 1.0),
            (1.0, 2.0),
            (1.5, 2.0),
            (0.3, 0.5),
            (-0.25, 0.5),
            (1e-40, 2f32.powi(-132)),
            (3e38, 2f32.powi(127)),
        ] {
            let histogram = Histogram::of(&[largest, 0.0, f32::NAN]);
            assert_eq!(histogram.limit, limit, "largest {largest}");
            assert_eq!(histogram.counts.iter().sum::<u64>(), 2);
        }
        let edges = Histogram::of(&[-0.999, 0.999, 0.0]).counts;
        assert_eq!((edges[0], edges[128], edges[255]), (1, 1, 1));
    }

    proptest! {
        #[test]
        fn merging_is_counting_together(
            left in prop::collection::vec(-3.0f32..3.0, 0..50),
            right in prop::collection::vec(-0.2f32..0.2, 0..50),
        ) {
            let merged = Histogram::of(&left).merge(&Histogram::of(&right));
            let both: Vec<f32> = left.iter().chain(&right).copied().collect();
            let together = Histogram::of(&both);
            if !left.is_empty() && !right.is_empty() {
                prop_assert_eq!(merged, together);
            }
        }
    }
}

//! How far a layer's outputs move, from the Gram matrix of its inputs alone.

use super::difference;
use crate::kernels::{Operand, Threads, gemm};
use crate::tensor::{Matrix, Symmetric};
use rayon::prelude::*;

/// Rows of one slab: the unit in which work is split and sums are added.
const SLAB_ROWS: usize = 32;

/// Columns of the Gram matrix multiplied at once.
const PANEL_COLUMNS: usize = 256;

/// `||X(W-Q)ᵀ||_F / ||XWᵀ||_F` (not squared); `None` where `XWᵀ` is zero.
pub fn relative_output_error(original: &Matrix, solved: &Matrix, gram: &Symmetric) -> Option<f64> {
    let energies = row_energies([original, &difference(original, solved)], gram);
    let [signal, error] = energies.map(|rows| rows.iter().sum::<f64>());
    (signal > 0.0).then(|| (error / signal).sqrt())
}

/// `tr((W-Q) H (W-Q)ᵀ)` with `H` the mean Gram matrix: mean squared error of the outputs, summed over outputs.
pub fn output_error(original: &Matrix, solved: &Matrix, gram: &Symmetric) -> f64 {
    row_output_errors(original, solved, gram).iter().sum()
}

/// `((W-Q) H (W-Q)ᵀ)_ii` with `H` the mean Gram matrix: mean squared error of each output.
pub fn row_output_errors(original: &Matrix, solved: &Matrix, gram: &Symmetric) -> Vec<f64> {
    let [errors] = row_energies([&difference(original, solved)], gram);
    errors
}

/// `tr(W H Wᵀ)` with `H` the mean Gram matrix: mean square of the outputs, summed over outputs.
///
/// # Panics
/// If the width of `weights` is not the order of `gram`.
pub fn output_energy(weights: &Matrix, gram: &Symmetric) -> f64 {
    let [energies] = row_energies([weights], gram);
    energies.iter().sum()
}

/// Some rows of one matrix, and what is known of the mean square of their outputs.
struct Slab<'a> {
    matrix: usize,
    rows: &'a [f32],
    energies: Vec<f64>,
}

/// The diagonals of `W H Wᵀ` for matrices of one width, each panel of `H` made once.
///
/// Only blocks on and above the diagonal of `H` are multiplied: half the work of `W H`.
fn row_energies<const N: usize>(matrices: [&Matrix; N], gram: &Symmetric) -> [Vec<f64>; N] {
    let columns = gram.order();
    let mut slabs: Vec<Slab<'_>> = Vec::new();
    for (matrix, weights) in matrices.into_iter().enumerate() {
        assert_eq!(weights.columns(), columns, "one Gram row per input");
        let parts = weights.data().chunks(SLAB_ROWS * columns.max(1));
        slabs.extend(parts.map(|rows| Slab {
            matrix,
            rows,
            energies: vec![0.0; rows.len() / columns],
        }));
    }
    let mut room = vec![0.0; columns * columns.min(PANEL_COLUMNS)];
    for first in (0..columns).step_by(PANEL_COLUMNS) {
        let last = (first + PANEL_COLUMNS).min(columns);
        let panel = &mut room[..last * (last - first)];
        fill_panel(panel, gram, first, last);
        let panel = &*panel;
        slabs
            .par_iter_mut()
            .for_each(|slab| slab.add_panel(columns, panel, first, last));
    }
    let mut energies = matrices.map(|matrix| Vec::with_capacity(matrix.rows()));
    for slab in slabs {
        // Rounding can leave a tiny negative number where the truth is 0.
        energies[slab.matrix].extend(slab.energies.into_iter().map(|energy| energy.max(0.0)));
    }
    energies
}

/// Columns `first..last` of the upper triangle of `H`, rows `0..last`; all off the diagonal doubled, for they stand for
/// their mirror too.
fn fill_panel(panel: &mut [f32], gram: &Symmetric, first: usize, last: usize) {
    panel
        .par_chunks_mut(last - first)
        .enumerate()
        .for_each(|(row, values)| {
            let start = first.max(row);
            let (below, above) = values.split_at_mut(start - first);
            below.fill(0.0);
            let source = &gram.upper_row(row)[start - row..last - row];
            let pairs = above.iter_mut().zip(source);
            pairs.for_each(|(value, entry)| *value = 2.0 * entry);
            if row >= first {
                above[0] = source[0];
            }
        });
}

impl Slab<'_> {
    /// Adds `Σ_j (rows[:, ..last] panel)_j rows[:, first + j]` to each row's energy.
    fn add_panel(&mut self, columns: usize, panel: &[f32], first: usize, last: usize) {
        let (rows, width) = (self.energies.len(), last - first);
        let mut product = vec![0.0f32; rows * width];
        gemm(
            &mut product,
            width,
            [rows, width, last],
            (Operand::new(self.rows, columns), Operand::new(panel, width)),
            (1.0, 0.0),
            Threads::One,
        );
        let rows = self.rows.chunks(columns).zip(product.chunks(width));
        for (energy, (weights, product)) in self.energies.iter_mut().zip(rows) {
            let terms = weights[first..last].iter().zip(product);
            *energy += terms
                .map(|(&weight, &product)| f64::from(weight) * f64::from(product))
                .sum::<f64>();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rng::Rng;

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

    /// The square of each column of `X Wᵀ`, summed over tokens, by the definition.
    fn slow_energies(inputs: &Matrix, weights: &Matrix) -> Vec<f64> {
        let output = |token: usize, row: usize| -> f64 {
            let pairs = inputs.row(token).iter().zip(weights.row(row));
            pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
        };
        let tokens = 0..inputs.rows();
        let square = |row| tokens.clone().map(|token| output(token, row).powi(2)).sum();
        (0..weights.rows()).map(square).collect()
    }

    fn slow_energy(inputs: &Matrix, weights: &Matrix) -> f64 {
        slow_energies(inputs, weights).iter().sum()
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
    fn errors_of_rows_follow_the_definition_on_any_number_of_threads() {
        let inputs = normal_matrix(40, 300, 0);
        let gram = gram_of(&inputs);
        let weights = normal_matrix(70, 300, 1);
        let mut solved = weights.clone();
        for value in solved.data_mut() {
            *value = (*value * 2.0).round() / 2.0;
        }
        solved.row_mut(3).copy_from_slice(weights.row(3));
        let expected = slow_energies(&inputs, &difference(&weights, &solved));
        let found = row_output_errors(&weights, &solved, &gram);
        assert_eq!(found.len(), 70);
        assert_eq!(found[3], 0.0, "a row that did not move");
        for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
            let expected = expected / 40.0;
            assert!(
                (found - expected).abs() <= 1e-4 * expected,
                "row {row}: expected {expected}, found {found}"
            );
        }
        let total: f64 = found.iter().sum();
        assert_eq!(output_error(&weights, &solved, &gram), total);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let alone = pool
            .unwrap()
            .install(|| row_output_errors(&weights, &solved, &gram));
        assert_eq!(alone, found);
    }
}

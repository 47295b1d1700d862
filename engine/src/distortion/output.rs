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
    let [signal, error] = energies([original, &difference(original, solved)], gram);
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
    let [energy] = energies([weights], gram);
    energy
}

/// `output_energy` of matrices of one width, each panel of `H` made once.
fn energies<const N: usize>(matrices: [&Matrix; N], gram: &Symmetric) -> [f64; N] {
    let columns = gram.order();
    for matrix in matrices {
        assert_eq!(matrix.columns(), columns, "one Gram row per input");
    }
    let slab_weights = SLAB_ROWS * columns.max(1);
    let slabs: Vec<(usize, &[f32])> = matrices
        .iter()
        .enumerate()
        .flat_map(|(index, matrix)| {
            matrix
                .data()
                .chunks(slab_weights)
                .map(move |slab| (index, slab))
        })
        .collect();
    let mut energies = [0.0; N];
    let mut room = vec![0.0; columns * columns.min(PANEL_COLUMNS)];
    for first in (0..columns).step_by(PANEL_COLUMNS) {
        let last = (first + PANEL_COLUMNS).min(columns);
        let panel = &mut room[..last * (last - first)];
        fill_panel(panel, gram, first, last);
        let of_slabs: Vec<f64> = slabs
            .par_iter()
            .map(|(_, slab)| panel_energy(slab, columns, panel, first, last))
            .collect();
        let mut of_panel = [0.0; N];
        for ((index, _), energy) in slabs.iter().zip(of_slabs) {
            of_panel[*index] += energy;
        }
        (0..N).for_each(|index| energies[index] += of_panel[index]);
    }
    // Rounding can leave a tiny negative number where the truth is 0.
    energies.map(|energy| energy.max(0.0))
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
}

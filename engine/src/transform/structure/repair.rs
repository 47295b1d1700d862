//! A layer fitted to the inputs that are left: the smallest change of its weights that makes up for those that went.
//!
//! With `K` kept and `R` removed inputs and `C` their mean Gram matrix, `W' = W_K + W_R C_RK (C_KK + λ I)⁻¹` minimizes
//! `E||W x - W' x_K||² + λ ||W' - W_K||²`. Cutting alone is `W' = W_K`, so the error on the text never grows.

use super::StructureError;
use crate::kernels::{Operand, Threads, gemm};
use crate::linalg::{FactorError, flipped_cholesky, solve_rows};
use crate::monitor::Monitor;
use crate::tensor::{Matrix, Symmetric};

/// How often damping grows tenfold before the weights are left as they were cut.
const TRIES: u32 = 6;

/// The columns `kept` (rising) of `weights`, fitted so that outputs stay as they were. `damping` is a share of the mean
/// diagonal. Where no damping makes the matrix positive, the columns as they are.
pub fn repair(
    weights: &Matrix,
    gram: &Symmetric,
    kept: &[usize],
    damping: f64,
    monitor: &dyn Monitor,
) -> Result<Matrix, StructureError> {
    let cut = columns_of(weights, kept);
    let removed: Vec<usize> = complement(kept, weights.columns());
    if removed.is_empty() {
        return Ok(cut);
    }
    let order = kept.len();
    let Some(factor) = factor(gram, kept, damping, monitor)? else {
        return Ok(cut);
    };
    // B = W_R C_RK, then X (C_KK + λ I) = B.
    let lost = to_f64(&columns_of(weights, &removed));
    let mut between = Vec::with_capacity(removed.len() * order);
    for &row in &removed {
        between.extend(kept.iter().map(|&column| f64::from(gram.at(row, column))));
    }
    let mut change = vec![0.0f64; cut.rows() * order];
    let operands = (
        Operand::new(&lost, removed.len()),
        Operand::new(&between, order),
    );
    let shape = [cut.rows(), order, removed.len()];
    gemm(
        &mut change,
        order,
        shape,
        operands,
        (1.0, 0.0),
        Threads::Pool,
    );
    drop(between);
    solve_rows(&mut change, &factor, order, monitor)?;
    let values = cut.data().iter().zip(&change);
    let values = values
        .map(|(&weight, change)| (f64::from(weight) + change) as f32)
        .collect();
    Ok(Matrix::new(cut.rows(), order, values))
}

/// The factor of `C_KK + λ I`; `None` where no damping helps.
fn factor(
    gram: &Symmetric,
    kept: &[usize],
    damping: f64,
    monitor: &dyn Monitor,
) -> Result<Option<Vec<f64>>, StructureError> {
    let order = kept.len();
    let diagonal = kept.iter().map(|&index| f64::from(gram.at(index, index)));
    let mean = diagonal.sum::<f64>() / order as f64;
    if !(mean.is_finite() && mean > 0.0) {
        return Ok(None);
    }
    for attempt in 0..TRIES {
        let mut matrix = Vec::with_capacity(order * order);
        for &row in kept {
            matrix.extend(kept.iter().map(|&column| f64::from(gram.at(row, column))));
        }
        let added = damping.max(1e-6) * 10f64.powi(attempt as i32) * mean;
        matrix
            .iter_mut()
            .step_by(order + 1)
            .for_each(|value| *value += added);
        match flipped_cholesky(&mut matrix, order, monitor) {
            Ok(()) => return Ok(Some(matrix)),
            Err(FactorError::Stopped) => return Err(crate::monitor::Stopped.into()),
            Err(FactorError::NotPositive { .. }) => {}
        }
    }
    Ok(None)
}

/// Columns `kept` of `weights`.
pub fn columns_of(weights: &Matrix, kept: &[usize]) -> Matrix {
    let mut data = Vec::with_capacity(weights.rows() * kept.len());
    for row in 0..weights.rows() {
        let line = weights.row(row);
        data.extend(kept.iter().map(|&column| line[column]));
    }
    Matrix::new(weights.rows(), kept.len(), data)
}

/// `cut` with its columns at the places `kept` of a matrix `width` wide, zeros between: the same layer for a network
/// that still makes all inputs.
pub fn masked(cut: &Matrix, kept: &[usize], width: usize) -> Matrix {
    let mut whole = Matrix::zeros(cut.rows(), width);
    for row in 0..cut.rows() {
        let line = whole.row_mut(row);
        for (&column, &weight) in kept.iter().zip(cut.row(row)) {
            line[column] = weight;
        }
    }
    whole
}

fn complement(kept: &[usize], count: usize) -> Vec<usize> {
    let mut stays = vec![false; count];
    kept.iter().for_each(|&index| stays[index] = true);
    (0..count).filter(|&index| !stays[index]).collect()
}

fn to_f64(matrix: &Matrix) -> Vec<f64> {
    matrix.data().iter().copied().map(f64::from).collect()
}

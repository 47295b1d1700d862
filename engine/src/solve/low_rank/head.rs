//! The head of a singular value decomposition: the product of two thin matrices that is nearest to a matrix.
//!
//! Eigenvectors of the smaller Gram matrix where the rank is a fair share of it; else a few products with a thin random
//! matrix first (Halko, Martinsson and Tropp 2011, arXiv 0909.4061, algorithm 4.4), with a fixed seed.

use super::super::SolveError;
use crate::kernels::{Operand, Threads, gemm, transpose};
use crate::linalg::{Eigen, symmetric_eigen};
use crate::monitor::Monitor;
use crate::rng::Rng;

/// Below this order a Gram matrix is decomposed whole.
const SMALL: usize = 384;
/// Directions followed beyond the rank, so that the last ones asked for are good too.
const SPARE: usize = 32;
/// Products with the matrix and back: each sharpens what is large against what is small.
const ROUNDS: usize = 6;
/// Directions that hold less than this share of the first one's energy are rounding.
const NOISE: f64 = 1e-13;

/// `outer inner`, nearest to the matrix among all of the rank. Columns of `outer`, or rows of `inner`, are orthonormal.
pub(super) struct Head {
    /// `[rows, rank]`.
    pub(super) outer: Vec<f64>,
    /// `[rank, columns]`.
    pub(super) inner: Vec<f64>,
}

impl Head {
    /// Of `values` `[rows, columns]`. `rank` is at most the smaller dimension.
    pub(super) fn of(
        values: &[f64],
        (rows, columns): (usize, usize),
        rank: usize,
        monitor: &dyn Monitor,
    ) -> Result<Self, SolveError> {
        let is_wide = rows <= columns;
        let mut turned = Vec::new();
        let (short, shape) = if is_wide {
            (values, (rows, columns))
        } else {
            turned.resize(values.len(), 0.0);
            transpose(&mut turned, rows, values, columns, rows, columns);
            (&turned[..], (columns, rows))
        };
        // Rows of `basis` are the best directions of the shorter side.
        let basis = directions(short, shape, rank, monitor)?;
        let mut projected = vec![0.0; rank * shape.1];
        let operands = (Operand::new(&basis, shape.0), Operand::new(short, shape.1));
        product(&mut projected, [rank, shape.1, shape.0], operands);
        let mut columns_of_basis = vec![0.0; basis.len()];
        if is_wide {
            let target = &mut columns_of_basis;
            transpose(target, rank, &basis, rows, rank, rows);
            return Ok(Self {
                outer: columns_of_basis,
                inner: projected,
            });
        }
        let mut outer = vec![0.0; rows * rank];
        transpose(&mut outer, rank, &projected, rows, rank, rows);
        Ok(Self {
            outer,
            inner: basis,
        })
    }
}

/// `values valuesᵀ` of the shorter side, and its order.
pub(super) fn smaller_gram(values: &[f64], (rows, columns): (usize, usize)) -> (Vec<f64>, usize) {
    let order = rows.min(columns);
    let mut gram = vec![0.0; order * order];
    let (plain, turned) = (
        Operand::new(values, columns),
        Operand::transposed(values, columns),
    );
    if rows <= columns {
        product(&mut gram, [order, order, columns], (plain, turned));
    } else {
        product(&mut gram, [order, order, rows], (turned, plain));
    }
    (symmetric(gram, order), order)
}

/// `rank` orthonormal rows that span most of the columns of `values` `[order, long]`.
fn directions(
    values: &[f64],
    (order, long): (usize, usize),
    rank: usize,
    monitor: &dyn Monitor,
) -> Result<Vec<f64>, SolveError> {
    let width = rank + SPARE;
    if order <= SMALL || 2 * width > order {
        let (gram, _) = smaller_gram(values, (order, long));
        let mut vectors = symmetric_eigen(gram, order, monitor)?.vectors;
        vectors.truncate(rank * order);
        return Ok(vectors);
    }
    let mut rng = Rng::new(0, 0);
    let mut basis: Vec<f64> = (0..width * order).map(|_| rng.normal()).collect();
    let mut across = vec![0.0; width * long];
    for _ in 0..ROUNDS {
        monitor.check()?;
        basis = orthonormal(&basis, (width, order), monitor)?;
        let operands = (Operand::new(&basis, order), Operand::new(values, long));
        product(&mut across, [width, long, order], operands);
        let operands = (
            Operand::new(&across, long),
            Operand::transposed(values, long),
        );
        product(&mut basis, [width, order, long], operands);
    }
    basis = orthonormal(&basis, (width, order), monitor)?;
    let operands = (Operand::new(&basis, order), Operand::new(values, long));
    product(&mut across, [width, long, order], operands);
    let (gram, _) = smaller_gram(&across, (width, long));
    let Eigen { vectors, .. } = symmetric_eigen(gram, width, monitor)?;
    let mut best = vec![0.0; rank * order];
    let operands = (Operand::new(&vectors, width), Operand::new(&basis, order));
    product(&mut best, [rank, order, width], operands);
    Ok(best)
}

/// Orthonormal rows that span what `rows` `[count, order]` do; zeros where that is less. Twice, because once is not exact.
fn orthonormal(
    rows: &[f64],
    (count, order): (usize, usize),
    monitor: &dyn Monitor,
) -> Result<Vec<f64>, SolveError> {
    let mut rows = rows.to_vec();
    for _ in 0..2 {
        let (gram, _) = smaller_gram(&rows, (count, order));
        let Eigen {
            values,
            mut vectors,
        } = symmetric_eigen(gram, count, monitor)?;
        let largest = values.first().copied().unwrap_or(0.0);
        for (vector, &energy) in vectors.chunks_exact_mut(count).zip(&values) {
            let scale = if energy > NOISE * largest {
                1.0 / energy.sqrt()
            } else {
                0.0
            };
            vector.iter_mut().for_each(|value| *value *= scale);
        }
        let mut turned = vec![0.0; rows.len()];
        let operands = (Operand::new(&vectors, count), Operand::new(&rows, order));
        product(&mut turned, [count, order, count], operands);
        rows = turned;
    }
    Ok(rows)
}

fn product(target: &mut [f64], shape: [usize; 3], operands: (Operand<'_, f64>, Operand<'_, f64>)) {
    gemm(target, shape[1], shape, operands, (1.0, 0.0), Threads::Pool);
}

/// The matrix with both triangles equal to the last bit.
fn symmetric(mut matrix: Vec<f64>, order: usize) -> Vec<f64> {
    for row in 0..order {
        for column in 0..row {
            matrix[row * order + column] = matrix[column * order + row];
        }
    }
    matrix
}

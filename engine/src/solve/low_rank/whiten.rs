//! What makes errors of weights errors of outputs: the factor of the damped Gram matrix.

use super::super::SolveError;
use crate::kernels::{Operand, Threads, gemm};
use crate::linalg::{FactorError, divide_rows, flipped_cholesky};
use crate::monitor::Monitor;
use crate::tensor::{Matrix, Symmetric};

/// Least share of the mean diagonal that is added: factors divide by what inputs hardly ever do.
const LEAST_DAMPING: f64 = 1e-6;
/// Each damping is so many times the one that failed.
const DAMPING_GROWTH: f64 = 10.0;
/// Dampings tried.
const DAMPINGS: usize = 8;

/// `R` of `H + ridge = R Rᵀ`, or the identity.
#[derive(Debug, Clone)]
pub struct Whitened {
    order: usize,
    /// `Rᵀ`, row-major, zeros above the diagonal; none for the identity.
    factor: Option<Vec<f64>>,
}

impl Whitened {
    /// All inputs alike: errors of weights are what counts.
    pub fn identity(order: usize) -> Self {
        Self {
            order,
            factor: None,
        }
    }

    /// Factors `gram` with `damping` times its mean diagonal added, more where that does not do.
    pub fn new(gram: &Symmetric, damping: f64, monitor: &dyn Monitor) -> Result<Self, SolveError> {
        let order = gram.order();
        let unfactorable = |reason: &str| SolveError::Unfactorable {
            reason: reason.to_owned(),
        };
        if !gram.upper().iter().all(|value| value.is_finite()) {
            return Err(unfactorable(
                "it holds values that are not finite numbers; calibrate again with other texts",
            ));
        }
        let diagonal = gram.diagonal();
        let sum: f64 = diagonal.iter().map(|&value| f64::from(value)).sum();
        let mean = if sum > 0.0 { sum / order as f64 } else { 1.0 };
        let mut share = damping.max(LEAST_DAMPING);
        for _ in 0..DAMPINGS {
            let mut factor: Vec<f64> = gram
                .to_matrix()
                .into_data()
                .into_iter()
                .map(f64::from)
                .collect();
            for value in factor.iter_mut().step_by(order + 1) {
                *value += share * mean;
            }
            match flipped_cholesky(&mut factor, order, monitor) {
                Ok(()) => {
                    for (row, values) in factor.chunks_mut(order.max(1)).enumerate() {
                        values[row + 1..].fill(0.0);
                    }
                    return Ok(Self {
                        order,
                        factor: Some(factor),
                    });
                }
                Err(FactorError::Stopped) => return Err(SolveError::Stopped),
                Err(FactorError::NotPositive { .. }) => share *= DAMPING_GROWTH,
            }
        }
        Err(unfactorable(
            "it stayed indefinite at all dampings; calibrate with more or longer texts",
        ))
    }

    /// Inputs.
    pub fn order(&self) -> usize {
        self.order
    }

    /// `weights R`, in f64.
    ///
    /// # Panics
    /// If the widths differ.
    pub fn times(&self, weights: &Matrix) -> Vec<f64> {
        assert_eq!(
            weights.columns(),
            self.order,
            "weights and inputs of one width"
        );
        let values: Vec<f64> = weights
            .data()
            .iter()
            .map(|&value| f64::from(value))
            .collect();
        let Some(factor) = &self.factor else {
            return values;
        };
        let mut product = vec![0.0; values.len()];
        gemm(
            &mut product,
            self.order,
            [weights.rows(), self.order, self.order],
            (
                Operand::new(&values, self.order),
                Operand::transposed(factor, self.order),
            ),
            (1.0, 0.0),
            Threads::Pool,
        );
        product
    }

    /// `rows R⁻¹` in place.
    pub(super) fn divide(&self, rows: &mut [f64]) {
        if let Some(factor) = &self.factor {
            divide_rows(rows, factor, self.order);
        }
    }
}

//! Factorizations and triangular solves of symmetric positive definite matrices, in f32 and f64.
//!
//! One factorization serves every solver: the flipped Cholesky `H = R Rᵀ` with `R` upper triangular, of which all that
//! GPTQ needs follows without ever forming an inverse. It is kept transposed, as `Rᵀ` row by row, because every use reads
//! it along those rows. Knows no weights, grids or damping.

mod cholesky;
mod solve;

pub use cholesky::{FactorError, flipped_cholesky};
pub use solve::{copy_block, solve_rows, solve_unit_lower};

//! Factorizations and triangular solves of symmetric positive definite matrices, in f32 and f64.
//!
//! One factorization serves every solver: the flipped Cholesky `H = R Rᵀ` with `R` upper triangular, of which all that
//! GPTQ needs follows without ever forming an inverse. It is kept transposed, as `Rᵀ` row by row, because every use reads
//! it along those rows. Low-rank factors rest on eigenvectors of symmetric matrices. Knows no weights, grids or damping.

mod cholesky;
mod eigen;
mod solve;

pub use cholesky::{FactorError, flipped_cholesky};
pub use eigen::{Eigen, symmetric_eigen, symmetric_eigenvalues};
pub use solve::{copy_block, divide_rows, solve_rows, solve_unit_lower};

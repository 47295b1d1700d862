//! GPTQ: round one input column at a time and push each rounding error onto the columns not yet rounded.
//!
//! Frantar et al. 2022, arXiv 2210.17323. Shapes: weights `[out, in]`, Gram matrix `[in, in]`. The same codes as the
//! paper's recursion follow without an inverse (Babai's nearest plane, arXiv 2507.18553): with `H + ridge = R Rᵀ`, `R`
//! upper triangular, and `e_i = w_i - q_i` the total error of a finished column,
//! `q_j = round(w_j + Σ_{i<j} e_i R_ij / R_jj)`. That looks back only at finished columns, so rows never wait for each other.
//!
//! Invariant: knows nothing of models, files or progress bars. Block size changes speed only; a law test holds us to it.

mod factor;
mod order;
mod steps;
mod sweep;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;

use super::{SolveError, check_finite};
use crate::grid::{AffineGrid, GridConfig};
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::settings::ColumnOrder;
use crate::solved::{Codes, Grid, Method, Solved, Warning};
use crate::tensor::Matrix;
use factor::Factor;
use order::Visit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How GPTQ works. No field has a hidden default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GptqConfig {
    /// The grid to round to.
    pub grid: GridConfig,
    /// Steps of the clip search; 0 = min-max.
    pub clip_search: u32,
    /// Order in which columns are rounded.
    pub order: ColumnOrder,
    /// Share of the mean diagonal added to the Gram matrix.
    pub damping: f64,
    /// Columns rounded between two matrix products: speed only.
    pub block: usize,
}

/// Columns rounded between two matrix products where nobody has a reason for another number.
pub const DEFAULT_BLOCK: usize = 256;

/// Rounds `weights` so that outputs on the calibration inputs move as little as possible.
pub fn gptq(
    weights: &Matrix,
    moments: &Moments,
    config: &GptqConfig,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    check(weights, moments, config)?;
    Prepared::new(moments, config, &Factors::default(), monitor)?.solve(weights, config, monitor)
}

/// The factor made last, for whoever solves several matrices, or one at several settings, with the same moments: most of
/// the work is in it. Belongs to one `Moments`.
#[derive(Debug, Default)]
pub struct Factors {
    last: Mutex<Option<SharedFactor>>,
}

#[derive(Debug)]
struct SharedFactor {
    /// Order of its columns.
    columns: Vec<usize>,
    damping: f64,
    factor: Arc<Factor>,
}

impl Factors {
    /// The factor of `moments` in this order, made now unless it was the last one.
    fn of(
        &self,
        moments: &Moments,
        columns: &[usize],
        damping: f64,
        monitor: &dyn Monitor,
    ) -> Result<Arc<Factor>, SolveError> {
        // Taken out, not held: a thread that waits for parts of a new factor may come by here again. And two factors at
        // once would be too much memory.
        let last = self.last().take();
        let is_same = |known: &SharedFactor| known.damping == damping && known.columns == columns;
        let shared = match last.filter(is_same) {
            Some(known) => known,
            None => SharedFactor {
                columns: columns.to_vec(),
                damping,
                factor: Arc::new(Factor::new(&moments.gram, columns, damping, monitor)?),
            },
        };
        let factor = shared.factor.clone();
        *self.last() = Some(shared);
        Ok(factor)
    }

    fn last(&self) -> MutexGuard<'_, Option<SharedFactor>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A factored Gram matrix: what all solutions with the same order, group and damping share.
#[derive(Debug)]
pub struct Prepared {
    visit: Visit,
    factor: Arc<Factor>,
    importance: Vec<f32>,
}

impl Prepared {
    /// Damps and factors the Gram matrix in the order that `config` asks for. `bits`, `clip_search` and `block` do not matter here.
    pub fn new(
        moments: &Moments,
        config: &GptqConfig,
        factors: &Factors,
        monitor: &dyn Monitor,
    ) -> Result<Self, SolveError> {
        let groups = config.grid.groups(moments.width());
        let visit = Visit::new(&moments.gram.diagonal(), groups, config.order);
        let factor = factors.of(moments, &visit.columns, config.damping, monitor)?;
        Ok(Self {
            visit,
            factor,
            importance: moments.mean_square.clone(),
        })
    }

    /// Solves one matrix of weights. `config` must ask for the order and group that this was prepared for.
    pub fn solve(
        &self,
        weights: &Matrix,
        config: &GptqConfig,
        monitor: &dyn Monitor,
    ) -> Result<Solved, SolveError> {
        check_finite(weights)?;
        let (rows, columns) = (weights.rows(), weights.columns());
        let mut grid = AffineGrid::neutral(config.grid, rows, columns);
        let mut codes = Codes {
            rows,
            columns,
            values: vec![0; rows * columns],
        };
        let loss = sweep::sweep(self, weights, config, monitor, &mut grid, &mut codes.values)?;
        Ok(Solved {
            method: Method::Gptq,
            codes,
            grid: Grid::Affine(grid),
            mask: None,
            factors: None,
            loss: Some(loss),
            warnings: self.warnings(),
        })
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.factor.failures > 0 {
            warnings.push(Warning::Damped {
                damping: self.factor.damping,
                failures: self.factor.failures,
            });
        }
        let count = self.factor.dead.iter().filter(|&&dead| dead).count();
        if count > 0 {
            warnings.push(Warning::DeadInputs { count });
        }
        warnings
    }
}

pub(super) fn check(
    weights: &Matrix,
    moments: &Moments,
    config: &GptqConfig,
) -> Result<(), SolveError> {
    if weights.columns() != moments.width() {
        return Err(SolveError::Shape {
            what: "the Gram matrix",
            expected: weights.columns(),
            found: moments.width(),
        });
    }
    if !(2..=8).contains(&config.grid.bits) {
        return Err(SolveError::BadConfig {
            problem: format!(
                "GPTQ rounds to 2 to 8 bits, not {}; choose bits in that range",
                config.grid.bits
            ),
        });
    }
    if !(config.damping >= 0.0 && config.damping.is_finite()) {
        return Err(SolveError::BadConfig {
            problem: format!(
                "a damping of {} is no share of the diagonal; choose 0 or more, as 0.01",
                config.damping
            ),
        });
    }
    Ok(())
}

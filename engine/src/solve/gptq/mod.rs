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
mod plan;
mod slab;
#[cfg(test)]
mod sparse_tests;
mod steps;
mod sweep;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
mod zeros;

use super::prune::MaskConfig;
use super::{SolveError, check_finite, float};
use crate::grid::{AffineGrid, GridConfig};
use crate::mask::Mask;
use crate::moments::Moments;
use crate::monitor::Monitor;
use crate::settings::ColumnOrder;
use crate::solved::{Codes, Grid, Method, Solved, Warning};
use crate::tensor::{Dtype, Matrix};
use factor::Factor;
use order::Visit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sweep::Target;
use zeros::Choosing;

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

/// Sets weights to zero and rounds the others, or moves them, so that outputs on the calibration inputs move as little as
/// possible.
pub fn gptq_with_zeros(
    weights: &Matrix,
    moments: &Moments,
    config: &GptqConfig,
    zeros: (&Zeros<'_>, Kept),
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    check(weights, moments, config)?;
    Prepared::for_zeros(moments, config, zeros, factors, monitor)?
        .solve_with_zeros(weights, config, zeros, monitor)
}

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

/// Which weights a sweep sets to zero.
#[derive(Debug, Clone, Copy)]
pub enum Zeros<'a> {
    /// None.
    None,
    /// Those that a mask names; the others make up for them.
    Given(&'a Mask),
    /// Those whose loss costs least once later columns have made up for it (SparseGPT).
    Chosen(MaskConfig),
}

impl<'a> Zeros<'a> {
    fn given(&self) -> Option<&'a Mask> {
        match self {
            Self::Given(mask) => Some(mask),
            Self::None | Self::Chosen(_) => None,
        }
    }

    fn chosen(&self) -> Option<MaskConfig> {
        match self {
            Self::Chosen(config) => Some(*config),
            Self::None | Self::Given(_) => None,
        }
    }

    fn choosing(&self, columns: usize) -> Choosing {
        match self {
            Self::None => Choosing::Nothing,
            Self::Given(_) => Choosing::Given,
            Self::Chosen(config) => Choosing::new(*config, columns),
        }
    }

    fn pattern(&self) -> Option<crate::mask::SparsityPattern> {
        match self {
            Self::None => None,
            Self::Given(mask) => Some(mask.pattern),
            Self::Chosen(config) => Some(config.pattern),
        }
    }
}

/// What becomes of weights that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// They are rounded to the configured grid.
    Codes,
    /// They stay floats of this dtype, moved to make up for zeros.
    Floats(Dtype),
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
        Self::for_zeros(
            moments,
            config,
            (&Zeros::None, Kept::Codes),
            factors,
            monitor,
        )
    }

    /// The same for sweeps that set weights to zero, or leave those that stay floats.
    pub fn for_zeros(
        moments: &Moments,
        config: &GptqConfig,
        (zeros, kept): (&Zeros<'_>, Kept),
        factors: &Factors,
        monitor: &dyn Monitor,
    ) -> Result<Self, SolveError> {
        let groups = config.grid.groups(moments.width());
        let unit = zeros.choosing(moments.width()).unit();
        let visit = Visit::new(&moments.gram.diagonal(), groups, config.order, unit);
        let visit = match kept {
            Kept::Codes => visit,
            Kept::Floats(_) => visit.without_groups(),
        };
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
        self.solve_with_zeros(weights, config, (&Zeros::None, Kept::Codes), monitor)
    }

    /// The same with zeros, or with weights that stay floats; as it was prepared.
    pub fn solve_with_zeros(
        &self,
        weights: &Matrix,
        config: &GptqConfig,
        (zeros, kept): (&Zeros<'_>, Kept),
        monitor: &dyn Monitor,
    ) -> Result<Solved, SolveError> {
        check_finite(weights)?;
        let (rows, columns) = (weights.rows(), weights.columns());
        let mut target = Target::default();
        match kept {
            Kept::Codes => {
                target.codes = vec![0; rows * columns];
                target.grid = Some(AffineGrid::neutral(config.grid, rows, columns));
            }
            Kept::Floats(_) => target.values = vec![0.0; rows * columns],
        }
        let pattern = zeros.pattern();
        if pattern.is_some() {
            target.keep = vec![false; rows * columns];
        }
        let loss = sweep::sweep(self, weights, config, zeros, monitor, &mut target)?;
        let (method, grid) = match (kept, target.grid) {
            (Kept::Codes, Some(grid)) => (Method::Gptq, Grid::Affine(grid)),
            (Kept::Floats(dtype), _) => (Method::Float, float::snapped(target.values, dtype)),
            (Kept::Codes, None) => (Method::Gptq, Grid::Nothing),
        };
        Ok(Solved {
            method,
            codes: Codes {
                rows,
                columns,
                values: target.codes,
            },
            grid,
            mask: pattern.map(|pattern| Mask {
                pattern,
                columns,
                keep: target.keep,
            }),
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

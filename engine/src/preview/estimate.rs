//! The cheap estimate: some rows, solved by what is quick, and how far they move.

use crate::distortion::{output_energy, output_error, sqnr_db, weight_energy, weight_error};
use crate::moments::{LayerStatistics, Moments};
use crate::monitor::Monitor;
use crate::settings::{LayerSettings, PruneMethod, Rank};
use crate::solve::{SolveError, solve_layer};
use crate::solved::{Method, Solved};
use crate::tensor::Matrix;

/// What a relative error is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// `||W-Q||_F / ||W||_F`: no inputs are known.
    Weights,
    /// `||X(W-Q)ᵀ||_F / ||XWᵀ||_F` over the inputs whose moments were given.
    Inputs,
}

impl Basis {
    /// What can be measured with or without moments.
    pub(super) fn of(moments: Option<&Moments>) -> Self {
        match moments {
            Some(_) => Self::Inputs,
            None => Self::Weights,
        }
    }
}

/// What settings would cost a layer, judged from some of its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Relative error of what `basis` says; 0 where there is no signal.
    pub relative_error: f64,
    /// What it is measured on.
    pub basis: Basis,
    /// Signal to quantization noise of these rows; `None` where there is no error or no signal.
    pub sqnr_db: Option<f64>,
    /// Rows solved.
    pub sampled_rows: usize,
}

/// Some rows of a layer and what is known of its inputs, ready for estimates at many settings: what depends on none of
/// them is computed once.
#[derive(Debug, Clone)]
pub struct Sample {
    rows: Matrix,
    /// Rows of the whole layer.
    rows_of_layer: usize,
    statistics: Option<LayerStatistics>,
    /// Energy of the outputs, or of the weights, that errors are relative to.
    signal: f64,
}

impl Sample {
    /// Takes up some rows `[rows, in]` of a layer that has so many.
    pub fn new(
        rows: Matrix,
        rows_of_layer: usize,
        moments: Option<Moments>,
    ) -> Result<Self, SolveError> {
        check_width(&rows, moments.as_ref())?;
        let signal = energy(&rows, moments.as_ref());
        Ok(Self {
            rows,
            rows_of_layer,
            statistics: moments.map(|moments| LayerStatistics {
                moments,
                cross: None,
                held_out: None,
            }),
            signal,
        })
    }

    /// What `settings` would cost these rows.
    ///
    /// GPTQ and AWQ are stood in for by rounding to nearest with the same grid and clip search, SparseGPT by Wanda: an
    /// error that they rarely exceed. Zeros compete among these rows alone, and factors have their share of the layer's
    /// rank. `none` moves nothing.
    pub fn estimate(
        &self,
        settings: &LayerSettings,
        monitor: &dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let moments = self.statistics.as_ref().map(|known| &known.moments);
        let rows = &self.rows;
        let mut estimate = Estimate {
            relative_error: 0.0,
            basis: Basis::of(moments),
            sqnr_db: None,
            sampled_rows: rows.rows(),
        };
        let settings = LayerSettings {
            rank: self.share_of(settings.rank),
            ..*settings
        };
        let Some(solved) = stand_in(rows, self.statistics.as_ref(), &settings, monitor)? else {
            return Ok(estimate);
        };
        let after = solved.dequantize();
        let error = match moments {
            Some(moments) => output_error(rows, &after, &moments.gram),
            None => weight_error(rows, &after),
        };
        estimate.relative_error = ratio(error, self.signal).unwrap_or(0.0);
        estimate.sqnr_db = sqnr_db(rows, &after);
        Ok(estimate)
    }

    /// The rank that is to these rows what `rank` is to the layer.
    fn share_of(&self, rank: Rank) -> Rank {
        let of_layer = rank.of_shape(self.rows_of_layer, self.rows.columns());
        of_layer.map_or(rank, |of_layer| {
            let of_rows = of_layer as f64 * self.rows.rows() as f64;
            Rank::Fixed(
                (of_rows / self.rows_of_layer.max(1) as f64)
                    .round()
                    .max(1.0) as usize,
            )
        })
    }
}

/// `Sample::estimate` of all rows of a layer, for one settings alone.
pub fn estimate(
    rows: &Matrix,
    moments: Option<&Moments>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Estimate, SolveError> {
    Sample::new(rows.clone(), rows.rows(), moments.cloned())?.estimate(settings, monitor)
}

/// What errors are relative to: the energy of the outputs where moments are known, else of the weights.
fn energy(rows: &Matrix, moments: Option<&Moments>) -> f64 {
    match moments {
        Some(moments) => output_energy(rows, &moments.gram),
        None => weight_energy(rows),
    }
}

/// Root of an error's share of the signal; `None` where there is no signal, or no number.
pub(super) fn ratio(error: f64, signal: f64) -> Option<f64> {
    let ratio = (error / signal).sqrt();
    (signal > 0.0 && ratio.is_finite()).then_some(ratio)
}

/// The layer solved by the asked method, or by what stands in for it where that would need more than a moment.
pub(super) fn stand_in(
    weights: &Matrix,
    statistics: Option<&LayerStatistics>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Option<Solved>, SolveError> {
    let mut settings = *settings;
    settings.method = match settings.method {
        Method::None => return Ok(None),
        Method::Gptq | Method::Awq => Method::Rtn,
        method => method,
    };
    if settings.prune.method == PruneMethod::SparseGpt {
        settings.prune.method = PruneMethod::Wanda;
    }
    // Factors of outputs' errors would need the Gram matrix factored.
    let known = statistics.filter(|_| settings.rank == Rank::None);
    solve_layer(weights, known, &settings, monitor).map(Some)
}

/// Moments must belong to the weights.
pub(super) fn check_width(weights: &Matrix, moments: Option<&Moments>) -> Result<(), SolveError> {
    let expected = weights.columns();
    match moments.map(Moments::width) {
        Some(found) if found != expected => Err(SolveError::Shape {
            what: "the Gram matrix",
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

//! What settings would do to one layer, before a run: a cheap estimate from some rows, and a preview with pictures.
//!
//! Pure functions of weights, statistics and settings, for use beside a window; the same at any thread count. They see
//! the layer alone: original inputs, no earlier layer compressed, no AWQ fold. Knows no model, file or cache.

mod estimate;
mod reach;
mod survey;

pub use estimate::{Basis, Estimate, Sample, estimate};

use crate::distortion::{Histograms, decibels, relative_output_error};
use crate::moments::{LayerStatistics, Moments};
use crate::monitor::Monitor;
use crate::settings::{LayerSettings, PruneMethod, Rank};
use crate::solve::{SolveError, solve_layer};
use crate::solved::{Grid, Method, Solved, Warning};
use crate::tensor::Matrix;
use estimate::{check_width, stand_in};
use survey::Survey;

/// Rows from which a quick preview takes the error of the outputs.
const QUICK_ROWS: usize = 64;

/// How much work a preview may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Rounding to nearest stands in for GPTQ and AWQ, Wanda for SparseGPT, and the error of the outputs is that of some rows.
    Quick,
    /// The method itself, and the error of all outputs.
    Exact,
}

/// One layer as it would become.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Whether these are the codes that the asked method gives with these statistics. AWQ's never are: its scales are
    /// folded over several layers.
    pub exact: bool,
    /// The method that gave the codes: of a quick preview perhaps a stand-in.
    pub method: Method,
    /// Rows from which `relative_error` was taken, evenly spread.
    pub sampled_rows: usize,
    /// Rows handed in; every other figure is of all of them.
    pub rows: usize,
    /// Weights before and after, and the error.
    pub histograms: Histograms,
    /// Relative error of what `basis` says; `None` where there is no signal.
    pub relative_error: Option<f64>,
    /// What `relative_error` is measured on.
    pub basis: Basis,
    /// Signal to quantization noise of the weights; `None` where there is no error or no signal.
    pub sqnr_db: Option<f64>,
    /// Cosine of weights before and after; `None` for an all-zero layer.
    pub cosine: Option<f64>,
    /// Largest absolute error of a weight.
    pub max_error: f64,
    /// Different codes used.
    pub codes_used: u32,
    /// Different codes that exist; 0 for method none.
    pub codes_possible: u32,
    /// Share of weights whose rounding was cut off at the first or last code of their group.
    pub clipped_share: f64,
    /// Smallest weight that any group's codes can represent.
    pub clip_low: f32,
    /// Largest weight that any group's codes can represent.
    pub clip_high: f32,
    /// One for each input.
    pub channels: Vec<Channel>,
    /// What the solver had to do that nobody asked for.
    pub warnings: Vec<Warning>,
}

/// One input column of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Channel {
    /// The input.
    pub column: usize,
    /// Largest magnitude of its weights.
    pub abs_max: f32,
    /// Root of the mean squared error of its weights.
    pub error_rms: f32,
}

/// Solves `weights` `[out, in]` as `settings` and `kind` say and describes what became of them.
pub fn preview(
    weights: &Matrix,
    statistics: Option<&LayerStatistics>,
    settings: &LayerSettings,
    kind: Kind,
    monitor: &dyn Monitor,
) -> Result<Preview, SolveError> {
    let moments = statistics.map(|statistics| &statistics.moments);
    check_width(weights, moments)?;
    let solved = match (kind, settings.method) {
        (_, Method::None) => None,
        (Kind::Quick, _) => stand_in(weights, statistics, settings, monitor)?,
        (Kind::Exact, _) => Some(solve_layer(weights, statistics, settings, monitor)?),
    };
    let survey = Survey::of(weights, solved.as_ref(), monitor)?;
    monitor.check()?;
    let (sampled_rows, relative_error) = match (moments, &solved) {
        (Some(moments), Some(solved)) => error_of_outputs(weights, solved, moments, kind),
        _ => (weights.rows(), survey.relative_error()),
    };
    Ok(Preview {
        exact: is_exact(settings, kind),
        method: solved.as_ref().map_or(Method::None, |solved| solved.method),
        sampled_rows,
        rows: weights.rows(),
        relative_error,
        basis: Basis::of(moments),
        sqnr_db: decibels(survey.signal, survey.error),
        cosine: survey.cosine(),
        max_error: survey.max_error,
        codes_used: survey.codes_used(),
        codes_possible: solved.as_ref().map_or(0, codes_possible),
        clipped_share: survey.clipped as f64 / weights.data().len().max(1) as f64,
        clip_low: survey.clip_low,
        clip_high: survey.clip_high,
        channels: survey.channels(weights.rows()),
        histograms: survey.histograms(),
        warnings: solved.map_or_else(Vec::new, |solved| solved.warnings),
    })
}

/// At most `count` channels whose largest weight stands out over the median channel's, the farthest first.
pub fn outlier_channels(channels: &[Channel], count: usize) -> Vec<usize> {
    let mut ranked: Vec<&Channel> = channels.iter().collect();
    ranked.sort_by(|left, right| {
        let falling = right.abs_max.total_cmp(&left.abs_max);
        falling.then(left.column.cmp(&right.column))
    });
    let Some(median) = ranked.get(ranked.len() / 2).map(|channel| channel.abs_max) else {
        return Vec::new();
    };
    let above = ranked
        .iter()
        .take_while(|channel| channel.abs_max > median)
        .take(count);
    above.map(|channel| channel.column).collect()
}

/// Whether a preview's codes are those that a run would choose from the same statistics.
fn is_exact(settings: &LayerSettings, kind: Kind) -> bool {
    let is_stood_in =
        settings.prune.method == PruneMethod::SparseGpt || settings.rank != Rank::None;
    match settings.method {
        Method::None => true,
        _ if is_stood_in && kind == Kind::Quick => false,
        Method::Rtn | Method::Hqq | Method::Nf4 | Method::Palette | Method::Float => true,
        Method::Gptq => kind == Kind::Exact,
        Method::Awq => false,
    }
}

fn codes_possible(solved: &Solved) -> u32 {
    match &solved.grid {
        Grid::Affine(grid) => u32::from(grid.config.max_code()) + 1,
        Grid::Codebook(_) => crate::codebook::NF4_LEVELS.len() as u32,
        Grid::Palette(palettes) => 1 << palettes.bits,
        Grid::Floats(_) | Grid::Nothing => 0,
    }
}

/// The relative error of the outputs, and how many rows it was taken from.
fn error_of_outputs(
    weights: &Matrix,
    solved: &Solved,
    moments: &Moments,
    kind: Kind,
) -> (usize, Option<f64>) {
    let rows = weights.rows();
    let count = match kind {
        Kind::Quick => rows.min(QUICK_ROWS),
        Kind::Exact => rows,
    };
    let mut before = Matrix::zeros(count, weights.columns());
    let mut after = before.clone();
    for sample in 0..count {
        // 128 bits: no count of rows can overflow the product.
        let row = (sample as u128 * rows as u128 / count as u128) as usize;
        before.row_mut(sample).copy_from_slice(weights.row(row));
        solved.dequantize_row(row, after.row_mut(sample));
    }
    let error = relative_output_error(&before, &after, &moments.gram);
    (count, error.filter(|error| error.is_finite()))
}

#[cfg(test)]
mod tests;

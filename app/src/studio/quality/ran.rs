//! Finished runs between size and quality.

use super::Place;
use crate::studio::figure::Figure;
use crate::studio::runs::{Run, RunId, RunStatus};
use pare_engine::report::LayerReport;
use pare_engine::session::CompressReport;
use pare_engine::solved::Method;

/// A finished run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunPlace {
    /// The run.
    pub id: RunId,
    /// Where it lies; the loss predicted is in there.
    pub place: Place,
    /// The loss measured, and its standard error.
    pub loss: Option<(f64, Option<f64>)>,
    /// The method of most weights.
    pub method: Method,
}

/// Where `run` lies, if it is done.
pub(super) fn run_place(run: &Run) -> Option<RunPlace> {
    let report = run.report.as_ref()?;
    if run.status != RunStatus::Done || report.layers.is_empty() {
        return None;
    }
    let bytes = report.layers.iter().map(|layer| layer.bytes).sum();
    let loss = run.loss().map(|loss| loss.value);
    let stderr = run.kl().and_then(|(_, stderr)| stderr);
    Some(RunPlace {
        id: run.id,
        place: Place {
            bytes,
            bits_per_weight: 8.0 * bytes as f64 / weights_of(report).max(1) as f64,
            error: Some(Figure::measured(measured_error(report))),
            predicted: None,
        },
        loss: loss.map(|loss| (loss, stderr)),
        method: main_method(&report.layers),
    })
}

/// The error of what a run wrote, as measured layer by layer; of weights where no outputs were known.
pub fn measured_error(report: &CompressReport) -> f64 {
    let squares: f64 = report
        .layers
        .iter()
        .map(|layer| layer_error(layer).powi(2) * layer.weights as f64)
        .sum();
    (squares / weights_of(report).max(1) as f64).sqrt()
}

fn layer_error(layer: &LayerReport) -> f64 {
    let of_weights = || layer.sqnr_db.map(|sqnr| 10f64.powf(-sqnr / 20.0));
    match layer.method {
        Method::None => 0.0,
        _ => layer
            .relative_output_error
            .or_else(of_weights)
            .unwrap_or(0.0),
    }
}

fn weights_of(report: &CompressReport) -> u64 {
    report.layers.iter().map(|layer| layer.weights).sum()
}

/// The method of most weights, dense ones left out where anything was quantized.
pub(super) fn main_method(layers: &[LayerReport]) -> Method {
    let weights = |method: Method| -> u64 {
        let of_method = layers.iter().filter(|layer| layer.method == method);
        of_method.map(|layer| layer.weights).sum()
    };
    let quantized = Method::ALL.into_iter().filter(|&m| m != Method::None);
    quantized
        .max_by_key(|&method| weights(method))
        .filter(|&method| weights(method) > 0)
        .unwrap_or(Method::None)
}

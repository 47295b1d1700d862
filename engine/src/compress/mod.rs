//! The one loop over layers: gather statistics, solve, store, put back, go on with what the solved layers give.
//!
//! Layers inside blocks are solved stage by stage (layers of a stage share one input), so that each sees the inputs that
//! the already solved ones make. Layers outside blocks, and all layers of a network that cannot be run, are solved alone.
//! A finished layer is on disk before the next begins; a resumed run takes it from there.
//! Knows no recipe text, container or printing: choices come in, reports go out.

mod alone;
mod blocks;
mod describe;
mod inputs;
mod returned;
mod scaling;

pub use describe::redescribe;
pub use inputs::{Need, need_of, scored_alone, unrefined};

use crate::calibrate::{CalibrateError, SpillPolicy};
use crate::formats::{RunFolder, StoreError};
use crate::model::{LayerInfo, Model, ModelError};
use crate::moments::{Moments, Prefix, StageKey};
use crate::monitor::{Silent, Stopped};
use crate::report::{Fallback, LayerReport, Notice, Observer};
use crate::settings::LayerSettings;
use crate::solve::SolveError;
use crate::solved::Method;
use crate::tensor::{ScaleDtype, SourceError, WeightSource};

/// What will be done to one compressible layer.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Index into the layers of the job.
    pub layer: usize,
    /// Settings that the container can hold.
    pub settings: LayerSettings,
    /// What was asked instead, where the container could not hold it.
    pub fallback: Option<Fallback>,
    /// Bytes that the layer will take in the container.
    pub size_bytes: u64,
    /// The dtype of biases, in a container that keeps those in the place of zeros.
    pub biases: Option<ScaleDtype>,
}

/// Calibration of a job.
#[derive(Debug)]
pub struct Calibration<'a> {
    /// Sequences, all of one length.
    pub sequences: &'a [Vec<u32>],
    /// Which inputs shape the codes.
    pub prefix: Prefix,
    /// Moments of the uncompressed model, where `prefix` asks for them.
    pub original: Option<&'a dyn OriginalSource>,
    /// Where activations go that do not fit.
    pub spill: SpillPolicy,
}

/// Original-prefix moments, read when asked.
pub trait OriginalSource: std::fmt::Debug + Sync {
    /// The moments of one stage.
    fn moments(&self, key: StageKey) -> Result<Moments, CompressError>;
}

/// All that the loop needs.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The source's tensors.
    pub source: &'a dyn WeightSource,
    /// The network, where it can be run.
    pub model: Option<&'a Model>,
    /// All layers of the source.
    pub layers: &'a [LayerInfo],
    /// One for each compressible layer.
    pub choices: &'a [Choice],
    /// Calibration, where there is any.
    pub calibration: Option<&'a Calibration<'a>>,
    /// Where solved layers go.
    pub run: &'a RunFolder,
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Job")
            .field("choices", &self.choices.len())
            .finish_non_exhaustive()
    }
}

/// Why the loop ended early. Finished layers are on disk.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CompressError {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Calibrate(CalibrateError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("layer {layer} could not be solved: {error}")]
    Solve { layer: String, error: SolveError },
    #[error("layer {layer}: {asked} needs calibration, and {reason}")]
    NoCalibration {
        layer: String,
        asked: String,
        reason: String,
    },
    #[error("cached moments could not be read: {0}; run `pare calibrate` again")]
    Cache(String),
}

impl From<CalibrateError> for CompressError {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Calibrate(other),
        }
    }
}

/// Solves every chosen layer and returns their reports in the order of `job.choices`.
pub fn compress(job: Job<'_>, observer: &dyn Observer) -> Result<Vec<LayerReport>, CompressError> {
    let needing = job.choices.iter().find_map(|choice| {
        let layer = &job.layers[choice.layer];
        let need = need_of(&choice.settings).filter(|_| layer.block.is_some())?;
        Some((layer, need))
    });
    if let (Some((layer, need)), true) = (needing, job.model.is_none() || job.calibration.is_none())
    {
        let reason = if job.model.is_none() {
            format!("this network cannot be run here; {}", need.instead)
        } else {
            format!("no corpus was named; add --corpus FILE or {}", need.instead)
        };
        return Err(CompressError::NoCalibration {
            layer: layer.name.clone(),
            asked: need.asked,
            reason,
        });
    }
    let total = job
        .choices
        .iter()
        .filter(|choice| choice.settings.method != Method::None)
        .count() as u64;
    observer.notice(Notice::Stage {
        name: "solving",
        steps: total,
    });
    let mut ledger = Ledger::new(job, observer, total);
    if let (Some(model), Some(calibration)) = (job.model, job.calibration) {
        blocks::solve_blocks(job, model, calibration, &mut ledger)?;
    }
    for index in 0..job.choices.len() {
        if ledger.reports[index].is_none() {
            alone::solve_alone(job, index, &mut ledger)?;
        }
    }
    Ok(ledger
        .reports
        .into_iter()
        .map(|report| report.expect("every choice was reported above"))
        .collect())
}

/// Whether a method cannot do without its layer's inputs.
pub fn needs_inputs(method: Method) -> bool {
    matches!(method, Method::Gptq | Method::Awq)
}

/// Reports of finished layers, and who is told of them.
struct Ledger<'a> {
    reports: Vec<Option<LayerReport>>,
    observer: &'a dyn Observer,
    done: u64,
    total: u64,
}

impl<'a> Ledger<'a> {
    fn new(job: Job<'_>, observer: &'a dyn Observer, total: u64) -> Self {
        Self {
            reports: vec![None; job.choices.len()],
            observer,
            done: 0,
            total,
        }
    }

    fn enter(&mut self, choice: usize, report: LayerReport) {
        if report.method != Method::None {
            self.done += 1;
            self.observer.notice(Notice::Layer(&report));
            self.observer.step(self.done, self.total);
        }
        self.reports[choice] = Some(report);
    }
}

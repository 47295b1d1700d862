//! How much each layer hurts: the table as it grows, and what of the draft it is known for.
//!
//! Values and questions; `update::choose` changes them. Knows no screen and measures nothing.

use super::draft::Draft;
use super::proposal::BudgetRules;
use super::runs::Control;
use pare_engine::allocate::{FrontPoint, Planner};
use pare_engine::formats::Format;
use pare_engine::model::{LayerInfo, LayerKind};
use pare_engine::recipe::{CalibrationSettings, LayerSettings, Recipe, most_frequent};
use pare_engine::report::{LayerSensitivity, Measure, SensitivityTable};
use pare_engine::session::{Agreement, Effort, SensitivityRequest, Slice, TimedPlanner};
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;
use std::sync::Arc;

/// How much work goes into measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SensitivityEffort {
    /// Errors of plain rounding and one gradient pass: seconds.
    Quick,
    /// Errors of the draft's own method, and the loss with each layer alone changed: minutes.
    Full,
}

/// How a table stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SensitivityState {
    /// Nothing is known.
    #[default]
    Absent,
    /// On its way; what is known so far is in the table.
    Measuring(SensitivityStep),
    /// Known, where cells are not empty.
    Ready,
    /// Known for another method or another calibration than the draft's.
    Stale,
    /// It could not be measured; the words are for people.
    Failed(String),
}

/// How measuring goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SensitivityStep {
    /// The stage, in words.
    pub stage: String,
    /// Steps finished in it.
    pub done: u64,
    /// Steps that it takes.
    pub total: u64,
}

/// What a job found.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The table; `None` where nothing was measured before.
    pub table: Option<SensitivityTable>,
    /// How gains by gradient and by measurement agree.
    pub agreement: Option<Agreement>,
}

/// What of a draft a table is about: everything but bits, groups and the container.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis {
    settings: LayerSettings,
    calibration: CalibrationSettings,
}

/// How much each layer hurts, and how that is known.
#[derive(Debug, Clone)]
pub struct Sensitivity {
    /// What is known; without rows where nothing is.
    pub table: Arc<SensitivityTable>,
    /// How it stands.
    pub state: SensitivityState,
    /// How gains by gradient and by measurement agree, where both were gathered in this session.
    pub agreement: Option<Agreement>,
    /// What chooses bits by it; `None` where nothing is known, or where rules leave nothing to choose.
    pub planner: Option<Arc<Planner>>,
    /// Why there is none, where something is known.
    pub problem: Option<String>,
    /// The best that it can reach, few bytes first: bytes of all compressible layers.
    pub front: Arc<Vec<FrontPoint>>,
    /// What chooses bits within a time on the chosen device; `None` where that is not known.
    pub(super) timed: Option<Arc<TimedPlanner>>,
    /// Seconds of a token of the fastest recipe and of the largest on the chosen device, where known.
    pub front_seconds: Option<[f64; 2]>,
    /// Grows with every change.
    pub version: u64,
    /// What the table is about.
    pub(super) basis: Option<Basis>,
    /// What was last looked for.
    pub(super) looked_for: Option<Basis>,
    /// The job at work.
    pub(super) job: Option<SensitivityJob>,
    /// What the planner was made of.
    pub(super) planned_for: Option<PlannedFor>,
    /// The answer of the device that `front_seconds` is of.
    pub(super) timed_for: Option<u64>,
}

/// A job at work.
#[derive(Debug, Clone)]
pub(super) struct SensitivityJob {
    pub(super) control: Arc<Control>,
    pub(super) basis: Basis,
    pub(super) only_find: bool,
}

/// What a planner is made of.
#[derive(Debug, Clone)]
pub(super) struct PlannedFor {
    pub(super) version: u64,
    pub(super) draft: Arc<Draft>,
    pub(super) rules: BudgetRules,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self {
            table: Arc::new(empty_table(Measure::Kl, Method::Gptq)),
            state: SensitivityState::Absent,
            agreement: None,
            planner: None,
            problem: None,
            front: Arc::default(),
            timed: None,
            front_seconds: None,
            version: 0,
            basis: None,
            looked_for: None,
            job: None,
            planned_for: None,
            timed_for: None,
        }
    }
}

impl Sensitivity {
    /// Whether it is being measured.
    pub fn is_measuring(&self) -> bool {
        matches!(self.state, SensitivityState::Measuring(_))
    }

    /// Whether a job is at work, looking included.
    pub fn is_at_work(&self) -> bool {
        self.job.is_some()
    }

    /// Whether anything is known.
    pub fn has_rows(&self) -> bool {
        !self.table.layers.is_empty()
    }

    /// The loss of the whole model with `settings` of all `layers`; `None` where the table does not know enough of any of
    /// them.
    pub fn predict(&self, layers: &[LayerInfo], settings: &[LayerSettings]) -> Option<f64> {
        let predictor = self.planner.as_ref()?.predictor();
        let compressible = layers.iter().zip(settings).enumerate();
        let losses = compressible
            .filter(|(_, (info, _))| info.compressible)
            .map(|(layer, (_, settings))| predictor.layer_loss(layer, LayerOption::of(settings)?));
        let sum = losses.sum::<Option<f64>>()?;
        predictor.is_calibrated().then(|| predictor.total(sum))
    }

    /// Takes in rows of a job: what an older row of the same basis knows beyond the new one stays.
    pub(super) fn take_rows(&mut self, rows: Vec<LayerSensitivity>) {
        let table = Arc::make_mut(&mut self.table);
        for row in rows {
            match table
                .layers
                .binary_search_by_key(&row.layer, |known| known.layer)
            {
                Ok(place) => {
                    let known = &mut table.layers[place];
                    *known = joined(known, row);
                }
                Err(place) => table.layers.insert(place, row),
            }
        }
        self.version += 1;
    }
}

/// `new`, with what only `known` has.
fn joined(known: &LayerSensitivity, mut new: LayerSensitivity) -> LayerSensitivity {
    for (cell, old) in new.errors.iter_mut().zip(&known.errors) {
        *cell = cell.or(*old);
    }
    for probe in &known.probes {
        if new.probes.iter().all(|own| own.option != probe.option) {
            new.probes.push(*probe);
        }
    }
    new
}

/// A table without rows.
pub(super) fn empty_table(measure: Measure, method: Method) -> SensitivityTable {
    SensitivityTable {
        measure,
        method,
        options: LayerOption::all(),
        layers: Vec::new(),
        anchors: Vec::new(),
        scored: 0,
    }
}

impl Basis {
    /// What a table of `draft` is about: settings of most of its quantized inner layers.
    pub fn of(draft: &Draft, layers: &[LayerInfo]) -> Self {
        let plain = Recipe::default().default;
        let neutral = |settings: &LayerSettings| LayerSettings {
            bits: plain.bits,
            group: plain.group,
            // Options say by themselves what is pruned or factored.
            prune: plain.prune,
            rank: plain.rank,
            palette_rows: plain.palette_rows,
            ..settings.of_weights()
        };
        let is_inner =
            |info: &LayerInfo| !matches!(info.kind, LayerKind::Embedding | LayerKind::Head);
        let inner = layers.iter().zip(&draft.settings);
        let quantized = inner.filter(|(info, settings)| {
            info.compressible && is_inner(info) && settings.method != Method::None
        });
        let most = most_frequent(quantized.map(|(_, settings)| neutral(settings)));
        let mut settings = most.unwrap_or_else(|| neutral(&draft.template));
        settings.method = match settings.method {
            Method::None | Method::Float => plain.method,
            // Options are grids.
            Method::Nf4 | Method::Palette => Method::Rtn,
            method => method,
        };
        Self {
            settings,
            calibration: draft.calibration.clone(),
        }
    }

    /// The method that errors are about.
    pub fn method(&self) -> Method {
        self.settings.method
    }

    /// What is asked of the engine.
    pub(super) fn request(
        &self,
        format: Format,
        effort: SensitivityEffort,
        is_encoder: bool,
    ) -> SensitivityRequest {
        SensitivityRequest {
            recipe: Recipe {
                default: self.settings,
                calibration: self.calibration.clone(),
                ..Recipe::default()
            },
            format,
            options: LayerOption::all(),
            ends: true,
            effort: match effort {
                SensitivityEffort::Quick => Effort::quick(),
                SensitivityEffort::Full => Effort::full(self.settings.group),
            },
            slice: Slice::usual(is_encoder),
        }
    }
}

//! A compressed run with better numbers: what learning leaves of a student becomes a run like the one it came from.
//!
//! Recipe and plan are the student's; its layers are stored again with new scales or codes, assembled, reopened and
//! compared as after any solver. Knows no loss and no optimizer.

mod folds;
mod merge;

pub(super) use merge::{Merged, requantized, unmergeable};

use super::report_file::read_report;
use super::requests::CompressReport;
use super::{Session, SessionError};
use crate::compress::redescribe;
use crate::formats::layout::{Held, Plan, PlanSource, plan};
use crate::formats::{Format, RunFolder, assemble_run, verify_run};
use crate::model::{ChangedTensor, LayerInfo, Model};
use crate::packed::{ActivationPlan, OriginalTensor, PackedSource};
use crate::report::{LayerReport, Observer};
use crate::solved::{Method, Solved};
use crate::train::scales::TrainedLayer;
use folds::{asks_for_fold, folded_layers};
use std::collections::{HashMap, HashSet};

/// What learning leaves of a student.
#[derive(Debug, Clone, Default)]
pub(super) struct Recovered {
    /// Layers with new codes or scales.
    pub(super) layers: Vec<TrainedLayer>,
    /// Dense tensors that changed.
    pub(super) tensors: Vec<ChangedTensor>,
}

/// A run as it was written, to be written again.
struct Rewriting {
    report: CompressReport,
    /// One for each layer of the report.
    infos: Vec<LayerInfo>,
    plan: Plan,
}

impl Session {
    /// The report of the run that is open; whoever is no run cannot be recovered as one.
    pub(super) fn own_report(&self) -> Result<CompressReport, SessionError> {
        read_report(&self.path)
    }

    /// For each layer, whether a fold may have changed its weights before the run solved them.
    pub(super) fn folded(&self, report: &CompressReport) -> Result<Vec<bool>, SessionError> {
        let asking = report.layers.iter().filter(|layer| asks_for_fold(layer));
        let asking: HashSet<&str> = asking.map(|layer| layer.name.as_str()).collect();
        let asks = |info: &LayerInfo| asking.contains(info.name.as_str());
        Ok(folded_layers(self.model()?, &asks))
    }

    /// Writes this run again into `run` with what was `recovered`; errors of layers are told against `teacher`. Neither
    /// measured nor finished: the report lacks its evaluation.
    pub(super) fn write_recovered(
        &self,
        teacher: &Model,
        recovered: &Recovered,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<CompressReport, SessionError> {
        let rewriting = self.rewriting()?;
        let layers = self.store_layers(teacher, &rewriting, recovered, run, observer)?;
        for (name, shape, values) in &recovered.tensors {
            run.store_changed_tensor(name, shape, values)?;
        }
        let source = self.checkpoint.as_ref();
        assemble_run(run.partial(), &rewriting.plan, source, observer)?;
        let verified = verify_run(run.partial(), &rewriting.plan, observer)?;
        Ok(CompressReport {
            out: run.finished().display().to_string(),
            format: Format::Pare.word().to_owned(),
            bytes_after: rewriting.plan.bytes,
            stages: Vec::new(),
            layers,
            verified,
            evaluation: None,
            ..rewriting.report
        })
    }

    /// What this run was made of, and every file that it would be written into again.
    fn rewriting(&self) -> Result<Rewriting, SessionError> {
        let report = self.own_report()?;
        let by_name: HashMap<&str, &LayerInfo> = self
            .layers
            .iter()
            .map(|info| (info.name.as_str(), info))
            .collect();
        let (mut infos, mut held) = (Vec::new(), Vec::new());
        for layer in &report.layers {
            let info = by_name.get(layer.name.as_str()).ok_or_else(|| {
                self.input_problem(&format!(
                    "the run's report tells of a layer {} that the model lacks; compress again",
                    layer.name
                ))
            })?;
            infos.push(LayerInfo {
                packed: false,
                dtype: self.original_tensor(info).dtype,
                ..(*info).clone()
            });
            held.push(Held {
                settings: layer.settings,
                fallback: layer.fallback.clone(),
            });
        }
        let source = PlanSource {
            weights: self.checkpoint.as_ref(),
            packed: None,
            config: self.checkpoint.config_json(),
            root: self.checkpoint.root(),
            side_files: self.checkpoint.side_files(),
            made_files: self.checkpoint.made_files(),
        };
        let plan = plan(Format::Pare, &source, &infos, &held)?;
        Ok(Rewriting {
            report,
            infos,
            plan,
        })
    }

    /// The dense tensor that a layer's codes stand for.
    pub(super) fn original_tensor(&self, info: &LayerInfo) -> OriginalTensor {
        let manifest = PackedSource::manifest(self.checkpoint.as_ref(), &info.tensor);
        manifest.map_or_else(
            || OriginalTensor {
                name: info.tensor.clone(),
                shape: info.shape.clone(),
                dtype: info.dtype,
                transposed: info.transposed,
            },
            |manifest| manifest.tensor.clone(),
        )
    }

    fn store_layers(
        &self,
        teacher: &Model,
        rewriting: &Rewriting,
        recovered: &Recovered,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Vec<LayerReport>, SessionError> {
        let mut reports = Vec::new();
        let folded = self.folded(&rewriting.report)?;
        for (info, report) in rewriting.infos.iter().zip(&rewriting.report.layers) {
            observer.check()?;
            let stored = PackedSource::solved(self.checkpoint.as_ref(), &info.tensor)?;
            let Some(stored) = stored.filter(|_| report.settings.method != Method::None) else {
                reports.push(report.clone());
                continue;
            };
            let learnt = recovered.layers.iter().find(|layer| {
                let learnt = self.layers.get(layer.layer);
                learnt.is_some_and(|learnt| learnt.tensor == info.tensor)
            });
            let (solved, activations): (Solved, ActivationPlan) = match learnt {
                Some(layer) => (layer.solved.clone(), layer.activations),
                None => stored,
            };
            let report = match learnt {
                Some(layer) => {
                    let known = !folded[layer.layer] && same_layer(teacher, info);
                    let weights = known.then(|| info.read(teacher.source().as_ref()));
                    redescribe(report, weights.transpose()?.as_ref(), &solved)
                }
                None => report.clone(),
            };
            run.store_layer(self.original_tensor(info), &solved, &activations, &report)?;
            reports.push(report);
        }
        Ok(reports)
    }
}

/// Whether `teacher` has a layer of this name and shape.
fn same_layer(teacher: &Model, info: &LayerInfo) -> bool {
    let layers = teacher.layers().iter();
    let mut same = layers.filter(|own| own.tensor == info.tensor && own.shape == info.shape);
    same.next().is_some()
}

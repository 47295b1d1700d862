//! Learned rounding as a run: finished blocks lie in the run's own folder, so that a stopped run goes on behind them.

use super::super::recovery::Recovered;
use super::super::requests::CompressReport;
use super::super::{Session, SessionError};
use super::STATE;
use super::modes::Reports;
use super::prepare::Prepared;
use super::text::sequence_length;
use crate::formats::store::OWN_FOLDER;
use crate::formats::store::atomic::write_bytes;
use crate::formats::{RunFolder, StoreError};
use crate::model::LayerKind;
use crate::recipe::CalibrationSettings;
use crate::recover::{BlockRecovery, FinishedBlock, Keeper, Recovery, RoundingJob, learn_rounding};
use crate::report::Observer;
use crate::train::rounding::RoundingConfig;
use crate::train::scales::TrainedLayer;
use crate::train::{Outcome, Progressed, TrainError};
use std::fs;
use std::path::{Path, PathBuf};

impl Session {
    pub(super) fn train_rounding(
        &self,
        prepared: &Prepared<'_>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Reports, SessionError> {
        let (student, settings) = (&prepared.student, &prepared.settings);
        let report = student.own_report()?;
        let before = self.measure_before(prepared, observer)?;
        let sequences = self.draw_sequences(&self.rounding_text(prepared)?)?;
        let keeper = Blocks {
            run,
            student,
            folder: run.partial().join(OWN_FOLDER).join(STATE),
            report: &report,
        };
        let recovery = learn_rounding(
            RoundingJob {
                original: self.model()?,
                student: student.model()?,
                codes: student.checkpoint.as_ref(),
                folded: &student.folded(&report)?,
                sequences: &sequences,
                spill: &self.spill_policy(run.partial()),
                config: RoundingConfig {
                    steps: settings.steps,
                    batch: settings.batch,
                    rate: settings.rate,
                    clip_rate: 0.0,
                    seed: settings.seed,
                },
                keeper: &keeper,
            },
            observer,
        )?;
        let outcome = outcome(&recovery, settings.steps);
        let learnt = recovery.layers.iter();
        let trained = learnt.map(|layer| layer.solved.codes.values.len() as u64);
        let trained = trained.sum();
        let recovered = Recovered {
            layers: recovery.layers,
            tensors: Vec::new(),
        };
        let written = student.write_recovered(self.model()?, &recovered, run, observer)?;
        let (measured, _) = self.measure_after(prepared, before, run, observer)?;
        let told = (measured, written.verified, written.bytes_after, None);
        let report = self.training_report(prepared, trained, outcome, told)?;
        Ok((report, Some(written)))
    }

    /// Where sequences are drawn from: as calibration does, in the length that training asks for.
    fn rounding_text(&self, prepared: &Prepared<'_>) -> Result<CalibrationSettings, SessionError> {
        let (settings, model) = (&prepared.settings, prepared.student.model()?);
        self.fitting(&CalibrationSettings {
            length: sequence_length(settings, model.config(), model.is_encoder()),
            ..prepared.request.recipe.calibration.clone()
        })
    }
}

/// The course of all blocks: means of their errors.
fn outcome(recovery: &Recovery, steps: u64) -> Outcome {
    let blocks = recovery.blocks.len().max(1) as f64;
    let mean = |error: &dyn Fn(&BlockRecovery) -> f64| {
        let errors = recovery.blocks.iter().map(error);
        Some(errors.sum::<f64>() / blocks)
    };
    Outcome {
        progressed: Progressed {
            step: steps,
            loss_first: mean(&|block| block.error_before),
            loss_last: mean(&|block| block.error_after),
            ..Progressed::default()
        },
        step_seconds: 0.0,
        timed_steps: 0,
        timed_tokens: 0,
    }
}

/// Blocks in a run's own folder: their layers as of any run, and a mark for each block that is whole.
struct Blocks<'a> {
    run: &'a RunFolder,
    student: &'a Session,
    folder: PathBuf,
    report: &'a CompressReport,
}

impl Blocks<'_> {
    fn mark(&self, block: usize) -> PathBuf {
        self.folder.join(format!("block-{block}.txt"))
    }
}

impl Keeper for Blocks<'_> {
    fn find(&self, block: usize) -> Result<Option<FinishedBlock>, TrainError> {
        let Some((recovery, names)) = read_mark(&self.mark(block), block) else {
            return Ok(None);
        };
        let mut layers = Vec::new();
        let infos = self.student.layers.iter().enumerate();
        let own = infos.filter(|(_, info)| info.block == Some(block));
        for (layer, info) in own.filter(|(_, info)| info.kind == LayerKind::Linear) {
            if !names.contains(&info.name) {
                continue;
            }
            let Some(stored) = self.run.finished_layer(&info.name)? else {
                return Ok(None);
            };
            layers.push(TrainedLayer {
                layer,
                solved: stored.solved,
                activations: stored.activations,
            });
        }
        let is_whole = layers.len() == names.len();
        Ok(is_whole.then_some(FinishedBlock { recovery, layers }))
    }

    fn keep(&self, block: &FinishedBlock) -> Result<(), TrainError> {
        let infos = &self.student.layers;
        let mut names = Vec::new();
        for layer in &block.layers {
            let info = &infos[layer.layer];
            let reports = self.report.layers.iter();
            let told = reports.clone().find(|report| report.name == info.name);
            let told = told.ok_or_else(|| {
                TrainError::misuse(format!(
                    "the run's report does not tell of layer {}; compress again",
                    info.name
                ))
            })?;
            let tensor = self.student.original_tensor(info);
            self.run
                .store_layer(tensor, &layer.solved, &layer.activations, told)?;
            names.push(info.name.as_str());
        }
        let failed = StoreError::io("could not be created", &self.folder);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let text = mark_text(&block.recovery, &names);
        write_bytes(&self.mark(block.recovery.block), text.as_bytes())?;
        Ok(())
    }
}

/// Errors in the shortest digits that read back as the same numbers, the step, and the layers.
fn mark_text(recovery: &BlockRecovery, names: &[&str]) -> String {
    format!(
        "{:?}\n{:?}\n{}\n{}\n",
        recovery.error_before,
        recovery.error_after,
        recovery.best_step,
        names.join("\n")
    )
}

/// A mark that is not whole is none.
fn read_mark(path: &Path, block: usize) -> Option<(BlockRecovery, Vec<String>)> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let recovery = BlockRecovery {
        block,
        error_before: lines.next()?.parse().ok()?,
        error_after: lines.next()?.parse().ok()?,
        best_step: lines.next()?.parse().ok()?,
    };
    let names: Vec<String> = lines.map(str::to_owned).collect();
    (!names.is_empty()).then_some((recovery, names))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn marks_read_back_to_the_last_bit_and_damaged_ones_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let recovery = BlockRecovery {
            block: 3,
            error_before: 1.0 / 3.0,
            error_after: 1e-17,
            best_step: 190,
        };
        let write = |text: &str| write_bytes(&path, text.as_bytes()).unwrap();
        assert_eq!(read_mark(&path, 3), None, "there is none");
        let text = mark_text(&recovery, &["a.q", "a.k"]);
        write(&text);
        let names = vec!["a.q".to_owned(), "a.k".to_owned()];
        assert_eq!(read_mark(&path, 3), Some((recovery, names)));
        write("0.5\n0.25\n");
        assert_eq!(read_mark(&path, 3), None);
        write("0.5\n0.25\n7\n");
        assert_eq!(read_mark(&path, 3), None, "a block without layers");
    }
}

//! Modes that learn on a compressed student, or beside a frozen one.
//!
//! A student without codes is compressed first, as the recipe says, in the run's own folder. What comes out is a run of
//! the same recipe with better numbers, or an adapter's folder.

use super::super::evaluate_job::open_runnable;
use super::super::recovery::Recovered;
use super::super::requests::{CompressReport, CompressRequest};
use super::super::{Session, SessionError};
use super::{Measured, Prepared};
use crate::formats::{Format, RunFolder, StoreError};
use crate::model::{Model, ModelError, Provider};
use crate::packed::PackedSource;
use crate::recipe::{Recipe, TrainMode};
use crate::recover::{RoundingJob, learn_rounding};
use crate::report::{DistillReport, Observer};
use crate::train::qat::QatLearner;
use crate::train::rounding::RoundingConfig;
use crate::train::scales::{ScaleLearner, ScaleOptions};
use crate::train::{Learner, Outcome, Progressed, TrainError};
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of the compressed start, inside the run's own.
pub(super) const START: &str = "start";

/// A report, and that of the run whose recipe the result follows; `None` where the result is a dense model or an adapter.
pub(super) type Reports = (DistillReport, Option<CompressReport>);

impl Session {
    /// Trains whatever the mode says.
    pub(super) fn train_mode(
        &self,
        prepared: &Prepared<'_>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Reports, SessionError> {
        let student = &prepared.student;
        let codes = student.checkpoint.as_ref();
        match prepared.settings.mode {
            TrainMode::Weights => Ok((self.train_weights(prepared, run, observer)?, None)),
            TrainMode::Adapter => self.train_adapter(prepared, run, observer),
            TrainMode::Round => self.train_rounding(prepared, run, observer),
            TrainMode::Scales => {
                let learner = ScaleLearner::new(student.model()?, codes, ScaleOptions::default())?;
                self.train_codes(prepared, &learner, run, observer, &|| {
                    Ok(Recovered {
                        layers: learner.layers()?,
                        tensors: learner.changed_tensors()?,
                    })
                })
            }
            TrainMode::Qat => {
                let original = self.model().ok().filter(|own| is_before(own, student));
                let learner = QatLearner::new(student.model()?, codes, original)?;
                self.train_codes(prepared, &learner, run, observer, &|| {
                    Ok(Recovered {
                        layers: learner.layers()?,
                        tensors: learner.changed_tensors()?,
                    })
                })
            }
        }
    }

    /// A learner over codes: trained, stored as a run, measured.
    fn train_codes(
        &self,
        prepared: &Prepared<'_>,
        learner: &dyn Learner,
        run: &RunFolder,
        observer: &dyn Observer,
        take: &dyn Fn() -> Result<Recovered, TrainError>,
    ) -> Result<Reports, SessionError> {
        let student = &prepared.student;
        student.own_report()?;
        let teacher = self.model_on_kernels()?;
        let own = student.model_on_kernels()?;
        let mut measured = Measured {
            before: student.measure_for(prepared, &own, Some(&teacher), observer)?,
            after: None,
        };
        let outcome = self.with_judge(prepared, observer, |judge| {
            self.train(prepared, learner, judge, run, observer)
        })?;
        let written = student.write_recovered(self.model()?, &take()?, run, observer)?;
        let reopened = open_runnable(run.partial())?;
        measured.after = student.measure_for(prepared, &reopened, Some(&teacher), observer)?;
        let difference = match prepared
            .batches
            .held_out()
            .first()
            .map(|batch| batch.sequences())
        {
            Some([first, ..]) => Some(difference(
                student.model()?,
                learner.provider(),
                &reopened,
                first,
            )?),
            _ => None,
        };
        let told = (measured, written.verified, written.bytes_after, None);
        let trained = count(learner);
        let mut report = self.training_report(prepared, trained, outcome, told)?;
        report.export_difference = difference;
        Ok((report, Some(written)))
    }

    fn train_rounding(
        &self,
        prepared: &Prepared<'_>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Reports, SessionError> {
        let (student, settings) = (&prepared.student, &prepared.settings);
        student.own_report()?;
        let teacher = self.model_on_kernels()?;
        let own = student.model_on_kernels()?;
        let mut measured = Measured {
            before: student.measure_for(prepared, &own, Some(&teacher), observer)?,
            after: None,
        };
        let text = self.fitting(&prepared.request.recipe.calibration)?;
        let sequences = self.draw_sequences(&text)?;
        let recovery = learn_rounding(
            RoundingJob {
                original: self.model()?,
                student: student.model()?,
                codes: student.checkpoint.as_ref(),
                sequences: &sequences,
                spill: &self.spill_policy(run.partial()),
                config: RoundingConfig {
                    steps: settings.steps,
                    batch: settings.batch,
                    seed: settings.seed,
                    ..RoundingConfig::default()
                },
            },
            observer,
        )?;
        let blocks = recovery.blocks.len().max(1) as f64;
        let mean = |errors: &dyn Fn(usize) -> f64| {
            (0..recovery.blocks.len()).map(errors).sum::<f64>() / blocks
        };
        let outcome = Outcome {
            progressed: Progressed {
                step: settings.steps,
                loss_first: Some(mean(&|block| recovery.blocks[block].error_before)),
                loss_last: Some(mean(&|block| recovery.blocks[block].error_after)),
                ..Progressed::default()
            },
            step_seconds: 0.0,
            timed_steps: 0,
            timed_tokens: 0,
        };
        let learnt = recovery.layers.iter();
        let learnt = learnt.map(|layer| layer.solved.codes.values.len() as u64);
        let trained = learnt.sum();
        let recovered = Recovered {
            layers: recovery.layers,
            tensors: Vec::new(),
        };
        let written = student.write_recovered(self.model()?, &recovered, run, observer)?;
        let reopened = open_runnable(run.partial())?;
        measured.after = student.measure_for(prepared, &reopened, Some(&teacher), observer)?;
        let told = (measured, written.verified, written.bytes_after, None);
        let report = self.training_report(prepared, trained, outcome, told)?;
        Ok((report, Some(written)))
    }

    /// The student as a run with codes: as it lies, or compressed in `folder` as the recipe says.
    pub(super) fn compressed_start(
        &self,
        student: PathBuf,
        recipe: &Recipe,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<PathBuf, SessionError> {
        let session = Self::open_within(&student, self.options.clone(), self.pool.clone())?;
        if session.has_codes() {
            return Ok(student);
        }
        if folder
            .join(crate::formats::store::OWN_FOLDER)
            .join("report.json")
            .is_file()
        {
            return Ok(folder.to_owned());
        }
        let mut partial = folder.as_os_str().to_owned();
        partial.push(".partial");
        for left in [folder.to_owned(), partial.into()] {
            if left.exists() {
                fs::remove_dir_all(&left).map_err(StoreError::io("could not be removed", &left))?;
            }
        }
        let request = CompressRequest {
            recipe: Recipe {
                train: None,
                calibration: session.fitting(&recipe.calibration)?,
                ..recipe.clone()
            },
            out: folder.to_owned(),
            format: Format::Pare,
            evaluate: None,
            resume: false,
            keep_layers: true,
        };
        session.compress_here(&request, observer)?;
        Ok(folder.to_owned())
    }

    /// Whether some layer is held as codes.
    pub(super) fn has_codes(&self) -> bool {
        let mut layers = self.layers.iter();
        layers.any(|layer| PackedSource::is_packed(self.checkpoint.as_ref(), &layer.tensor))
    }
}

/// Values that a learner changes.
pub(super) fn count(learner: &dyn Learner) -> u64 {
    let variables = learner.variables().iter();
    variables
        .map(|variable| variable.var.elem_count() as u64)
        .sum()
}

/// Whether `original` is the network that `student` was made of, before any fold: the same tensors, and dense vectors
/// that nobody changed.
fn is_before(original: &Model, student: &Session) -> bool {
    let Ok(model) = student.model() else {
        return false;
    };
    let pairs = || original.layers().iter().zip(model.layers());
    let same = |(one, other): (&crate::model::LayerInfo, &crate::model::LayerInfo)| {
        one.tensor == other.tensor && one.shape == other.shape
    };
    let is_alike = original.layers().len() == model.layers().len() && pairs().all(same);
    is_alike
        && pairs().all(|(one, _)| {
            let is_vector = one.shape.len() == 1 && one.dtype.is_float();
            let read = |model: &Model| model.source().read_f32(&one.tensor).ok();
            !is_vector || read(original) == read(model)
        })
}

/// Largest difference of two networks' outputs on one sequence, over the largest output: `provider`'s of `model`'s shape,
/// and `other`.
fn difference(
    model: &Model,
    provider: &dyn Provider,
    other: &Model,
    ids: &[u32],
) -> Result<f64, ModelError> {
    let context = model.context(ids.len())?;
    let ends = model.build_ends(provider)?;
    let mut hidden = ends.embed(ids, &context)?.detach();
    for index in 0..model.config().blocks {
        let block = model.build_block(index, provider)?;
        hidden = block.forward(&hidden, &context, None)?.detach();
    }
    let plain = |tensor: candle_core::Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    let (shown, found) = (plain(ends.head(&hidden)?)?, plain(other.forward(ids)?)?);
    let largest = found
        .iter()
        .fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let pairs = shown.iter().zip(&found);
    let errors = pairs.map(|(one, other)| f64::from((one - other).abs()));
    Ok(errors.fold(0.0, f64::max) / f64::from(largest))
}

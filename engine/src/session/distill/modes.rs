//! Modes that learn on a compressed student, or beside a frozen one.
//!
//! A student without codes is compressed first, as the recipe says, in the run's own folder. What comes out is a run of
//! the same recipe with better numbers, or an adapter's folder.

use super::super::evaluate_job::open_runnable;
use super::super::recovery::Recovered;
use super::super::requests::{CompressReport, CompressRequest};
use super::super::{Session, SessionError};
use super::prepare::Prepared;
use super::report::mode_word;
use super::{DistillRequest, Measured};
use crate::distortion::worst;
use crate::formats::store::OWN_FOLDER;
use crate::formats::{Format, RunFolder, StoreError};
use crate::model::{Model, ModelError, Provider};
use crate::packed::PackedSource;
use crate::recipe::{Recipe, TrainMode, TrainSettings};
use crate::recover::is_of_original;
use crate::report::{DistillReport, Evaluation, Observer};
use crate::train::qat::QatLearner;
use crate::train::scales::{ScaleLearner, ScaleOptions};
use crate::train::{Learner, TrainError};
use std::collections::BTreeMap;
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
                let folded = student.folded(&student.own_report()?)?;
                let starts = self.original_starts(student, &folded)?;
                let own = self.model()?;
                let original = |layer: usize| starts[layer].then_some(own);
                let learner = QatLearner::new(student.model()?, codes, &original)?;
                self.train_codes(prepared, &learner, run, observer, &|| {
                    Ok(Recovered {
                        layers: learner.layers()?,
                        tensors: learner.changed_tensors()?,
                    })
                })
            }
        }
    }

    /// An error where the mode cannot do what the request asks beside it.
    pub(super) fn check_mode(
        &self,
        request: &DistillRequest,
        mode: TrainMode,
    ) -> Result<(), SessionError> {
        let settings = request.recipe.train.as_ref();
        if mode != TrainMode::Weights && settings.is_some_and(|train| train.prune.is_some()) {
            return Err(self.input_problem(
                "zeros grow only while every weight of a dense student is trained; leave prune out of [train], or prune with pare compress",
            ));
        }
        if mode == TrainMode::Round && !request.others.is_empty() {
            return Err(self.input_problem(
                "rounding is learnt towards the blocks of one model; name only the model that the student was compressed from as --teacher",
            ));
        }
        Ok(())
    }

    /// An error where `student` is nothing that the mode can begin with or end in, as far as headers tell.
    pub(super) fn check_start(
        &self,
        student: &Self,
        settings: &TrainSettings,
    ) -> Result<(), SessionError> {
        match settings.mode {
            TrainMode::Weights => Ok(()),
            TrainMode::Scales | TrainMode::Round | TrainMode::Qat => student.own_report().map(drop),
            TrainMode::Adapter => self.check_adapter(student, settings),
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
        let before = self.measure_before(prepared, observer)?;
        let outcome = self.with_judge(prepared, observer, |judge| {
            self.train(prepared, learner, judge, run, observer)
        })?;
        let written = student.write_recovered(self.model()?, &take()?, run, observer)?;
        let (measured, reopened) = self.measure_after(prepared, before, run, observer)?;
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

    /// For each layer of `student`, whether this model holds the weights that its codes were chosen for.
    fn original_starts(&self, student: &Self, folded: &[bool]) -> Result<Vec<bool>, SessionError> {
        let (own, model) = (self.model()?, student.model()?);
        let names = |model: &Model| -> Vec<(String, Vec<usize>)> {
            let layers = model.layers().iter();
            let names = layers.map(|layer| (layer.tensor.clone(), layer.shape.clone()));
            names.collect()
        };
        if names(own) != names(model) {
            return Ok(vec![false; folded.len()]);
        }
        let mut by_block = BTreeMap::new();
        let mut starts = Vec::new();
        for (info, is_folded) in model.layers().iter().zip(folded) {
            let is_own = match by_block.get(&info.block) {
                Some(&known) => known,
                None => {
                    let found = is_of_original([own, model], folded, info.block)?;
                    *by_block.entry(info.block).or_insert(found)
                }
            };
            starts.push(is_own && !is_folded);
        }
        Ok(starts)
    }

    /// The student on the evaluation text before anything is learnt.
    pub(super) fn measure_before(
        &self,
        prepared: &Prepared<'_>,
        observer: &dyn Observer,
    ) -> Result<Option<Evaluation>, SessionError> {
        let (student, teacher) = (&prepared.student, self.model_on_kernels()?);
        student.measure_for(
            prepared,
            &student.model_on_kernels()?,
            Some(&teacher),
            observer,
        )
    }

    /// The same of what was written, opened again.
    pub(super) fn measure_after(
        &self,
        prepared: &Prepared<'_>,
        before: Option<Evaluation>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<(Measured, Model), SessionError> {
        let teacher = self.model_on_kernels()?;
        let reopened = open_runnable(run.partial())?;
        let student = &prepared.student;
        let after = student.measure_for(prepared, &reopened, Some(&teacher), observer)?;
        Ok((Measured { before, after }, reopened))
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
        if folder.join(OWN_FOLDER).join("report.json").is_file() {
            return Ok(folder.to_owned());
        }
        let mut partial = folder.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let resume = partial.join(OWN_FOLDER).join("fingerprint").is_file();
        for left in [folder, &partial] {
            let is_kept = resume && left == partial;
            if left.exists() && !is_kept {
                fs::remove_dir_all(left).map_err(StoreError::io("could not be removed", left))?;
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
            resume,
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

/// A warning where keys are set at which the mode does not look.
pub(super) fn idle_words(settings: &TrainSettings) -> Vec<String> {
    let idle = settings.idle_keys();
    let told = (!idle.is_empty()).then(|| {
        format!(
            "training in the mode {} does not look at {}, as [train] or the command line has set",
            mode_word(settings.mode),
            idle.join(", ")
        )
    });
    told.into_iter().collect()
}

/// Values that a learner changes.
pub(super) fn count(learner: &dyn Learner) -> u64 {
    let variables = learner.variables().iter();
    variables
        .map(|variable| variable.var.elem_count() as u64)
        .sum()
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
    let most = errors.fold(0.0, worst) / f64::from(largest);
    match most.is_finite() {
        true => Ok(most),
        false => Err(ModelError::Misuse {
            problem: "the student that was written gives outputs that are no finite numbers; train with a lower rate"
                .to_owned(),
        }),
    }
}

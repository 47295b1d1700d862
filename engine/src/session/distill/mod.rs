//! `distill`: a student is trained against teachers, written, reopened and measured.
//!
//! The way: student (`student`) -> text (`text`) -> memory stated (`memory`) -> the loop (`train`) -> files (`write`) ->
//! measured -> named. `OUT.partial/` holds everything until the end; stopped, it holds what the next try goes on from.

mod adapting;
mod foresee;
mod memory;
mod merging;
mod mode_memory;
mod modes;
mod prepare;
mod report;
mod request;
mod rounding;
mod samples;
mod sides;
mod student;
mod teachers;
mod text;
mod vocabulary;
mod write;

pub use foresee::TrainForesight;
pub use report::read_distill_report;
pub use request::{DistillRequest, NoStudent, OtherTeacher, StudentSpec};

use super::environment::{Texts, environment};
use super::evaluate_job::open_runnable;
use super::machine::peak_rss_bytes;
use super::requests::EvaluateRequest;
use super::{Session, SessionError};
use crate::formats::store::OWN_FOLDER;
use crate::formats::{RunFolder, StoreError};
use crate::model::Model;
use crate::report::{DistillReport, Evaluation, Observer};
use crate::train::{Dense, Judge, Learner, Outcome, TrainError, Training};
use modes::{START, count};
use prepare::Prepared;
use samples::Samples;
use std::fs;
use std::time::Instant;
use write::verify;

/// Folders inside the run's own while it works.
const STUDENT: &str = "student";
const STATE: &str = "train";

/// What is measured around training.
#[derive(Default)]
struct Measured {
    before: Option<Evaluation>,
    after: Option<Evaluation>,
}

impl Session {
    /// Trains a student with the open model as the first teacher.
    pub fn distill(
        &self,
        request: &DistillRequest,
        observer: &dyn Observer,
    ) -> Result<DistillReport, SessionError> {
        self.install(|| self.distill_here(request, observer))
    }

    fn distill_here(
        &self,
        request: &DistillRequest,
        observer: &dyn Observer,
    ) -> Result<DistillReport, SessionError> {
        let started = Instant::now();
        let settings = request.recipe.train.clone().unwrap_or_default();
        self.model()?;
        self.check(&settings)?;
        self.check_mode(request, settings.mode)?;
        let others = self.other_teachers(request)?;
        let run = self.open_run(request, &settings, &others, observer)?;
        let own = run.partial().join(OWN_FOLDER);
        let text = request.recipe.calibration.corpus.as_deref();
        let texts = Texts::of(text, request.evaluate.as_deref(), observer);
        let prepared = match self.prepare_training(request, settings, others, &own, observer) {
            Ok(prepared) => prepared,
            Err(error) => {
                // What cannot be trained leaves nothing in the way of the next try.
                if !request.resume && !error.is_stopped() {
                    let _ = fs::remove_dir_all(run.partial());
                }
                return Err(error);
            }
        };
        let (mut report, written) = self.train_mode(&prepared, &run, observer)?;
        let mut done = vec![own.join(STUDENT), own.join(STATE), own.join(START)];
        if written.is_none() {
            // Layers of a compressed run; here there are none.
            done.push(own.join("changed"));
        }
        for folder in done {
            if folder.exists() {
                fs::remove_dir_all(&folder)
                    .map_err(StoreError::io("could not be removed", &folder))?;
            }
        }
        report.seconds = started.elapsed().as_secs_f64();
        report.peak_rss_bytes = peak_rss_bytes();
        let json = report::json(&report, written.as_ref(), &environment(texts));
        run.finish(&json, written.is_some())?;
        Ok(report)
    }

    /// Every weight of a dense student.
    fn train_weights(
        &self,
        prepared: &Prepared<'_>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<DistillReport, SessionError> {
        let student = &prepared.student;
        let model = student.model()?;
        let settings = &prepared.settings;
        let mut learner = Dense::new(model)?;
        if let Some(plan) = settings.prune {
            learner = learner.pruned(model, plan, settings.steps);
        }
        let mut measured = Measured {
            before: student.measure_for(prepared, model, None, observer)?,
            after: None,
        };
        let outcome = self.with_judge(prepared, observer, |judge| {
            self.train(prepared, &learner, judge, run, observer)
        })?;
        let values = |name: &str| learner.values(name);
        let bytes = student.write_trained(&values, run.partial(), observer)?;
        let verified = verify(run.partial(), &values)?;
        let written = open_runnable(run.partial())?;
        let teacher = self.model_on_kernels()?;
        measured.after = student.measure_for(prepared, &written, Some(&teacher), observer)?;
        let sparsity = learner
            .pruner()
            .map(|pruner| pruner.sparsity())
            .transpose()?;
        self.training_report(
            prepared,
            count(&learner),
            outcome,
            (measured, verified, bytes, sparsity),
        )
    }

    fn train(
        &self,
        prepared: &Prepared<'_>,
        learner: &dyn Learner,
        judge: &dyn Judge,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Outcome, SessionError> {
        let state = run.partial().join(OWN_FOLDER).join(STATE);
        fs::create_dir_all(&state).map_err(StoreError::io("could not be created", &state))?;
        let training = Training {
            model: prepared.student.model()?,
            learner,
            judge,
            batches: &prepared.batches,
            settings: &prepared.settings,
            folder: Some(&state),
        };
        let samples = Samples {
            observer,
            model: training.model,
            learner,
            tokenizer: self.tokenizer()?,
        };
        Ok(training.run(&samples)?)
    }

    /// Quality on the evaluation text, where one is named; `self` is the student.
    fn measure_for(
        &self,
        prepared: &Prepared<'_>,
        model: &Model,
        reference: Option<&Model>,
        observer: &dyn Observer,
    ) -> Result<Option<Evaluation>, SessionError> {
        let Some(text) = &prepared.request.evaluate else {
            return Ok(None);
        };
        // Alone, an encoder has nothing to be compared with.
        if model.is_encoder() && reference.is_none() {
            return Ok(None);
        }
        let rows = model.config().vocabulary;
        let other = reference.map(|reference| reference.config().vocabulary);
        let reference = match other.filter(|&other| other != rows && !model.is_encoder()) {
            Some(other) => {
                let warning = format!(
                    "the student's vocabulary has {rows} rows and the teacher's {other}: what each says of the text is not compared"
                );
                prepared.warn(observer, warning);
                None
            }
            None => reference,
        };
        let asked = EvaluateRequest {
            corpus: Some(text.clone()),
            reference: None,
            length: None,
            windows: None,
            sts: None,
            kv: None,
        };
        self.measure(model, reference, &asked, observer).map(Some)
    }
}

impl From<TrainError> for SessionError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Stopped(stopped) => Self::Stopped(stopped),
            TrainError::Model(error) => Self::Model(error),
            TrainError::Store(error) => error.into(),
            error => Self::Train(error),
        }
    }
}

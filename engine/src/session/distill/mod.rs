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
mod report;
mod request;
mod rounding;
mod samples;
mod student;
mod teachers;
mod text;
mod write;

pub use foresee::TrainForesight;
pub use report::read_distill_report;
pub use request::{DistillRequest, NoStudent, OtherTeacher, StudentSpec};

use super::environment::environment;
use super::evaluate_job::open_runnable;
use super::machine::peak_rss_bytes;
use super::requests::EvaluateRequest;
use super::{Session, SessionError};
use crate::formats::store::{Fingerprint, OWN_FOLDER};
use crate::formats::{RunFolder, StoreError};
use crate::measure::best_fma_gflops;
use crate::model::Model;
use crate::recipe::{Recipe, TrainMode, TrainSettings};
use crate::report::{DistillReport, Evaluation, Notice, Observer, Verified};
use crate::train::{Batches, Dense, Judge, Learner, Outcome, TrainError, Training};
use crate::units::{Bytes, hex};
use memory::{TrainMemory, step_operations};
use mode_memory::WeightMemory;
use modes::{START, count, idle_words};
use samples::Samples;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::time::Instant;
use write::verify;

/// Folders inside the run's own while it works.
const STUDENT: &str = "student";
const STATE: &str = "train";

/// All that is settled before the first step.
struct Prepared<'a> {
    request: &'a DistillRequest,
    settings: TrainSettings,
    student: Session,
    batches: Batches,
    memory: TrainMemory,
    /// Teachers stay in memory.
    resident: bool,
    warnings: Vec<String>,
}

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
        let run = self.open_run(request, &settings, observer)?;
        let own = run.partial().join(OWN_FOLDER);
        let prepared = match self.prepare_training(request, settings, &own, observer) {
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
        let text = request.recipe.calibration.corpus.as_deref();
        let made = environment(text, request.evaluate.as_deref());
        let json = report::json(&report, written.as_ref(), &made);
        run.finish(&json, written.is_some())?;
        Ok(report)
    }

    fn check(&self, settings: &TrainSettings) -> Result<(), SessionError> {
        if let Some(prune) = settings.prune.filter(|prune| prune.until > settings.steps) {
            return Err(self.input_problem(&format!(
                "zeros are to grow until step {}, and training has {} steps; give more --steps or a smaller until",
                prune.until, settings.steps
            )));
        }
        Ok(())
    }

    fn open_run(
        &self,
        request: &DistillRequest,
        settings: &TrainSettings,
        observer: &dyn Observer,
    ) -> Result<RunFolder, SessionError> {
        let recipe = Recipe {
            train: Some(settings.clone()),
            ..request.recipe.clone()
        };
        let mut teachers = hex(self.model_digest(observer)?);
        teachers.push_str(&format!(" {:?}", request.weight));
        for other in &request.others {
            let session = Self::open_within(&other.path, self.options.clone(), self.pool.clone())?;
            teachers.push_str(&format!(
                " {} {:?}",
                hex(session.model_digest(observer)?),
                other.weight
            ));
        }
        let text = match &request.recipe.calibration.corpus {
            Some(path) => {
                let bytes = fs::read(path).map_err(|error| SessionError::Input {
                    problem: format!("the text cannot be read: {error}"),
                    path: path.into(),
                })?;
                hex(&Sha256::digest(bytes))
            }
            None => {
                return Err(self.input_problem("training needs a text; name one with --corpus"));
            }
        };
        let fingerprint: Fingerprint = vec![
            ("recipe".to_owned(), hex(&Sha256::digest(recipe.to_toml()))),
            ("student".to_owned(), request.student.to_string()),
            ("teachers".to_owned(), teachers),
            ("text".to_owned(), text),
        ];
        let input = self.checkpoint.root();
        Ok(RunFolder::create(
            &request.out,
            input,
            &recipe.to_toml(),
            &fingerprint,
            request.resume,
        )?)
    }

    fn prepare_training<'a>(
        &self,
        request: &'a DistillRequest,
        settings: TrainSettings,
        own: &Path,
        observer: &dyn Observer,
    ) -> Result<Prepared<'a>, SessionError> {
        let folder = self.student_folder(
            &request.student,
            &request.recipe,
            &own.join(STUDENT),
            observer,
        )?;
        let folder = match settings.mode {
            TrainMode::Scales | TrainMode::Round | TrainMode::Qat => {
                self.compressed_start(folder, &request.recipe, &own.join(START), observer)?
            }
            TrainMode::Weights | TrainMode::Adapter => folder,
        };
        let student = Self::open_within(&folder, self.options.clone(), self.pool.clone())?;
        self.check_student(&student, settings.mode)?;
        self.check_start(&student, &settings)?;
        let corpus = request
            .recipe
            .calibration
            .corpus
            .as_deref()
            .unwrap_or_default();
        let sequences = self.training_sequences(Path::new(corpus), &settings, student.model()?)?;
        let batches = Batches::new(sequences, settings.batch, settings.held_out, settings.seed)?;
        let others = request
            .others
            .iter()
            .map(|other| open_runnable(&other.path));
        let others = others.collect::<Result<Vec<Model>, _>>()?;
        let first = self.model_on_kernels()?;
        let teachers: Vec<&Model> =
            match settings.hard >= 1.0 && settings.hidden + settings.attention == 0.0 {
                true => Vec::new(),
                false => std::iter::once(&first).chain(&others).collect(),
            };
        let threads = rayon::current_num_threads();
        let weights = WeightMemory::of(student.model()?, student.checkpoint.as_ref(), &settings);
        let memory = TrainMemory::of(
            student.model()?,
            &teachers,
            &settings,
            batches.longest(),
            threads,
        )
        .with_weights(weights, &settings);
        let resident = memory.student + memory.teachers <= self.memory_bytes();
        let mut warnings = idle_words(&settings);
        self.check_memory(&memory, resident)?;
        let (training, held_out) = batches.counts();
        if held_out < settings.held_out {
            warnings.push(format!(
                "the text gives {training} sequences to train on and {held_out} to hold out, where {} were asked",
                settings.held_out
            ));
        }
        warnings
            .iter()
            .for_each(|warning| observer.notice(Notice::Warning(warning)));
        Ok(Prepared {
            request,
            settings,
            student,
            batches,
            memory,
            resident,
            warnings,
        })
    }

    /// Whether the student can learn from this model.
    fn check_student(&self, student: &Self, mode: TrainMode) -> Result<(), SessionError> {
        let (teacher, model) = (self.model()?, student.model()?);
        if mode == TrainMode::Weights && student.has_codes() {
            return Err(student.input_problem(
                "the student holds codes, whose weights cannot all be trained; name a dense model, or train what is beside them with --scales, --round, --qat or --adapter",
            ));
        }
        if teacher.is_encoder() != model.is_encoder() {
            return Err(student.input_problem(
                "one of teacher and student is an encoder and the other a decoder; choose a student of the teacher's kind",
            ));
        }
        let (theirs, ours) = (teacher.config().vocabulary, model.config().vocabulary);
        if theirs != ours {
            return Err(student.input_problem(&format!(
                "the student has a vocabulary of {ours} and the teacher one of {theirs}; they must share their tokenizer"
            )));
        }
        Ok(())
    }

    fn check_memory(&self, memory: &TrainMemory, resident: bool) -> Result<(), SessionError> {
        let least = memory.student + memory.teachers_by_block;
        if resident || least <= self.memory_bytes() {
            return Ok(());
        }
        Err(self.input_problem(&format!(
            "training needs about {} of memory and may use {}; allow more with --memory, or choose a smaller --batch, micro_batch or --length",
            Bytes(least),
            Bytes(self.memory_bytes())
        )))
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

    fn training_report(
        &self,
        prepared: &Prepared<'_>,
        trained: u64,
        outcome: Outcome,
        (measured, verified, bytes, sparsity): (Measured, Verified, u64, Option<f64>),
    ) -> Result<DistillReport, SessionError> {
        let settings = &prepared.settings;
        let model = prepared.student.model()?;
        let layers = model.layers().iter();
        let first = self.model()?;
        let teachers: Vec<&Model> = match settings.hard >= 1.0 || settings.cache_top > 0 {
            true => Vec::new(),
            false => vec![first; 1 + prepared.request.others.len()],
        };
        let length =
            outcome.timed_tokens as usize / (outcome.timed_steps as usize * settings.batch).max(1);
        let operations = step_operations(model, &teachers, settings.batch, length);
        let step_seconds = outcome.step_seconds / outcome.timed_steps.max(1) as f64;
        let recipe = Recipe {
            train: Some(settings.clone()),
            ..prepared.request.recipe.clone()
        };
        let perplexity = |evaluation: &Option<Evaluation>| match evaluation {
            Some(Evaluation::Decoder(decoder)) => Some(decoder.perplexity),
            _ => None,
        };
        let reference = match &measured.after {
            Some(Evaluation::Decoder(decoder)) => decoder.reference_perplexity,
            _ => None,
        };
        let was_timed = outcome.timed_steps > 0 && step_seconds > 0.0;
        let resident = prepared.resident;
        let progressed = outcome.progressed;
        Ok(DistillReport {
            out: prepared.request.out.display().to_string(),
            mode: report::mode_word(settings.mode).to_owned(),
            steps: progressed.step,
            skipped_steps: progressed.skipped,
            ended_early: progressed.ended_early,
            loss_first: progressed.loss_first,
            loss_last: progressed.loss_last,
            held_out_first: progressed.held_out_first,
            held_out_best: progressed.best.map(|(_, loss)| loss),
            best_step: progressed.best.map(|(step, _)| step),
            perplexity_before: perplexity(&measured.before),
            perplexity_after: perplexity(&measured.after),
            reference_perplexity: reference,
            evaluation: measured.after,
            seconds: 0.0,
            step_seconds,
            tokens_per_second: match was_timed {
                true => outcome.timed_tokens as f64 / outcome.step_seconds,
                false => 0.0,
            },
            of_fma_bound: was_timed.then(|| operations / step_seconds / 1e9 / best_fma_gflops()),
            parameters: layers.map(|layer| layer.parameters).sum(),
            trained_parameters: trained,
            memory_bytes: prepared.memory.student
                + match resident {
                    true => prepared.memory.teachers,
                    false => prepared.memory.teachers_by_block,
                },
            peak_rss_bytes: 0,
            sparsity,
            export_difference: None,
            bytes,
            verified,
            recipe: recipe.to_toml(),
            curve: progressed.curve,
            warnings: prepared.warnings.clone(),
        })
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

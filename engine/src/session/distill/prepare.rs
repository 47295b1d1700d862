//! What is settled before the first step: the run's folder and its marks, the student, the text, memory, what is refused.
//!
//! Knows no loss and no optimizer.

use super::foresee::read_config;
use super::memory::TrainMemory;
use super::mode_memory::WeightMemory;
use super::modes::{START, idle_words};
use super::request::{DistillRequest, StudentSpec};
use super::teachers::{keeps_teachers, needs_teachers, seen};
use super::{STUDENT, Session, SessionError};
use crate::formats::RunFolder;
use crate::formats::store::Fingerprint;
use crate::ggml::GgmlType;
use crate::model::Model;
use crate::recipe::{Recipe, TrainMode, TrainSettings};
use crate::report::{Notice, Observer};
use crate::tensor::WeightSource as _;
use crate::train::{Batches, memo_bytes};
use crate::units::{Bytes, hex};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fs;
use std::path::Path;

/// All that is settled before the first step.
pub(super) struct Prepared<'a> {
    pub(super) request: &'a DistillRequest,
    pub(super) settings: TrainSettings,
    pub(super) student: Session,
    /// Teachers beside the open model.
    pub(super) others: Vec<Session>,
    /// All teachers as they run, the open model first; none where nobody is heard.
    pub(super) teachers: Vec<Model>,
    /// Tokens that all of them and the student know.
    pub(super) vocabulary: usize,
    pub(super) batches: Batches,
    pub(super) memory: TrainMemory,
    /// Teachers stay in memory.
    pub(super) resident: bool,
    warnings: RefCell<Vec<String>>,
}

impl Prepared<'_> {
    /// Tells `warning`, now and in the report.
    pub(super) fn warn(&self, observer: &dyn Observer, warning: String) {
        observer.notice(Notice::Warning(&warning));
        self.warnings.borrow_mut().push(warning);
    }

    /// What was warned of.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// Whether what the teachers say is kept in memory.
    pub(super) fn is_kept(&self) -> bool {
        self.memory.memo > 0
    }
}

impl Prepared<'_> {
    /// What is not as it was asked.
    fn first_warnings(&self) -> Vec<String> {
        let settings = &self.settings;
        let mut warnings = idle_words(settings);
        let (training, held_out) = self.batches.counts();
        if held_out < settings.held_out {
            warnings.push(format!(
                "the text gives {training} sequences to train on and {held_out} to hold out, where {} were asked",
                settings.held_out
            ));
        }
        if let Some(prune) = settings.prune {
            let until = match prune.until {
                0 => settings.steps * 3 / 4,
                until => until,
            };
            if prune.from >= until {
                warnings.push(format!(
                    "zeros begin after step {} and are to be complete after step {until}: all of them come at once",
                    prune.from
                ));
            }
        }
        let codes = self.student.checkpoint.as_ref();
        let names = codes.names().into_iter();
        let packed = names.filter(|name| codes.block_type(name).is_some_and(is_rounded));
        let packed = packed.count();
        if settings.mode == TrainMode::Weights && packed > 0 {
            warnings.push(format!(
                "{packed} tensors of the student lie in blocks of GGUF; all weights are trained and written as floats"
            ));
        }
        warnings
    }
}

impl Session {
    pub(super) fn check(&self, settings: &TrainSettings) -> Result<(), SessionError> {
        let Some(prune) = settings.prune else {
            return Ok(());
        };
        let (word, step) = match prune.until.max(prune.from) {
            last if last <= settings.steps => return Ok(()),
            last if last == prune.until => ("until", last),
            last => ("from", last),
        };
        Err(self.input_problem(&format!(
            "zeros are to grow {word} step {step}, and training has {} steps; give more --steps or a smaller {word}",
            settings.steps
        )))
    }

    /// The teachers beside this one, opened.
    pub(super) fn other_teachers(
        &self,
        request: &DistillRequest,
    ) -> Result<Vec<Self>, SessionError> {
        let paths = request.others.iter().map(|other| &other.path);
        paths
            .map(|path| Self::open_within(path, self.options.clone(), self.pool.clone()))
            .collect()
    }

    pub(super) fn open_run(
        &self,
        request: &DistillRequest,
        settings: &TrainSettings,
        others: &[Self],
        observer: &dyn Observer,
    ) -> Result<RunFolder, SessionError> {
        let recipe = Recipe {
            train: Some(settings.clone()),
            ..request.recipe.clone()
        };
        let mut teachers = hex(self.model_digest(observer)?);
        teachers.push_str(&format!(" {:?}", request.weight));
        for (session, other) in others.iter().zip(&request.others) {
            let digest = hex(session.model_digest(observer)?);
            teachers.push_str(&format!(" {digest} {:?}", other.weight));
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
            (
                "student".to_owned(),
                self.student_mark(&request.student, observer)?,
            ),
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

    /// What a student is, to the last byte where it lies somewhere.
    fn student_mark(
        &self,
        spec: &StudentSpec,
        observer: &dyn Observer,
    ) -> Result<String, SessionError> {
        let digest = match spec {
            StudentSpec::Model(path) => {
                let student = Self::open_within(path, self.options.clone(), self.pool.clone())?;
                hex(student.model_digest(observer)?)
            }
            StudentSpec::Config(path) => hex(&Sha256::digest(read_config(path)?.0)),
            StudentSpec::Depth { .. } | StudentSpec::Width { .. } => String::new(),
        };
        Ok(format!("{spec} {digest}").trim_end().to_owned())
    }

    pub(super) fn prepare_training<'a>(
        &self,
        request: &'a DistillRequest,
        settings: TrainSettings,
        others: Vec<Self>,
        own: &Path,
        observer: &dyn Observer,
    ) -> Result<Prepared<'a>, SessionError> {
        let recipe = &request.recipe;
        let folder = self.student_folder(&request.student, recipe, &own.join(STUDENT), observer)?;
        let folder = match settings.mode {
            TrainMode::Scales | TrainMode::Round | TrainMode::Qat => {
                self.compressed_start(folder, recipe, &own.join(START), observer)?
            }
            TrainMode::Weights | TrainMode::Adapter => folder,
        };
        let student = Self::open_within(&folder, self.options.clone(), self.pool.clone())?;
        self.check_student(&student, settings.mode)?;
        self.check_start(&student, &settings)?;
        let vocabulary = self.common_vocabulary(&others, &student)?;
        let text = recipe.calibration.corpus.as_deref().unwrap_or_default();
        let model = student.model()?;
        let sequences = self.training_sequences(Path::new(text), &settings, (model, vocabulary))?;
        let batches = Batches::new(sequences, settings.batch, settings.held_out, settings.seed)?;
        let teachers = match needs_teachers(&settings, model.is_encoder()) {
            true => self.running_teachers(&others)?,
            false => Vec::new(),
        };
        let memory = self.memory_of(&student, &teachers, &batches, (&settings, vocabulary))?;
        let resident = memory.resident() <= self.memory_bytes();
        self.check_memory(&memory, resident)?;
        let prepared = Prepared {
            request,
            settings,
            student,
            others,
            teachers,
            vocabulary,
            batches,
            memory,
            resident,
            warnings: RefCell::default(),
        };
        for warning in prepared.first_warnings() {
            prepared.warn(observer, warning);
        }
        Ok(prepared)
    }

    /// This model and the others as they run.
    fn running_teachers(&self, others: &[Self]) -> Result<Vec<Model>, SessionError> {
        let first = self.model_on_kernels()?;
        let mut teachers = vec![first];
        for other in others {
            let teacher = other.model_on_kernels()?;
            if teacher.is_encoder() != self.model()?.is_encoder() {
                return Err(other.input_problem(
                    "one teacher is an encoder and another a decoder; name teachers of one kind",
                ));
            }
            teachers.push(teacher);
        }
        Ok(teachers)
    }

    /// What training holds at once, and whether what teachers say can be kept beside it.
    fn memory_of(
        &self,
        student: &Self,
        teachers: &[Model],
        batches: &Batches,
        (settings, vocabulary): (&TrainSettings, usize),
    ) -> Result<TrainMemory, SessionError> {
        let model = student.model()?;
        let teachers: Vec<&Model> = teachers.iter().collect();
        let threads = rayon::current_num_threads();
        let weights = WeightMemory::of(model, student.checkpoint.as_ref(), settings);
        let memory = TrainMemory::of(model, &teachers, settings, batches.longest(), threads)
            .with_weights(weights, settings);
        if !keeps_teachers(settings, model.is_encoder()) {
            return Ok(memory);
        }
        let positions = seen(batches, settings).iter().map(Vec::len).sum();
        let bytes = memo_bytes(positions, settings.cache_top.min(vocabulary));
        let fits = bytes <= self.options.cache_capacity_bytes
            && memory.by_block().saturating_add(bytes) <= self.memory_bytes();
        Ok(TrainMemory {
            memo: if fits { bytes } else { 0 },
            ..memory
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
        Ok(())
    }

    fn check_memory(&self, memory: &TrainMemory, resident: bool) -> Result<(), SessionError> {
        let least = memory.by_block();
        if resident || least <= self.memory_bytes() {
            return Ok(());
        }
        Err(self.input_problem(&format!(
            "training needs about {} of memory and may use {}; allow more with --memory, or choose a smaller --batch, micro_batch or --length",
            Bytes(least),
            Bytes(self.memory_bytes())
        )))
    }
}

/// Whether blocks of this type hold codes, not values.
fn is_rounded(kind: GgmlType) -> bool {
    !matches!(kind, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16)
}

//! What workers tell the studio.
//!
//! Each event names what it is about (a generation, a run), so that late answers to old questions can be dropped.

use super::estimates::EstimateKey;
use super::kept::KeptDraft;
use super::project::Answer;
use super::runs::{Control, Progress, RunId};
use super::sensitivity::{Known, SensitivityStep};
use super::smaller::Plan;
use super::state::{Place, Playground, Saved};
use super::train::{Foresight, Sample};
use pare_engine::device::DeviceProfile;
use pare_engine::preview::Estimate;
use pare_engine::report::DistillReport;
use pare_engine::report::{Evaluation, ExportReport, LayerReport, LayerSensitivity, TrainPoint};
use pare_engine::session::{CompressReport, OriginalInputs, Session, WrittenReport};
use std::path::PathBuf;
use std::sync::Arc;

/// Which open model an answer is about: raised with each opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation(pub u64);

/// How a job that can be stopped ended.
#[derive(Debug, Clone)]
pub enum Outcome<T> {
    /// Done.
    Done(T),
    /// Stopped by the person.
    Stopped,
    /// Did not work; the words are for people.
    Failed(String),
}

/// What workers tell.
#[derive(Debug, Clone)]
pub enum Event {
    /// The store was opened (or could not be): what was kept.
    Restored(Box<Saved>),
    /// A model is open, or why not.
    Opened {
        /// Which opening.
        generation: Generation,
        /// As it was named.
        path: PathBuf,
        /// The model.
        result: Result<Opened, String>,
    },
    /// Estimates have come in.
    Estimated {
        /// About which model.
        generation: Generation,
        /// The job that tells.
        job: u64,
        /// The answers.
        estimates: Vec<(EstimateKey, Result<Estimate, String>)>,
        /// Whether the job has no more.
        finished: bool,
    },
    /// A preview of a layer has come in.
    Previewed {
        /// About which model.
        generation: Generation,
        /// The layer.
        layer: usize,
        /// The preview, and which question it answers.
        answer: Box<Answer>,
    },
    /// Blocks were compared with their inputs.
    BlocksCompared {
        /// About which model.
        generation: Generation,
        /// That of the job.
        control: Arc<Control>,
        /// Mean cosine of input and output, one for each block.
        result: Outcome<Vec<f64>>,
    },
    /// How large smaller networks would be.
    Sized {
        /// About which model.
        generation: Generation,
        /// That of the job.
        control: Arc<Control>,
        /// Bytes of all files, or why a network cannot be made so small.
        answers: Vec<(Plan, Result<u64, String>)>,
    },
    /// Inputs were gathered.
    Calibrated {
        /// About which model.
        generation: Generation,
        /// That of the job; once stopped, its answer is about inputs that nobody wants any more.
        control: Arc<Control>,
        /// The statistics.
        result: Outcome<Arc<OriginalInputs>>,
    },
    /// Measuring sensitivity goes on.
    SensitivityGrew {
        /// About which model.
        generation: Generation,
        /// That of the job; what a stopped one still tells is about nothing that anybody waits for.
        control: Arc<Control>,
        /// Layers of which more is known.
        rows: Vec<LayerSensitivity>,
        /// How the job goes.
        step: SensitivityStep,
    },
    /// Measuring sensitivity, or looking for what was measured before, has ended.
    SensitivityDone {
        /// About which model.
        generation: Generation,
        /// That of the job.
        control: Arc<Control>,
        /// What is known now.
        result: Outcome<Box<Known>>,
    },
    /// A run's folder got another name, since the one meant for it was taken.
    Placed(RunId, PathBuf),
    /// How the run at work, or a calibration, goes.
    Progressed(RunId, Progress),
    /// A layer of a run is solved.
    Solved(RunId, Box<LayerReport>),
    /// Steps of a training are done.
    Stepped(RunId, Vec<TrainPoint>),
    /// The student wrote a text on its way.
    Sampled(RunId, Sample),
    /// A training ended.
    Trained(RunId, Outcome<Arc<DistillReport>>),
    /// What the engine foresees of the training that is drafted.
    Foreseen {
        /// About which model.
        generation: Generation,
        /// That of the job.
        control: Arc<Control>,
        /// The answer; words for people where there is none.
        result: Result<Foresight, String>,
    },
    /// A line for the log.
    Told(super::log::Level, String),
    /// A run began.
    Began(RunId),
    /// A run ended.
    Ended(RunId, Outcome<Arc<CompressReport>>),
    /// A run was measured again.
    Evaluated(RunId, Outcome<Evaluation>),
    /// Text came from one side of the playground.
    Wrote(Box<Playground>),
    /// This machine was measured, or not.
    MachineMeasured(Outcome<Box<DeviceProfile>>),
    /// What was measured of this machine before, and a person's own devices.
    DevicesFound {
        /// This machine.
        machine: Option<Box<DeviceProfile>>,
        /// Memory free here, where the system tells.
        free_bytes: Option<u64>,
        /// A person's own, or why they cannot be read.
        own: Result<Vec<DeviceProfile>, String>,
    },
    /// An export ended.
    Exported(Outcome<ExportReport>),
    /// The page of a run was written, or not.
    Reported(Outcome<WrittenReport>),
    /// What lies at a place.
    Looked(Place),
    /// A recipe was read.
    RecipeRead(PathBuf, Result<String, String>),
    /// A recipe was written.
    RecipeWritten(PathBuf, Result<(), String>),
    /// The cache holds so many bytes.
    CacheMeasured(u64),
    /// A person chose a file or folder for a purpose; `None` = changed their mind.
    Chosen(super::effect::Purpose, Option<PathBuf>),
    /// A worker thread panicked and was caught.
    Panicked {
        /// What it did.
        job: String,
        /// What it said.
        message: String,
    },
}

/// A model just opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The model.
    pub session: Arc<Session>,
    /// Whether it is the built-in sample.
    pub is_sample: bool,
    /// The text that calibrates by default.
    pub calibration_text: Option<PathBuf>,
    /// The text that measures by default.
    pub evaluation_text: Option<PathBuf>,
    /// The draft that this model was left with.
    pub autosaved: Option<KeptDraft>,
}

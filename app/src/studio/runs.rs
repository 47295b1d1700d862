//! Runs: what was asked, how it goes, what came of it. Finished runs never change; only pins and names are a person's.
//!
//! Knows no database (`store` keeps runs) and no thread.

use super::figure::Figure;
use super::train::{Prompt, Training, mode_name};
use pare_engine::recipe::TrainMode;
use pare_engine::report::{DistillReport, Evaluation, LayerReport};
use pare_engine::session::{CompressReport, CompressRequest, DistillRequest, Session};
use pare_engine::units::hex;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// A run's number: that of its row in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub i64);

/// The number under which measuring this machine reports progress.
pub const MEASURING: RunId = RunId(-1);

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStatus {
    /// Behind others.
    Waiting,
    /// At work.
    Running,
    /// Done.
    Done,
    /// Ended by the person; what is finished lies in its folder and can be resumed.
    Stopped,
    /// Did not work; the words are for people.
    Failed(String),
    /// The program ended while it ran; it can be resumed.
    Interrupted,
}

impl RunStatus {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether `resume` can go on with it.
    pub fn is_resumable(&self) -> bool {
        matches!(self, Self::Stopped | Self::Interrupted | Self::Failed(_))
    }
}

/// A run, finished or not.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// A name for people.
    pub name: String,
    /// The model as it was named: a path or `sample`.
    pub model: PathBuf,
    /// The recipe in force, as TOML.
    pub recipe_toml: String,
    /// First 12 hexadecimal digits of the recipe's SHA-256.
    pub recipe_hash: String,
    /// The container's word.
    pub format: String,
    /// The folder made.
    pub out: PathBuf,
    /// The text that measured, if any.
    pub evaluation_text: Option<PathBuf>,
    /// Milliseconds since 1970 when it was asked for.
    pub created_unix_ms: i64,
    /// How it stands.
    pub status: RunStatus,
    /// What makes it a training, and what came of that; `None` of a compression.
    pub training: Option<Training>,
    /// What came of a compression.
    pub report: Option<Arc<CompressReport>>,
    /// Measured again later, newest last.
    pub evaluations: Vec<Evaluation>,
    /// Pinned as the baseline that others are compared with.
    pub pinned: bool,
}

/// Numbers as people see them lie below this; what is above tells windows apart.
const NUMBER_BITS: i64 = 0xffff_ffff;

impl Run {
    /// Its number as people see it: names and folders end in it.
    pub fn number(&self) -> i64 {
        self.id.0 & NUMBER_BITS
    }

    /// The newest measurement.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        let compressed = self.report.as_ref();
        let compressed = compressed.and_then(|report| report.evaluation.as_ref());
        let trained = self.trained().and_then(|report| report.evaluation.as_ref());
        self.evaluations.last().or(compressed).or(trained)
    }

    /// What came of a training.
    pub fn trained(&self) -> Option<&Arc<DistillReport>> {
        self.training.as_ref()?.report.as_ref()
    }

    /// Whether its solved layers are kept, so that it can be exported: every compression, and training of codes.
    pub fn has_layers(&self) -> bool {
        use TrainMode::{Qat, Round, Scales};
        let mode = self.training.as_ref().map(|training| training.mode);
        matches!(mode, None | Some(Scales | Round | Qat))
    }

    /// What was done, in a word or two.
    pub fn kind(&self) -> String {
        match &self.training {
            None => "compressed".to_owned(),
            Some(training) => format!("trained: {}", mode_name(training.mode).to_lowercase()),
        }
    }

    /// Bytes of all files written.
    pub fn bytes(&self) -> Option<u64> {
        let compressed = self.report.as_ref().map(|report| report.bytes_after);
        compressed.or_else(|| self.trained().map(|report| report.bytes))
    }

    /// Wall seconds.
    pub fn seconds(&self) -> Option<f64> {
        let compressed = self.report.as_ref().map(|report| report.seconds);
        compressed.or_else(|| self.trained().map(|report| report.seconds))
    }

    /// The process's high-water mark.
    pub fn peak_bytes(&self) -> Option<u64> {
        let compressed = self.report.as_ref().map(|report| report.peak_rss_bytes);
        compressed.or_else(|| self.trained().map(|report| report.peak_rss_bytes))
    }

    /// Mean KL with its standard error, nats per scored token, where a decoder was measured beside its original.
    pub fn kl(&self) -> Option<(f64, Option<f64>)> {
        match self.evaluation()? {
            Evaluation::Decoder(decoder) => decoder.kl.as_ref().map(|kl| (kl.mean, kl.stderr)),
            Evaluation::Encoder(_) => None,
        }
    }

    /// What a person compares by: KL of a decoder, 1 - mean cosine of an encoder.
    pub fn loss(&self) -> Option<Figure> {
        match self.evaluation()? {
            Evaluation::Decoder(decoder) => decoder.kl.as_ref().map(|kl| Figure::measured(kl.mean)),
            Evaluation::Encoder(encoder) => encoder
                .cosine
                .as_ref()
                .map(|cosine| Figure::measured(1.0 - cosine.mean)),
        }
    }
}

/// First 12 hexadecimal digits of the SHA-256 of a recipe's text.
pub fn recipe_hash(toml: &str) -> String {
    hex(&Sha256::digest(toml.as_bytes())[..6])
}

/// A run that is to be started: all that the worker needs.
#[derive(Debug, Clone)]
pub struct RunOrder {
    /// The run.
    pub id: RunId,
    /// The model, open.
    pub session: Arc<Session>,
    /// What is asked of it.
    pub request: RunRequest,
    /// Whether nobody chose the folder: where it is taken, the next free name beside it will do.
    pub may_move: bool,
    /// Stops and pauses it.
    pub control: Arc<Control>,
}

/// What is asked of a model that a run is made of.
#[derive(Debug, Clone)]
pub enum RunRequest {
    /// A compressed model.
    Compress(Box<CompressRequest>),
    /// A student, with the model as its first teacher.
    Distill(Box<DistillRequest>, Prompt),
}

impl RunRequest {
    /// The folder to make.
    pub fn out(&self) -> &Path {
        match self {
            Self::Compress(request) => &request.out,
            Self::Distill(request, _) => &request.out,
        }
    }

    /// Another folder.
    pub fn set_out(&mut self, out: PathBuf) {
        match self {
            Self::Compress(request) => request.out = out,
            Self::Distill(request, _) => request.out = out,
        }
    }
}

/// How a run at work goes: the latest values only.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The stage, in words.
    pub stage: String,
    /// Steps finished in it.
    pub done: u64,
    /// Steps that it takes.
    pub total: u64,
    /// Layers solved.
    pub layers_done: usize,
    /// Layers to solve.
    pub layers: usize,
    /// The layer solved last.
    pub last_layer: Option<String>,
    /// Mean seconds of the layers solved last.
    pub seconds_per_layer: Option<f64>,
    /// Seconds since the run began, pauses left out.
    pub elapsed_seconds: f64,
    /// Seconds left by that pace.
    pub eta_seconds: Option<f64>,
    /// Memory that the process holds now.
    pub resident_bytes: u64,
}

/// A run at work.
#[derive(Debug, Clone)]
pub struct ActiveRun {
    /// The run.
    pub id: RunId,
    /// Stops and pauses it.
    pub control: Arc<Control>,
    /// How it goes.
    pub progress: Progress,
    /// Layers solved, as they come.
    pub layers: Vec<LayerReport>,
    /// Whether a stop was asked and is not answered yet.
    pub stopping: bool,
}

/// Stop and pause of one job, shared with the thread that works on it.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    paused: Mutex<bool>,
    changed: Condvar,
}

/// How often a paused job looks whether it should stop.
const PAUSE_LOOK: Duration = Duration::from_millis(200);

impl Control {
    /// Asks the job to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.set_paused(false);
    }

    /// Whether the job should end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Pauses or goes on.
    pub fn set_paused(&self, paused: bool) {
        if let Ok(mut state) = self.paused.lock() {
            *state = paused;
        }
        self.changed.notify_all();
    }

    /// Whether the job is paused.
    pub fn is_paused(&self) -> bool {
        self.paused.lock().is_ok_and(|paused| *paused)
    }

    /// Blocks while paused; then whether the job should end.
    pub fn wait_and_ask(&self) -> bool {
        if let Ok(mut paused) = self.paused.lock() {
            while *paused && !self.is_stopped() {
                paused = match self.changed.wait_timeout(paused, PAUSE_LOOK) {
                    Ok((paused, _)) => paused,
                    Err(_) => break,
                };
            }
        }
        self.is_stopped()
    }
}

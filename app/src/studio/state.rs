//! Everything a face can show: what is open, the draft, runs, the queue, notices.
//!
//! Types and questions about them; changes happen in `update`.

use super::devices::Devices;
use super::event::Generation;
use super::figure::Mark;
use super::log::{Level, Log};
use super::preferences::Preferences;
use super::project::Project;
use super::runs::{ActiveRun, Control, Run, RunId, RunOrder, RunStatus};
use super::train::{Curve, Curves};
use pare_engine::recipe::LayerSettings;
use pare_engine::report::ExportReport;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// The whole studio.
#[derive(Debug)]
pub struct Studio {
    /// What is open.
    pub phase: Phase,
    /// Raised with each opening.
    pub generation: Generation,
    /// What a person likes.
    pub preferences: Preferences,
    /// Devices that speed and memory can be told for.
    pub devices: Devices,
    /// What was asked for this session alone; wins over preferences.
    pub limits: Limits,
    /// The user's cache folder: what `preferences.cache_folder` stands in for.
    pub default_cache_folder: PathBuf,
    /// Where runs are put by default; `None` where there is no data folder.
    pub runs_folder: Option<PathBuf>,
    /// Models opened before, pinned ones first, then newest.
    pub recents: Vec<Recent>,
    /// Why the last opening failed: path and reason.
    pub open_failure: Option<(PathBuf, String)>,
    /// All runs known, newest first.
    pub runs: Vec<Run>,
    /// The number of the next run, as people see it.
    pub next_run: i64,
    /// Where the next run goes, if a person said so.
    pub destination: Option<PathBuf>,
    /// Added to it for the run's id, so that two windows never share one.
    pub run_base: i64,
    /// The run at work.
    pub active: Option<ActiveRun>,
    /// Runs that wait for it.
    pub waiting: VecDeque<RunOrder>,
    /// What trainings of this session told.
    pub curves: Curves,
    /// Another long job at work: calibration, measuring, export.
    pub side_job: Option<SideJob>,
    /// Both sides of the comparison; `None` = the original.
    pub compared: (Option<RunId>, Option<RunId>),
    /// What the playground wrote.
    pub playground: Playground,
    /// The last export.
    pub exported: Option<Result<ExportReport, String>>,
    /// What lies at the place of the next export.
    pub place: Option<Place>,
    /// Bytes in the cache, where measured.
    pub cache_bytes: Option<u64>,
    /// What happened.
    pub log: Log,
    /// What a person should see, newest last.
    pub notices: Vec<Notice>,
    /// Layer settings copied.
    pub copied: Option<LayerSettings>,
    /// Seconds since the studio began: set by the face before each command or event.
    pub now_seconds: f64,
    /// Milliseconds since 1970 at the beginning.
    pub began_unix_ms: i64,
    /// Whether the store works; an error says why not.
    pub store: Result<(), String>,
}

/// Where a studio begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The user's cache folder.
    pub cache_folder: PathBuf,
    /// The user's data folder; `None` = nothing is kept.
    pub data_folder: Option<PathBuf>,
    /// Milliseconds since 1970, now.
    pub began_unix_ms: i64,
}

/// How jobs may use the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Threads; `None` = as preferred.
    pub threads: Option<usize>,
    /// Working memory; `None` = as preferred.
    pub memory_bytes: Option<u64>,
}

/// What is open.
#[derive(Debug, Default)]
pub enum Phase {
    /// Nothing.
    #[default]
    Nothing,
    /// A model is being opened.
    Opening {
        /// As it was named.
        path: PathBuf,
        /// The model open before: it comes back where this one cannot be opened.
        before: Option<Box<Project>>,
    },
    /// A model.
    Open(Box<Project>),
}

/// A long job that is no run.
#[derive(Debug, Clone)]
pub struct SideJob {
    /// What it does, in words.
    pub name: String,
    /// Ends it.
    pub control: Arc<Control>,
    /// How much of it is done, 0 to 1, where it tells.
    pub share: Option<f32>,
    /// It measures this machine.
    pub measures_machine: bool,
}

/// A model opened before.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recent {
    /// As it was named.
    pub path: PathBuf,
    /// Kept at the top.
    pub pinned: bool,
    /// What it was: family and parameters, for people.
    pub summary: String,
    /// Whether it is still there; looked at when the list is read.
    #[serde(skip)]
    pub is_missing: bool,
}

/// What the store kept.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    /// Preferences, where any were kept.
    pub preferences: Option<Preferences>,
    /// Recent models.
    pub recents: Vec<Recent>,
    /// Runs, newest first.
    pub runs: Vec<Run>,
    /// The number of the next run.
    pub next_run: i64,
    /// What this window adds to it.
    pub run_base: i64,
    /// How panes lay, as the window wrote it.
    pub layout: Option<String>,
    /// Why the store does not work, if it does not.
    pub problem: Option<String>,
    /// What happened to it, where it works.
    pub notice: Option<String>,
}

/// Something a person should see.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub text: String,
    /// Whether the list of notices was opened since.
    pub read: bool,
}

/// Both sides of the playground.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Playground {
    /// The text both went on from.
    pub prompt: String,
    /// What each wrote so far.
    pub texts: [String; 2],
    /// Tokens per second of each, once done.
    pub tokens_per_second: [Option<f64>; 2],
    /// Why it did not work, of either.
    pub problem: Option<String>,
    /// Whether more is coming.
    pub busy: bool,
}

/// What lies at a place where something is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The place.
    pub path: PathBuf,
    /// Whether something lies there already.
    pub is_taken: bool,
    /// Bytes free on its disk, where the system tells.
    pub free_bytes: Option<u64>,
    /// Why nothing can be written there, if so.
    pub problem: Option<String>,
}

impl Studio {
    /// A studio with nothing open.
    pub fn new(beginning: Beginning) -> Self {
        Self {
            phase: Phase::Nothing,
            generation: Generation::default(),
            preferences: Preferences::default(),
            devices: Devices::default(),
            limits: Limits::default(),
            default_cache_folder: beginning.cache_folder,
            runs_folder: beginning.data_folder.map(|folder| folder.join("runs")),
            recents: Vec::new(),
            open_failure: None,
            runs: Vec::new(),
            next_run: 1,
            destination: None,
            run_base: 0,
            active: None,
            waiting: VecDeque::new(),
            curves: Curves::default(),
            side_job: None,
            compared: (None, None),
            playground: Playground::default(),
            exported: None,
            place: None,
            cache_bytes: None,
            log: Log::default(),
            notices: Vec::new(),
            copied: None,
            now_seconds: 0.0,
            began_unix_ms: beginning.began_unix_ms,
            store: Ok(()),
        }
    }

    /// The open model, if any.
    pub fn project(&self) -> Option<&Project> {
        match &self.phase {
            Phase::Open(project) => Some(project),
            _ => None,
        }
    }

    /// A run by its number.
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// Runs of the open model, newest first.
    pub fn runs_of_model(&self) -> impl Iterator<Item = &Run> {
        let path = self.project().map(|project| project.path.clone());
        self.runs
            .iter()
            .filter(move |run| Some(&run.model) == path.as_ref())
    }

    /// The newest run of the open model that can be resumed.
    pub fn resumable(&self) -> Option<RunId> {
        self.runs_of_model()
            .find(|run| run.status.is_resumable())
            .map(|run| run.id)
    }

    /// The newest finished compression, of the open model first.
    pub fn exportable(&self) -> Option<RunId> {
        // A trained student has no solved layers; it is an ordinary model.
        let done = |run: &&Run| run.status == RunStatus::Done && run.has_layers();
        let own = self.runs_of_model().find(done);
        own.or_else(|| self.runs.iter().find(done))
            .map(|run| run.id)
    }

    /// The training that the train view shows: the one at work, else the one chosen, else the newest of the open model.
    pub fn shown_training(&self) -> Option<&Run> {
        let is_training = |run: &&Run| run.training.is_some();
        let active = self.active.as_ref().and_then(|active| self.run(active.id));
        let chosen = self.curves.shown.and_then(|id| self.run(id));
        let newest = || self.runs_of_model().find(is_training);
        active
            .filter(is_training)
            .or_else(|| chosen.filter(is_training))
            .or_else(newest)
    }

    /// Its curve, where it told anything in this session or its report is known.
    pub fn shown_curve(&self) -> Option<(RunId, &Curve)> {
        let run = self.shown_training()?;
        Some((run.id, self.curves.get(run.id)?))
    }

    /// The cache folder in force.
    pub fn cache_folder(&self) -> PathBuf {
        let asked = self.preferences.cache_folder.clone();
        asked.unwrap_or_else(|| self.default_cache_folder.clone())
    }

    /// Notices not read yet.
    pub fn unread(&self) -> usize {
        self.notices.iter().filter(|notice| !notice.read).count()
    }

    /// The job that measures this machine, while it is at work.
    pub fn measuring(&self) -> Option<&SideJob> {
        self.side_job.as_ref().filter(|job| job.measures_machine)
    }

    /// Whether closing now would end work.
    pub fn is_working(&self) -> bool {
        self.active.is_some() || !self.waiting.is_empty()
    }
}

/// The mark of a sum: as weak as its weakest part.
pub fn weakest(marks: impl Iterator<Item = Mark>) -> Option<Mark> {
    marks.reduce(Mark::weaker)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Small models for tests of the studio.

    use super::super::draft::Draft;
    use pare_engine::model::{LayerInfo, LayerKind, Role};
    use pare_engine::recipe::Recipe;
    use pare_engine::tensor::Dtype;

    /// Layers as of a Llama of `blocks` blocks, embedding and head included.
    pub(crate) fn layers(blocks: usize) -> Vec<LayerInfo> {
        let mut layers = vec![layer("model.embed_tokens", LayerKind::Embedding, None)];
        for block in 0..blocks {
            for part in [
                "self_attn.q_proj",
                "self_attn.k_proj",
                "mlp.up_proj",
                "mlp.down_proj",
            ] {
                let name = format!("model.layers.{block}.{part}");
                layers.push(layer(&name, LayerKind::Linear, Some(block)));
            }
            let mut norm = layer(
                &format!("model.layers.{block}.input_layernorm"),
                LayerKind::Other,
                Some(block),
            );
            norm.compressible = false;
            layers.push(norm);
        }
        layers.push(layer("lm_head", LayerKind::Head, None));
        layers
    }

    fn layer(name: &str, kind: LayerKind, block: Option<usize>) -> LayerInfo {
        LayerInfo {
            name: name.to_owned(),
            tensor: format!("{name}.weight"),
            role: Role::Other,
            kind,
            block,
            rows: 64,
            columns: 128,
            shape: vec![64, 128],
            dtype: Dtype::F16,
            size_bytes: 64 * 128 * 2,
            parameters: 64 * 128,
            transposed: false,
            compressible: true,
            packed: false,
            fused_peers: None,
        }
    }

    /// The default draft of `layers`.
    pub(crate) fn draft(layers: &[LayerInfo]) -> Draft {
        use super::super::compose;
        let format = pare_engine::formats::Format::Pare;
        compose::draft(&Recipe::default(), layers, None, format).0
    }
}

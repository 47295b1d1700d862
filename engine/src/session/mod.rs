//! One open model and the jobs a person asks for: inspect, run, calibrate, compress, evaluate, generate, export.
//!
//! Every job runs inside the session's own thread pool; results do not depend on its size. Knows no window, command line
//! or print: progress goes to an `Observer`, results come back as plain types.

mod allocate_job;
mod calibrate_job;
mod choose_requests;
mod compress_job;
mod distill;
mod environment;
mod error;
mod estimate_job;
mod evaluate_job;
mod gguf_job;
mod inspect;
mod machine;
mod measured_recipe;
mod original_inputs;
mod prepared;
mod profile_job;
mod recovery;
mod report_file;
mod requests;
mod rounded_inputs;
mod run_job;
mod run_page;
mod scored_text;
mod sensitivity;
mod settle;
mod smoothing;
mod solved_model;
mod structure;
mod weights;

pub use allocate_job::{TimedGround, TimedPlanner, WithinTime};
pub use choose_requests::*;
pub use distill::{
    DistillRequest, NoStudent, OtherTeacher, StudentSpec, TrainForesight, read_distill_report,
};
pub use error::SessionError;
pub use estimate_job::{EstimateRequest, RunShape};
pub use gguf_job::GgufRequest;
pub use machine::{available_memory_bytes, peak_rss_bytes, resident_bytes};
pub use original_inputs::OriginalInputs;
pub use profile_job::{find_profile, measure_machine};
pub use report_file::read_report;
pub use requests::*;
pub use rounded_inputs::InputRounding;
pub use run_page::{ReportRequest, WrittenReport, write_report};

use crate::checkpoint::Checkpoint;
use crate::formats::layout::mark_packed;
use crate::formats::{self, Format};
use crate::model::{InputPlans, LayerInfo, Model, list_layers};
use crate::recipe::Recipe;
use crate::report::{ExportReport, Observer};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// One open model.
pub struct Session {
    path: PathBuf,
    checkpoint: Arc<Checkpoint>,
    /// The network, or why it cannot be run.
    model: Result<Model, String>,
    layers: Vec<LayerInfo>,
    options: SessionOptions,
    pool: Arc<rayon::ThreadPool>,
    /// Hash of all weights, once somebody asked for it.
    model_digest: OnceLock<Vec<u8>>,
    /// Recipes as texts, and what weights made of them.
    settled: Mutex<HashMap<String, Recipe>>,
    /// How inputs are rounded, where somebody asked for another way than the model's own.
    inputs: Option<Arc<InputPlans>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a model from headers alone; a network that cannot be run still opens.
    pub fn open(path: &Path, options: SessionOptions) -> Result<Self, SessionError> {
        let pool = Arc::new(thread_pool(&options)?);
        Self::open_within(path, options, pool)
    }

    /// The same with the threads of another session.
    fn open_within(
        path: &Path,
        options: SessionOptions,
        pool: Arc<rayon::ThreadPool>,
    ) -> Result<Self, SessionError> {
        let checkpoint = Arc::new(Checkpoint::open(path)?);
        let model = open_model(&checkpoint);
        let mut layers = match &model {
            Ok(model) => model.layers().to_vec(),
            Err(_) => list_layers(checkpoint.as_ref(), None),
        };
        mark_packed(&mut layers, checkpoint.as_ref());
        Ok(Self {
            path: path.to_owned(),
            checkpoint,
            model,
            layers,
            options,
            pool,
            model_digest: OnceLock::new(),
            settled: Mutex::default(),
            inputs: None,
        })
    }

    /// The network; an error says why it cannot be run.
    pub fn model(&self) -> Result<&Model, SessionError> {
        self.model
            .as_ref()
            .map_err(|reason| SessionError::NoNetwork {
                reason: reason.clone(),
                path: self.path.clone(),
            })
    }

    /// The network as it runs: codes stay codes and multiply on the kernels. What needs dense weights or gradients asks
    /// for `model`.
    pub fn model_on_kernels(&self) -> Result<Model, SessionError> {
        let model = self.model()?.on_kernels(self.checkpoint.clone());
        Ok(match &self.inputs {
            Some(inputs) => model.with_inputs(Arc::clone(inputs)),
            None => model,
        })
    }

    /// All layers, in natural order.
    pub fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the session uses the machine.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Runs `work` in the session's own pool, whose size is what `SessionOptions::threads` says.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    fn memory_bytes(&self) -> u64 {
        self.options
            .memory_bytes
            .unwrap_or_else(machine::default_memory_bytes)
    }
}

/// Writes a finished run in another container, without solving again.
pub fn export(
    run: &Path,
    format: Format,
    out: &Path,
    options: &SessionOptions,
    observer: &dyn Observer,
) -> Result<ExportReport, SessionError> {
    thread_pool(options)?.install(|| Ok(formats::export(run, format, out, observer)?))
}

/// The network of a checkpoint, or why it cannot be run.
fn open_model(checkpoint: &Arc<Checkpoint>) -> Result<Model, String> {
    let config = checkpoint.config_json();
    let config = config.ok_or("there is no config.json, so the architecture is not known")?;
    Model::open(checkpoint.clone(), config).map_err(|error| error.to_string())
}

fn thread_pool(options: &SessionOptions) -> Result<rayon::ThreadPool, SessionError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.unwrap_or(0))
        .thread_name(|index| format!("pare-worker-{index}"))
        .build()
        .map_err(|error| SessionError::Threads(error.to_string()))
}

//! What pipeline tests share: small models, requests, watchers that stop, and the bytes of a written run.

use crate::checkpoint::{RandomCheckpoint, llama_7b, write_ids};
use pare_engine::formats::Format;
use pare_engine::monitor::Monitor;
use pare_engine::recipe::Recipe;
use pare_engine::report::{Notice, Observer};
use pare_engine::session::{CompressRequest, Session, SessionError, SessionOptions};
use pare_engine::solved::Method;
use pare_engine::tensor::Dtype;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// Vocabulary of `tiny_config`.
pub const TINY_VOCABULARY: usize = 50;

/// A Llama of two blocks, width 64; its FFN of 96 has a tail group at 64.
pub fn tiny_config() -> Value {
    let mut config = llama_7b(2);
    for (key, value) in [
        ("hidden_size", json!(64)),
        ("intermediate_size", json!(96)),
        ("vocab_size", json!(TINY_VOCABULARY)),
        ("num_attention_heads", json!(4)),
        ("num_key_value_heads", json!(2)),
        ("head_dim", json!(16)),
        ("max_position_embeddings", json!(64)),
        ("dtype", json!("float32")),
    ] {
        config[key] = value;
    }
    config
}

/// A folder with a tiny random model in f32, token ids to calibrate on, and room for what a test writes.
#[derive(Debug)]
pub struct Workshop {
    folder: TempDir,
}

impl Workshop {
    /// A new one.
    ///
    /// # Panics
    /// If the temporary folder cannot be written.
    pub fn new() -> Self {
        Self::with_config(tiny_config(), TINY_VOCABULARY)
    }

    /// The same with a network of `config`.
    ///
    /// # Panics
    /// If the temporary folder cannot be written or the config describes no network.
    pub fn with_config(config: Value, vocabulary: usize) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let workshop = Self { folder };
        RandomCheckpoint {
            config,
            dtype: Dtype::F32,
            shard_bytes: u64::MAX,
            seed: 11,
        }
        .write(&workshop.model())
        .expect("a tiny checkpoint can be written");
        write_ids(&workshop.ids(), vocabulary, 1024, 5).expect("token ids can be written");
        workshop
    }

    /// The model's folder.
    pub fn model(&self) -> PathBuf {
        self.path("model")
    }

    /// Token ids.
    pub fn ids(&self) -> PathBuf {
        self.path("ids.safetensors")
    }

    /// A place inside the workshop.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How sessions of this workshop use the machine.
    pub fn options(&self, threads: usize) -> SessionOptions {
        SessionOptions {
            threads: Some(threads),
            memory_bytes: None,
            cache_folder: self.path("cache"),
            cache_capacity_bytes: 1 << 30,
        }
    }

    /// `model` opened with two threads.
    pub fn open(&self, model: &Path) -> Result<Session, SessionError> {
        Session::open(model, self.options(2))
    }

    /// A recipe that calibrates on the workshop's ids.
    pub fn recipe(&self, method: Method, bits: u8, group: usize) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.default.method = method;
        recipe.default.bits = bits;
        recipe.default.group = group;
        recipe.calibration.corpus = Some(self.ids().to_string_lossy().into_owned());
        recipe.calibration.sequences = 6;
        recipe.calibration.length = 32;
        recipe
    }

    /// A request to write `recipe` to the place `out`.
    pub fn request(&self, recipe: Recipe, out: &str, format: Format) -> CompressRequest {
        CompressRequest {
            recipe,
            out: self.path(out),
            format,
            evaluate: None,
            resume: false,
            keep_layers: true,
        }
    }
}

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

/// Hears everything, says nothing, never stops; counts how often it was asked.
#[derive(Debug, Default)]
pub struct Quiet {
    /// Questions whether to stop.
    pub polls: AtomicU64,
}

impl Monitor for Quiet {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        self.polls.fetch_add(1, Ordering::Relaxed);
        false
    }
}

impl Observer for Quiet {
    fn notice(&self, _notice: Notice<'_>) {}
}

/// Stops when it has been asked `after` times.
#[derive(Debug)]
pub struct Stopper {
    after: u64,
    polls: AtomicU64,
}

impl Stopper {
    /// A watcher that lets `after` polls pass.
    pub fn new(after: u64) -> Self {
        Self {
            after,
            polls: AtomicU64::new(0),
        }
    }
}

impl Monitor for Stopper {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        self.polls.fetch_add(1, Ordering::Relaxed) >= self.after
    }
}

impl Observer for Stopper {
    fn notice(&self, _notice: Notice<'_>) {}
}

/// Every file under `folder` by its relative path, but for the run's report, which tells times and memory.
///
/// # Panics
/// If a file cannot be read.
pub fn files_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("the folder can be listed") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(".pare/report.json") {
                let relative = path.strip_prefix(folder).unwrap_or(&path).to_path_buf();
                let bytes = std::fs::read(&path).expect("the file can be read");
                files.insert(relative, bytes);
            }
        }
    }
    files
}

/// Names of files that differ between two sets, or stand in one only.
pub fn differing(
    left: &BTreeMap<PathBuf, Vec<u8>>,
    right: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<PathBuf> {
    let names: std::collections::BTreeSet<&PathBuf> = left.keys().chain(right.keys()).collect();
    names
        .into_iter()
        .filter(|name| left.get(*name) != right.get(*name))
        .cloned()
        .collect()
}

/// A path of the shared material; absent material is told in a line that begins with `skipped`.
#[allow(clippy::print_stderr)] // Whoever runs the tests must see what did not run.
pub fn shared(path: &str) -> Option<PathBuf> {
    let place = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if !place.exists() {
        eprintln!("skipped: {} is absent", place.display());
        return None;
    }
    Some(place)
}

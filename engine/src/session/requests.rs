//! What a person may ask of a session, and the plain results, as `--json` spells them.
//!
//! Types only. Every path is absolute or relative to the process; recipes come with their paths already resolved.

use crate::formats::Format;
use crate::formats::cache::MomentsCache;
use crate::model::CacheKind;
use crate::recipe::{CalibrationSettings, Recipe};
use crate::report::{Evaluation, Fallback, LayerReport, StructurePlan, StructureReport, Verified};
use crate::settings::LayerSettings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a session may use the machine. The results never depend on `threads` or `memory_bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads of the session's own pool; `None` = all cores.
    pub threads: Option<usize>,
    /// Working memory that a job may use; `None` = half of what is free.
    pub memory_bytes: Option<u64>,
    /// Where original-prefix moments are kept.
    pub cache_folder: PathBuf,
    /// Most bytes that the cache may hold; oldest entries go first.
    pub cache_capacity_bytes: u64,
}

impl SessionOptions {
    /// The cache of original-prefix moments.
    pub fn moments_cache(&self) -> MomentsCache {
        MomentsCache::new(
            &self.cache_folder.join("moments"),
            self.cache_capacity_bytes,
        )
    }
}

/// The numbers of a network that decide what running it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkShape {
    /// Number of blocks.
    pub blocks: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub context_length: usize,
}

/// What is in a model, from headers alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The folder or file.
    pub model: String,
    /// The family's word; null where the architecture is not known.
    pub family: Option<String>,
    /// Why the network cannot be run, where it cannot.
    pub reason: Option<String>,
    /// Parameters of all tensors.
    pub parameters: u64,
    /// Bytes of all tensors as stored.
    pub bytes: u64,
    /// Dtypes met, with the bytes of each.
    pub dtypes: Vec<DtypeShare>,
    /// Longest context; null where unknown.
    pub context_length: Option<usize>,
    /// What its config asks of whoever runs it and is not done here, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// All tensors but biases, in natural order.
    pub layers: Vec<InspectedLayer>,
}

/// One dtype's share of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DtypeShare {
    /// The dtype's word.
    pub dtype: String,
    /// Bytes stored in it.
    pub bytes: u64,
}

/// One tensor as `inspect` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InspectedLayer {
    /// Name that rules match.
    pub name: String,
    /// What it does in the network.
    pub role: String,
    /// Block index; null outside blocks.
    pub block: Option<usize>,
    /// `[out, in]` of a matrix; the stored shape of anything else.
    pub shape: Vec<usize>,
    /// Dtype as stored.
    pub dtype: String,
    /// Elements.
    pub parameters: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// Whether solvers can work on it.
    pub compressible: bool,
}

/// `pare logits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogitsReport {
    /// The file written.
    pub out: String,
    /// Shape of `logits` or `last_hidden_state`.
    pub shape: Vec<usize>,
    /// Wall seconds.
    pub seconds: f64,
}

/// `pare calibrate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationReport {
    /// Sequences used.
    pub sequences: usize,
    /// Tokens used.
    pub tokens: u64,
    /// The cache entry.
    pub cache: String,
    /// Its bytes.
    pub bytes: u64,
    /// Wall seconds.
    pub seconds: f64,
    /// Whether the entry was there already.
    pub reused: bool,
}

/// What `compress` (and its dry run) is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressRequest {
    /// The whole recipe, command line already merged in.
    pub recipe: Recipe,
    /// The folder to make.
    pub out: PathBuf,
    /// The container.
    pub format: Format,
    /// A text to evaluate on afterwards.
    pub evaluate: Option<PathBuf>,
    /// Continue `out.partial`.
    pub resume: bool,
    /// Keep the solved layers in `.pare/layers`.
    pub keep_layers: bool,
}

/// `pare compress --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompressReport {
    /// The folder made.
    pub out: String,
    /// The container's word.
    pub format: String,
    /// Bytes of the source's files that the new ones replace.
    pub bytes_before: u64,
    /// Bytes of all files written outside `.pare`.
    pub bytes_after: u64,
    /// Over the compressed layers, scales, zeros and padding included.
    pub bits_per_weight: f64,
    /// Wall seconds.
    pub seconds: f64,
    /// The process's high-water mark.
    pub peak_rss_bytes: u64,
    /// The recipe in force, as TOML.
    pub recipe: String,
    /// Seconds of each stage.
    pub stages: Vec<StageSeconds>,
    /// One entry for each compressible layer.
    pub layers: Vec<LayerReport>,
    /// What was taken out of the network first; null where nothing was.
    #[serde(default)]
    pub structure: Option<StructureReport>,
    /// Largest difference found when the written model was reopened, and how many tensors were compared.
    pub verified: Verified,
    /// What `evaluate` gives, where a text was named.
    pub evaluation: Option<Evaluation>,
    /// For people: rules that hit nothing and the like.
    pub warnings: Vec<String>,
}

/// Seconds of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// The stage.
    pub stage: String,
    /// Wall seconds.
    pub seconds: f64,
}

/// `pare compress --dry-run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// The container's word.
    pub format: String,
    /// Bytes of the source's files that the new ones replace.
    pub bytes_before: u64,
    /// Bytes that will be written outside `.pare`.
    pub bytes_after: u64,
    /// Over the compressed layers.
    pub bits_per_weight: f64,
    /// Each compressible layer with the rule that decided it.
    pub layers: Vec<DryLayer>,
    /// What would be taken out of the network first; null where nothing would.
    #[serde(default)]
    pub structure: Option<StructurePlan>,
    /// For people.
    pub warnings: Vec<String>,
}

/// One layer of a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DryLayer {
    /// The layer.
    pub name: String,
    /// The deciding rule in words.
    pub rule: String,
    /// Settings that will be used.
    pub settings: LayerSettings,
    /// Bytes that the layer will take.
    pub bytes: u64,
    /// What the container cannot hold, and what will be done instead.
    pub fallback: Option<Fallback>,
}

/// What `evaluate` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluateRequest {
    /// The text; an encoder with `sts` alone needs none.
    pub corpus: Option<PathBuf>,
    /// A model to compare with.
    pub reference: Option<PathBuf>,
    /// Window length; `None` = the smaller of 2048 and the context (decoders), 128 (encoders).
    pub length: Option<usize>,
    /// Use only the first windows of the corpus.
    pub windows: Option<usize>,
    /// A sentence-pair file: score, sentence, sentence, tab-separated.
    pub sts: Option<PathBuf>,
    /// How a decoder sees keys and values; `None` = as the run's recipe says, of any other model as they are.
    pub kv: Option<CacheKind>,
}

/// What `generate` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// The text to go on from.
    pub prompt: String,
    /// Most new tokens.
    pub tokens: usize,
    /// 0 = greedy.
    pub temperature: f64,
    /// Draw among so many of the likeliest tokens only; `None` = all.
    pub top_k: Option<usize>,
    /// Draw among the likeliest tokens that together have this probability; 1 = all.
    pub top_p: f64,
    /// Seed of the draw.
    pub seed: u64,
    /// How keys and values are kept; `None` = as the run's recipe says, of any other model f32.
    pub kv: Option<CacheKind>,
}

/// `pare generate --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateReport {
    /// The new text.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens made.
    pub new_tokens: usize,
    /// Speed of reading the prompt; null for a prompt of no tokens.
    pub prefill_tokens_per_second: Option<f64>,
    /// Speed of writing; null where nothing was written.
    pub decode_tokens_per_second: Option<f64>,
    /// How keys and values were kept.
    pub kv: CacheKind,
    /// Bytes of the keys and values of all tokens that went through the network.
    pub kv_bytes: u64,
}

/// What `calibrate` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationRequest {
    /// Text, sequences, length, seed.
    pub settings: CalibrationSettings,
}

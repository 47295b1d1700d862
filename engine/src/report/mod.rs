//! Plain results, as `--json` and `.pare/report.json` spell them. Every number carries its unit in the key.
//!
//! Knows no format of a terminal or a window, and makes no measurement itself.

mod environment;
pub mod page;
mod sensitivity;
mod structure;
mod train;

pub use crate::distortion::{Histogram, Histograms};
use crate::mask::SparsityPattern;
use crate::monitor::{Monitor, Unwatched};
use crate::packed::ActivationPlan;
use crate::settings::{KvCache, LayerSettings, PruneMethod};
use crate::solved::{Method, Warning};
pub use environment::{Environment, TextDigest};
pub use sensitivity::{Anchor, LayerSensitivity, Measure, OptionError, Probe, SensitivityTable};
use serde::{Deserialize, Serialize};
pub use structure::{
    BlockCut, BlockSimilarity, NetworkSizes, PartCut, StructurePlan, StructureReport, VocabularyCut,
};
pub use train::{DistillReport, TrainPoint};

/// Someone to tell while a job runs: stages, layers and warnings, besides the steps of `Monitor`.
pub trait Observer: Monitor {
    /// Something worth showing has happened.
    fn notice(&self, notice: Notice<'_>);

    /// A text that a student in training is to go on from after `step`, where whoever watches wants to read one.
    fn prompt(&self, _step: u64) -> Option<String> {
        None
    }
}

impl Observer for Unwatched {
    fn notice(&self, _notice: Notice<'_>) {}
}

/// What a job tells.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A stage begins; `Monitor::step` counts inside it.
    Stage {
        /// What it does, in words.
        name: &'a str,
        /// Steps it will take.
        steps: u64,
    },
    /// A layer is solved and stored.
    Layer(&'a LayerReport),
    /// A layer's row of a sensitivity table has grown.
    Sensitivity(&'a LayerSensitivity),
    /// A training step is done.
    Training(&'a TrainPoint),
    /// A student in training has gone on from a prompt.
    Sample {
        /// After this step.
        step: u64,
        /// The prompt and what it wrote.
        text: &'a str,
    },
    /// Something a person should read.
    Warning(&'a str),
}

/// A method that could not be held or could not work, and what was done instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fallback {
    /// What was asked.
    pub from: String,
    /// What was done.
    pub to: String,
    /// Why.
    pub reason: String,
}

impl Fallback {
    /// Two words on one layer as one, in the order in which they were spoken.
    pub fn join(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(first), Some(second)) => Some(Self {
                from: format!("{}, {}", first.from, second.from),
                to: format!("{}, {}", first.to, second.to),
                reason: format!("{}; {}", first.reason, second.reason),
            }),
            (first, second) => first.or(second),
        }
    }
}

/// One layer of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Name as `inspect` prints it.
    pub name: String,
    /// Method that did the work.
    pub method: Method,
    /// Bits of a code; of the dense dtype where the method is `none`.
    pub bits: u8,
    /// Weights per scale; 0 = a row.
    pub group: usize,
    /// Share of weights that are exactly zero after the work; of a layer with factors, before those are added.
    pub sparsity: f64,
    /// How weights were scored that became zero.
    #[serde(default)]
    pub prune: PruneMethod,
    /// Where zeros may lie; null where nothing was pruned.
    #[serde(default)]
    pub pattern: Option<SparsityPattern>,
    /// Rank of the factors; null without factors.
    #[serde(default)]
    pub rank: Option<usize>,
    /// Weights of a palette; null without palettes.
    #[serde(default)]
    pub palette: Option<usize>,
    /// Stored bytes of the layer: codes, scales, zeros, padding.
    pub bytes: u64,
    /// Weights of the layer.
    pub weights: u64,
    /// `||X(W-Q)ᵀ||_F / ||XWᵀ||_F` over the calibration inputs, which are not rounded for it; null without calibration.
    pub relative_output_error: Option<f64>,
    /// Signal to quantization noise of the weights; null where there is no error or no signal.
    pub sqnr_db: Option<f64>,
    /// Cosine of original and solved weights; null for an all-zero layer.
    pub cosine: Option<f64>,
    /// Largest absolute error of a weight; null where what the codes stand for is not known any more.
    pub max_error: Option<f64>,
    /// Seconds of solving.
    pub seconds: f64,
    /// Null, or what was done instead of what was asked.
    pub fallback: Option<Fallback>,
    /// What the solver had to do that nobody asked for.
    pub warnings: Vec<Warning>,
    /// Different codes used, at most `2^bits`.
    pub codes_used: u32,
    /// Inputs never non-zero in calibration.
    pub dead_inputs: usize,
    /// What the layer does to its inputs when it runs. The errors above are of weights alone.
    #[serde(default)]
    pub activations: ActivationPlan,
    /// Settings in force.
    pub settings: LayerSettings,
    /// Histograms of weights before and after and of the error.
    pub histograms: Option<Histograms>,
    /// Why figures are null that were known when the layer was solved.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Quality of a decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecoderEvaluation {
    /// Scored tokens and the first of each window.
    pub tokens: u64,
    /// Windows.
    pub windows: u64,
    /// exp of the mean negative log-likelihood.
    pub perplexity: f64,
    /// Standard error of the perplexity, windows as the unit; null with a single window.
    pub perplexity_stderr: Option<f64>,
    /// Wall seconds.
    pub seconds: f64,
    /// The reference's perplexity on the same windows.
    pub reference_perplexity: Option<f64>,
    /// `perplexity / reference_perplexity`.
    pub perplexity_ratio: Option<f64>,
    /// Standard error of the ratio from paired windows: far smaller than those of the two perplexities.
    pub perplexity_ratio_stderr: Option<f64>,
    /// KL(reference || model) per scored token, nats.
    pub kl: Option<KlSummary>,
    /// Share of scored tokens with the same most likely token.
    pub same_top: Option<f64>,
    /// Share of scored tokens whose correctness (most likely token = true token) changed.
    pub flips: Option<f64>,
    /// How the model saw keys and values; its reference sees them as they are.
    #[serde(default)]
    pub kv_cache: KvCache,
}

/// Distribution of KL per token, nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KlSummary {
    /// Mean.
    pub mean: f64,
    /// Standard error of the mean, windows as the unit; null with a single window.
    pub stderr: Option<f64>,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Quality of an encoder against its reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderEvaluation {
    /// Cosine of sentence embeddings with the reference's.
    pub cosine: Option<CosineSummary>,
    /// Spearman correlation with the human scores.
    pub spearman: Option<f64>,
    /// The reference's.
    pub reference_spearman: Option<f64>,
    /// Texts embedded.
    pub texts: u64,
    /// Wall seconds.
    pub seconds: f64,
}

/// Distribution of cosines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CosineSummary {
    /// Mean.
    pub mean: f64,
    /// 1st percentile.
    pub p01: f64,
    /// Smallest.
    pub min: f64,
}

/// Either kind of quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Evaluation {
    /// A decoder's.
    Decoder(DecoderEvaluation),
    /// An encoder's.
    Encoder(EncoderEvaluation),
}

/// Outcome of reopening what was written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Tensors compared.
    pub tensors: usize,
    /// Largest difference of a value; 0 where the container holds the solved values exactly.
    pub max_abs_difference: f64,
}

/// A layer that a container could not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerFallback {
    /// The layer.
    pub name: String,
    /// What was done instead.
    pub fallback: Fallback,
}

/// `pare export --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportReport {
    /// The folder made.
    pub out: String,
    /// The container's word.
    pub format: String,
    /// Bytes of all files written.
    pub bytes: u64,
    /// Outcome of reopening it.
    pub verified: Verified,
    /// Layers that the container could not hold.
    pub fallbacks: Vec<LayerFallback>,
}

//! What a model would take and give on a device: memory, and the time of each layer for reading a prompt and writing a token.
//!
//! A pure function of counts and a profile, fast enough for a slider; it runs no model. Each operation takes
//! `launch + max(operations / rate, bytes / bandwidth)`; a result carries the band that the profile's bands give.

mod demand;
mod form;
mod passes;
mod rates;
#[cfg(test)]
mod tests;

pub use crate::packed::Form;
pub use demand::{LayerDemand, Network};

use crate::device::{Basis, DeviceProfile, EngineProfile};
use crate::settings::KvCache;
use serde::{Deserialize, Serialize};

/// Bytes of a value that a pass works on.
const VALUE_BYTES: u64 = 4;

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct EstimateInput {
    /// The network beside its weights.
    pub network: Network,
    /// All tensors of the model.
    pub layers: Vec<LayerDemand>,
    /// Bytes of all files of the written model.
    pub bytes: u64,
    /// Tokens that are cached when a token is written.
    pub context: usize,
    /// Tokens of the prompt that is read at once.
    pub prompt: usize,
    /// How keys and values are kept.
    pub kv_cache: KvCache,
    /// Threads that work; `None` = all of the engine.
    pub threads: Option<usize>,
}

/// What is estimated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The device.
    pub device: String,
    /// Its engine.
    pub engine: String,
    /// Threads that work.
    pub threads: usize,
    /// Tokens that are cached when a token is written.
    pub context: usize,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Memory while it runs.
    pub memory_bytes: MemoryBytes,
    /// Whether that fits the device.
    pub fits: bool,
    /// Reading the prompt.
    pub prefill: PassTime,
    /// Writing one token; null of an encoder.
    pub decode: Option<Speed>,
    /// Where the time goes; sums to `prefill` and `decode`.
    pub layers: Vec<LayerTime>,
    /// How the device's numbers are known.
    pub basis: Basis,
}

/// Memory of a running model, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryBytes {
    /// Weights as they are held while they run.
    pub weights: u64,
    /// Keys and values at the context.
    pub kv_cache: u64,
    /// Working values.
    pub activations: u64,
    /// All together.
    pub total: u64,
}

/// The time of a whole pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PassTime {
    /// Likeliest, milliseconds.
    pub milliseconds: f64,
    /// If all goes fast.
    pub low: f64,
    /// If all goes slowly.
    pub high: f64,
}

/// The speed of writing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Likeliest.
    pub tokens_per_second: f64,
    /// If all goes slowly.
    pub low: f64,
    /// If all goes fast.
    pub high: f64,
    /// Likeliest time of one token, milliseconds.
    pub milliseconds: f64,
}

/// One part of the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerTime {
    /// The layer's name, or what else takes time.
    pub name: String,
    /// Index into `EstimateInput::layers`; null of what is no tensor.
    pub layer: Option<usize>,
    /// The block that it belongs to.
    pub block: Option<usize>,
    /// What it is.
    pub part: TimedPart,
    /// In reading the prompt.
    pub prefill: OpTime,
    /// In writing one token; null of an encoder.
    pub decode: Option<OpTime>,
}

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimedPart {
    /// A product with weights.
    Product,
    /// Attention between its projections.
    Attention,
    /// Norms, rotation, activation and sums of a block.
    Small,
    /// Looking tokens up.
    Embedding,
    /// What each pass costs besides.
    Fixed,
}

/// The time of one operation, and what bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OpTime {
    /// Likeliest, milliseconds.
    pub milliseconds: f64,
    /// If all goes fast.
    pub low: f64,
    /// If all goes slowly.
    pub high: f64,
    /// What it waits for most.
    pub bound_by: Bound,
    /// Multiplications and additions.
    pub operations: f64,
    /// Bytes that come from memory.
    pub bytes: f64,
}

/// What an operation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Bytes.
    Memory,
    /// Being started.
    Launch,
}

impl OpTime {
    /// Operations for each byte; `None` where no byte comes.
    pub fn intensity(&self) -> Option<f64> {
        (self.bytes > 0.0).then(|| self.operations / self.bytes)
    }

    /// 1e9 operations a second as estimated.
    pub fn achieved_gops(&self) -> f64 {
        self.operations / self.milliseconds.max(f64::MIN_POSITIVE) / 1e6
    }
}

/// What `input` takes and gives on an engine of `device`.
pub fn estimate(input: &EstimateInput, device: &DeviceProfile, engine: &EngineProfile) -> Estimate {
    let ties = ties(input);
    let layers = passes::layer_times(input, engine, ties);
    let memory_bytes = memory(input, engine);
    let sum = |pick: &dyn Fn(&LayerTime) -> Option<OpTime>| {
        let times = layers.iter().filter_map(pick);
        times.fold((0.0, 0.0, 0.0), |sum, time| {
            (
                sum.0 + time.milliseconds,
                sum.1 + time.low,
                sum.2 + time.high,
            )
        })
    };
    let prefill = sum(&|layer| Some(layer.prefill));
    let decode = sum(&|layer| layer.decode);
    Estimate {
        device: device.name.clone(),
        engine: engine.name.clone(),
        threads: threads(input, engine),
        context: input.context,
        prompt: input.prompt,
        bytes: input.bytes,
        fits: memory_bytes.total <= device.memory_bytes(),
        memory_bytes,
        prefill: PassTime {
            milliseconds: prefill.0,
            low: prefill.1,
            high: prefill.2,
        },
        decode: input.network.writes_tokens.then(|| Speed {
            tokens_per_second: 1e3 / decode.0,
            low: 1e3 / decode.2,
            high: 1e3 / decode.1,
            milliseconds: decode.0,
        }),
        layers,
        basis: engine.basis(),
    }
}

/// Milliseconds that `layer` adds to the time of a token (of an encoder, of the prompt) in a model like `input`.
pub fn layer_milliseconds(
    input: &EstimateInput,
    engine: &EngineProfile,
    layer: &LayerDemand,
) -> f64 {
    passes::layer_milliseconds(input, engine, layer, ties(input))
}

/// Threads that work on `engine`: those asked for, as far as it has them.
fn threads(input: &EstimateInput, engine: &EngineProfile) -> usize {
    input
        .threads
        .unwrap_or(engine.threads)
        .clamp(1, engine.threads)
}

/// Whether the table of the embedding is the head too.
fn ties(input: &EstimateInput) -> bool {
    let is_head = |layer: &LayerDemand| layer.kind == crate::model::LayerKind::Head;
    input.network.writes_tokens && !input.layers.iter().any(is_head)
}

/// Memory at the longer of context and prompt.
fn memory(input: &EstimateInput, engine: &EngineProfile) -> MemoryBytes {
    let weights = input
        .layers
        .iter()
        .map(|layer| layer.held_bytes(engine.kind))
        .sum();
    let tokens = input.context.max(input.prompt);
    let kv_cache = input.network.cache_bytes(tokens, input.kv_cache);
    let activations = VALUE_BYTES * working_values(input);
    MemoryBytes {
        weights,
        kv_cache,
        activations,
        total: weights + kv_cache + activations,
    }
}

/// Values that are alive at once while a block reads the prompt, and the logits of the last token.
fn working_values(input: &EstimateInput) -> u64 {
    let network = &input.network;
    let first = input.layers.iter().filter(|layer| layer.block == Some(0));
    let outputs: usize = first
        .filter(|layer| layer.kind == crate::model::LayerKind::Linear)
        .map(|layer| layer.rows)
        .sum();
    let tokens = input.prompt.max(1) as u64;
    let looks = network.heads as u64 * tokens * tokens;
    let logits = if network.writes_tokens {
        network.vocabulary as u64
    } else {
        0
    };
    tokens * (2 * network.hidden as u64 + outputs as u64) + looks + logits
}

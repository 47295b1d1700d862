//! ONE transformer, described by a small table per family, run block by block.
//!
//! `config` and `family` turn a `config.json` into switches and names; `plan` into tensors; `block` and `ends` run
//! them over a `Linear`. Loads only what is asked for: one block, or the ends. Dense weights compute in f32 and are
//! differentiable; packed ones run on the integer kernels and hand gradients on. Knows no container, corpus or solver.

mod around;
mod attention;
mod block;
mod cache;
mod config;
mod context;
mod cut;
mod embedding;
mod ends;
mod error;
mod family;
mod fold;
mod fused;
mod keys;
mod layers;
mod linear;
mod naming;
mod norm;
mod ops;
mod plan;
mod provider;
mod rope;
mod scalar;
mod solved_layer;
mod stage;
mod watch;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use around::{Adapter, Around, Dropout, InputPlans, RoundedInputs};
pub use block::Block;
pub use cache::{BlockCache, CacheKind, cache_token_bytes};
pub use config::{
    Activation, Arrangement, ModelConfig, NormKind, Positions, ProjectionKind, SmallerSizes,
};
pub use context::Context;
pub use cut::{KeptParts, Slice};
pub use ends::Ends;
pub use error::ModelError;
pub use family::{BlockNames, Family, Names};
pub use fold::{ChangedTensor, Fold, Producer};
pub use layers::{LayerInfo, LayerKind, Role, list_layers};
pub use linear::Linear;
pub use plan::PlannedTensor;
pub use provider::{Multiplied, Provider};
pub use rope::Rope;
pub use stage::Stage;

use crate::packed::{ActivationPlan, FLOAT_BYTES, PackedSource};
use crate::solved::Solved;
use crate::tensor::WeightSource;
use candle_core::Tensor;
use plan::{Plan, find_prefix};
use provider::{OnKernels, Rounding, Weights};
use std::fmt;
use std::sync::Arc;

/// A network whose names and shapes are known to fit; no weights in memory.
#[derive(Clone)]
pub struct Model {
    source: Arc<dyn WeightSource>,
    config: Arc<ModelConfig>,
    prefix: &'static str,
    layers: Arc<Vec<LayerInfo>>,
    /// Where codes come from; `None` = all weights are dense.
    packed: Option<Arc<dyn PackedSource>>,
    /// Where all tensors come from in place of both.
    provider: Option<Arc<dyn Provider + Send + Sync>>,
    /// How inputs are rounded in place of how layers are stored.
    inputs: Option<Arc<InputPlans>>,
}

impl Model {
    /// Checks names, shapes and dtypes against the config, from headers alone.
    pub fn open(
        source: Arc<dyn WeightSource>,
        config_json: &serde_json::Value,
    ) -> Result<Self, ModelError> {
        let config = ModelConfig::parse(config_json)?;
        let prefix = find_prefix(&config, source.as_ref());
        Plan::new(&config, prefix).check(source.as_ref())?;
        let layers = list_layers(source.as_ref(), Some(&config));
        Ok(Self {
            source,
            config: Arc::new(config),
            prefix,
            layers: Arc::new(layers),
            packed: None,
            provider: None,
            inputs: None,
        })
    }

    /// The same network with the weights that `source` holds as codes packed: they multiply as they are stored, and
    /// give no gradient. `source` must hold what the model's own source stands for.
    pub fn on_kernels(&self, source: Arc<dyn PackedSource>) -> Self {
        Self {
            packed: Some(source),
            ..self.clone()
        }
    }

    /// The same network with tensors, and what stands around them, from `provider`: for instance a trained adapter beside
    /// the model's own weights.
    pub fn over(&self, provider: Arc<dyn Provider + Send + Sync>) -> Self {
        Self {
            provider: Some(provider),
            ..self.clone()
        }
    }

    /// The same network with layers that round their inputs as `inputs` says: for instance as another program does.
    pub fn with_inputs(&self, inputs: Arc<InputPlans>) -> Self {
        Self {
            inputs: Some(inputs),
            ..self.clone()
        }
    }

    /// Bytes that a layer takes in memory: of packed layers those of the form in which they run, of all else four for
    /// each value.
    pub fn resident_bytes(&self, layer: &LayerInfo) -> u64 {
        let packed = self.packed.as_ref();
        let Some(stored) = packed.and_then(|source| source.stored(&layer.tensor)) else {
            return FLOAT_BYTES * layer.parameters;
        };
        let held = || stored.held_bytes(layer.rows, layer.columns);
        let table = || stored.table_bytes(layer.rows, layer.columns);
        match layer.kind {
            LayerKind::Embedding if self.config.tied => held() + table(),
            LayerKind::Embedding => table(),
            _ => held(),
        }
    }

    /// The codes that run in place of a weight; `None` where it is dense.
    pub fn codes_of(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
        match &self.packed {
            Some(source) => Ok(source.solved(tensor)?),
            None => Ok(None),
        }
    }

    /// The network's description.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Every tensor; the indices of stages and folds point here.
    pub fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// Whether the network gives hidden states instead of logits.
    pub fn is_encoder(&self) -> bool {
        self.config.family.is_encoder()
    }

    /// Where the weights come from.
    pub fn source(&self) -> &Arc<dyn WeightSource> {
        &self.source
    }

    /// Positions, and rotary tables for a full forward pass of `tokens` positions.
    pub fn context(&self, tokens: usize) -> Result<Context, ModelError> {
        self.context_after(0, tokens)
    }

    /// The same for `tokens` positions that follow `offset` cached ones.
    pub fn context_after(&self, offset: usize, tokens: usize) -> Result<Context, ModelError> {
        Context::new(&self.config, offset, tokens)
    }

    /// Reads embedding, final norm and head.
    pub fn load_ends(&self) -> Result<Ends, ModelError> {
        self.with_provider(|provider| self.build_ends(provider))
    }

    /// Reads block `index`.
    pub fn load_block(&self, index: usize) -> Result<Block, ModelError> {
        self.with_provider(|provider| self.build_block(index, provider))
    }

    /// `build` with the model's own tensors.
    fn with_provider<R>(&self, build: impl FnOnce(&dyn Provider) -> R) -> R {
        let weights = Weights(self.source.as_ref());
        let kernels;
        let provider: &dyn Provider = match (&self.provider, self.packed.as_deref()) {
            (Some(provider), _) => provider.as_ref(),
            (None, Some(packed)) => {
                kernels = OnKernels { weights, packed };
                &kernels
            }
            (None, None) => &weights,
        };
        match self.inputs.as_deref() {
            Some(inputs) => build(&Rounding { provider, inputs }),
            None => build(provider),
        }
    }

    /// The ends with tensors from anywhere, for instance a trainer's variables.
    pub fn build_ends(&self, provider: &dyn Provider) -> Result<Ends, ModelError> {
        Ends::build(&self.config, self.prefix, &self.layers, provider)
    }

    /// Block `index` with tensors from anywhere.
    pub fn build_block(&self, index: usize, provider: &dyn Provider) -> Result<Block, ModelError> {
        if index >= self.config.blocks {
            return Err(ModelError::Misuse {
                problem: format!("there are {} blocks, no block {index}", self.config.blocks),
            });
        }
        Block::build(&self.config, self.prefix, &self.layers, index, provider)
    }

    /// The whole network over one sequence, one block in memory at a time: `[1, tokens, vocabulary]`, of an encoder
    /// `[1, tokens, hidden]`.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let context = self.context(ids.len())?;
        let ends = self.load_ends()?;
        let mut hidden = ends.embed(ids, &context)?;
        for index in 0..self.config.blocks {
            hidden = self.load_block(index)?.forward(&hidden, &context, None)?;
        }
        ends.head(&hidden)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Model")
            .field("config", &self.config)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

//! Models that other programs quantized: what their `config.json` says, and which tensors make up which layer.
//!
//! One module for each container; what the bytes mean is `packed`'s knowledge. Everything that headers can tell is checked
//! here, everything else when a layer is read.

mod bnb;
mod gptq;
mod mlx;

use std::path::Path;

use serde_json::Value;

use super::error::CheckpointError;
use super::packed_source::{PackedTensor, packed_error};
use super::shards::Shards;
use crate::packed::External;
use crate::tensor::Dtype;
use bnb::BnbConfig;
use gptq::GptqConfig;
use mlx::MlxConfig;

/// How a whole model is quantized.
#[derive(Debug)]
pub(super) enum Quantization {
    /// `gptq`.
    Gptq(GptqConfig),
    /// `mlx`.
    Mlx(MlxConfig),
    /// `bnb-nf4`.
    Bnb(BnbConfig),
}

impl Quantization {
    /// What `config` says, or the `older` file beside it; `None` of a model that is not quantized. What is not known is
    /// an error.
    pub(super) fn of_model(
        root: &Path,
        config: &Value,
        older: Option<&Value>,
    ) -> Result<Option<Self>, CheckpointError> {
        if let Some(mlx) = MlxConfig::of_model(root, config)? {
            return Ok(Some(Self::Mlx(mlx)));
        }
        if let Some(bnb) = BnbConfig::of_model(root, config)? {
            return Ok(Some(Self::Bnb(bnb)));
        }
        let gptq = GptqConfig::of_model(root, config, older)?;
        Ok(gptq.map(Self::Gptq))
    }

    /// The container.
    pub(super) fn external(&self) -> External {
        match self {
            Self::Gptq(_) => External::Gptq,
            Self::Mlx(_) => External::Mlx,
            Self::Bnb(_) => External::Bnb,
        }
    }

    /// The layers that it tells of.
    pub(super) fn layers(
        &self,
        root: &Path,
        shards: &Shards,
    ) -> Result<Vec<PackedTensor>, CheckpointError> {
        // Each container has a tensor that every one of its layers has.
        let mark = match self {
            Self::Gptq(_) => ".qweight",
            Self::Mlx(_) => ".scales",
            Self::Bnb(_) => ".weight.absmax",
        };
        let names = shards.tensors.iter();
        names
            .filter_map(|tensor| tensor.name.strip_suffix(mark))
            .map(|name| {
                let found = match self {
                    Self::Gptq(config) => gptq::layer(name, config, shards),
                    Self::Mlx(config) => mlx::layer(name, config, shards),
                    Self::Bnb(config) => bnb::layer(name, config, shards),
                };
                let found = found.map_err(|problem| packed_error(root, name, problem))?;
                Ok(found.into_tensor(shards))
            })
            .collect()
    }
}

/// The dtype that the model had before it was quantized.
fn original_dtype(config: &Value) -> Option<Dtype> {
    let word = text_of(config, "dtype").or_else(|| text_of(config, "torch_dtype"))?;
    match word {
        "float32" => Some(Dtype::F32),
        "float16" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        _ => None,
    }
}

/// The text under a key.
fn text_of<'value>(value: &'value Value, key: &str) -> Option<&'value str> {
    value.get(key)?.as_str()
}

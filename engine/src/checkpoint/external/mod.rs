//! Models that other programs quantized: what their `config.json` says, and which tensors make up which layer.
//!
//! One module for each container; what the bytes mean is `packed`'s knowledge. Everything that headers can tell is checked
//! here, everything else when a layer is read.

mod awq;
mod bnb;
mod compressed_tensors;
mod gptq;
mod mlx;
mod names;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;

use super::error::CheckpointError;
use super::folder::read_optional;
use super::packed_source::{PackedTensor, find_part, packed_error};
use super::shards::{Shards, StoredTensor};
use crate::packed::External;
use crate::tensor::Dtype;
use awq::AwqConfig;
use bnb::BnbConfig;
use compressed_tensors::CompressedConfig;
use gptq::GptqConfig;
use mlx::MlxConfig;
pub(super) use names::rename;

/// The file in which older programs keep gptq's settings.
const OLDER_GPTQ_CONFIG: &str = "quantize_config.json";

/// How a whole model is quantized.
#[derive(Debug)]
pub(super) enum Quantization {
    /// `gptq`.
    Gptq(GptqConfig),
    /// `mlx`.
    Mlx(MlxConfig),
    /// `bnb-nf4`.
    Bnb(BnbConfig),
    /// `compressed_tensors`.
    CompressedTensors(CompressedConfig),
    /// `awq`.
    Awq(AwqConfig),
}

impl Quantization {
    /// What the `config.json` of a folder says, or the file in which older programs kept gptq's settings.
    pub(super) fn of_folder(
        folder: &Path,
        config: Option<&Value>,
    ) -> Result<Option<Self>, CheckpointError> {
        let Some(config) = config else {
            return Ok(None);
        };
        let older = read_optional(folder, OLDER_GPTQ_CONFIG, OLDER_GPTQ_CONFIG)?;
        Self::of_model(folder, config, older.as_ref())
    }

    /// What `config` says, or the `older` file beside it; `None` of a model that is not quantized. What is not known is
    /// an error.
    fn of_model(
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
        let named = config
            .get("quantization_config")
            .filter(|found| found.is_object());
        let method = named.and_then(|found| text_of(found, "quant_method"));
        Ok(match (method, named) {
            (Some("compressed-tensors"), Some(found)) => Some(Self::CompressedTensors(
                CompressedConfig::of_model(root, config, found)?,
            )),
            (Some("awq"), Some(found)) => {
                Some(Self::Awq(AwqConfig::of_model(root, config, found)?))
            }
            _ => GptqConfig::of_model(root, config, older)?.map(Self::Gptq),
        })
    }

    /// The container.
    pub(super) fn external(&self) -> External {
        match self {
            Self::Gptq(_) => External::Gptq,
            Self::Mlx(_) => External::Mlx,
            Self::Bnb(_) => External::Bnb,
            Self::CompressedTensors(_) => External::CompressedTensors,
            Self::Awq(_) => External::Awq,
        }
    }

    /// What it asks of whoever runs the model and is not done here, in sentences.
    pub(super) fn notes(&self) -> Vec<String> {
        match self {
            Self::CompressedTensors(config) => config.notes(),
            Self::Gptq(_) | Self::Mlx(_) | Self::Bnb(_) | Self::Awq(_) => Vec::new(),
        }
    }

    /// The layers that it tells of.
    pub(super) fn layers(
        &self,
        root: &Path,
        shards: &Shards,
    ) -> Result<Vec<PackedTensor>, CheckpointError> {
        let names = shards.tensors.iter();
        names
            .filter_map(|tensor| self.layer_of(tensor))
            .map(|name| {
                let found = match self {
                    Self::Gptq(config) => gptq::layer(name, config, shards),
                    Self::Mlx(config) => mlx::layer(name, config, shards),
                    Self::Bnb(config) => bnb::layer(name, config, shards),
                    Self::CompressedTensors(config) => {
                        compressed_tensors::layer(name, config, shards)
                    }
                    Self::Awq(config) => awq::layer(name, config, shards),
                };
                let found = found.map_err(|problem| packed_error(root, name, problem))?;
                Ok(found.into_tensor(shards))
            })
            .collect()
    }

    /// The layer of a tensor of which every layer of the container has exactly one.
    fn layer_of<'tensor>(&self, tensor: &'tensor StoredTensor) -> Option<&'tensor str> {
        let name = tensor.name.as_str();
        match self {
            Self::Gptq(_) | Self::Awq(_) => name.strip_suffix(".qweight"),
            Self::Mlx(_) => name.strip_suffix(".scales"),
            Self::Bnb(_) => name.strip_suffix(".weight.absmax"),
            Self::CompressedTensors(_) if tensor.info.dtype == Dtype::I8 => {
                name.strip_suffix(".weight")
            }
            Self::CompressedTensors(_) => name.strip_suffix(".weight_packed"),
        }
    }
}

/// Ends of names that tensors of quantized layers have and others have not.
const MARKS: [&str; 5] = [
    ".qweight",
    ".qzeros",
    ".weight_packed",
    ".weight.absmax",
    ".scales",
];

/// What to say of a model in which nothing was found quantized, and whose tensors look as if it were.
pub(super) fn unspoken(shards: &Shards) -> Option<String> {
    let mut names = shards.tensors.iter().map(|tensor| tensor.name.as_str());
    let found = names.find(|name| MARKS.iter().any(|mark| name.ends_with(mark)))?;
    Some(format!(
        "its tensor {found} looks like a part of quantized weights, and config.json has no quantization_config that says how to read those; fetch the model's own config.json again"
    ))
}

/// Index and shape of a layer's part of one of these types. The error is the end of a sentence that begins with the layer.
fn part<'shards>(
    shards: &'shards Shards,
    name: &str,
    suffix: &str,
    dtypes: &[Dtype],
    dimensions: usize,
) -> Result<(usize, &'shards [usize]), String> {
    let index = find_part(shards, &format!("{name}.{suffix}"))?;
    let info = &shards.tensors[index].info;
    if dtypes.contains(&info.dtype) && info.shape.len() == dimensions {
        return Ok((index, &info.shape));
    }
    let words: Vec<String> = dtypes.iter().map(Dtype::to_string).collect();
    Err(format!(
        "needs {suffix} as {} with {dimensions} dimensions, but the file has {} {:?}",
        words.join(" or "),
        info.dtype,
        info.shape
    ))
}

/// Families whose weights lie `[in, out]` in a dense checkpoint, by `model_type`; codes lie `[out, in]` whoever wrote them.
const CONV1D_FAMILIES: [&str; 1] = ["gpt2"];

/// Whether the dense weights of a model's layers lie `[in, out]`.
fn is_transposed(config: &Value) -> bool {
    text_of(config, "model_type").is_some_and(|family| CONV1D_FAMILIES.contains(&family))
}

/// Whether a layer's do: embeddings never.
fn lies_transposed(config_says: bool, name: &str) -> bool {
    config_says && name.split('.').any(|part| part.parse::<u32>().is_ok())
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

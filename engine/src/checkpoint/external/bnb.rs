//! Layers that bitsandbytes quantized to 4 bits. Their shape stands in a small text beside the codes, and what those stand for
//! in 16 numbers: both are read when the model is opened, headers alone do not tell it.

use std::path::Path;

use serde_json::Value;

use super::super::error::CheckpointError;
use super::super::packed_source::{Found, find_part};
use super::super::shards::Shards;
use super::{is_transposed, original_dtype, text_of};
use crate::packed::ExternalLayer;
use crate::packed::bnb::{Layout, QuantType, parse_state, suffixes};
use crate::tensor::Dtype;

/// Most bytes of a layer's text; bitsandbytes writes less than 200.
const MAX_STATE_BYTES: u64 = 4096;

/// Bytes of the levels that codes stand for.
const LEVELS_BYTES: u64 = 64;

/// Settings of a whole model.
#[derive(Debug)]
pub(in crate::checkpoint) struct BnbConfig {
    transposed: bool,
    original_dtype: Option<Dtype>,
}

impl BnbConfig {
    /// The settings that `config` holds; `None` where it names another method. 8 bits are an error.
    pub(super) fn of_model(root: &Path, config: &Value) -> Result<Option<Self>, CheckpointError> {
        let Some(quantization) = config.get("quantization_config") else {
            return Ok(None);
        };
        if text_of(quantization, "quant_method") != Some("bitsandbytes") {
            return Ok(None);
        }
        if quantization.get("load_in_4bit").and_then(Value::as_bool) != Some(true) {
            return Err(CheckpointError::UnknownQuantization {
                method: "bitsandbytes in 8 bits".to_owned(),
                path: root.to_owned(),
            });
        }
        Ok(Some(Self {
            transposed: is_transposed(config),
            original_dtype: original_dtype(config),
        }))
    }
}

/// The layer of that name. The error is the end of a sentence that begins with the layer.
pub(super) fn layer(name: &str, config: &BnbConfig, shards: &Shards) -> Result<Found, String> {
    let find = |suffix: &'static str| {
        let index = find_part(shards, &format!("{name}.{suffix}"))?;
        Ok::<_, String>((suffix, index))
    };
    let kinds = [QuantType::Nf4, QuantType::Fp4].map(QuantType::state_suffix);
    let is_there = |suffix: &&str| shards.find(&format!("{name}.{suffix}")).is_some();
    let suffix = kinds.into_iter().find(is_there).unwrap_or(kinds[0]);
    let (_, text) = find(suffix)?;
    let length = shards.tensors[text].info.size_bytes;
    if length > MAX_STATE_BYTES {
        return Err(format!("has a quant_state of {length} bytes"));
    }
    let bytes = shards
        .read_all(text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    let state = parse_state(&bytes).map_err(|problem| format!("cannot be read: {problem}"))?;
    if state.quant_type.state_suffix() != suffix {
        return Err("has a quant_state under the name of another type".to_owned());
    }
    let (_, weight) = find(suffixes::WEIGHT)?;
    let stored = shards.tensors[weight].info.size_bytes;
    if stored != state.weights()?.div_ceil(2) as u64 {
        return Err(format!(
            "has {stored} bytes of codes for {} x {} weights",
            state.rows, state.columns
        ));
    }
    let (_, levels) = find(suffixes::QUANT_MAP)?;
    let mut parts = vec![
        (suffixes::WEIGHT, weight),
        find(suffixes::ABSMAX)?,
        (suffixes::QUANT_MAP, levels),
        (suffix, text),
    ];
    if state.nested.is_some() {
        parts.extend([
            find(suffixes::NESTED_ABSMAX)?,
            find(suffixes::NESTED_QUANT_MAP)?,
        ]);
    }
    Ok(Found {
        name: name.to_owned(),
        layout: ExternalLayer::Bnb(Layout::of_state(&state, &levels_of(levels, shards)?)),
        rows: state.rows,
        columns: state.columns,
        transposed: config.transposed,
        original_dtype: config.original_dtype.or(Some(state.dtype)),
        parts,
    })
}

/// The bytes of the levels, which say whether the codes are those of NF4.
fn levels_of(index: usize, shards: &Shards) -> Result<Vec<u8>, String> {
    let length = shards.tensors[index].info.size_bytes;
    if length != LEVELS_BYTES {
        return Err(format!(
            "has {length} bytes of levels instead of {LEVELS_BYTES}"
        ));
    }
    let bytes = shards.read_all(index);
    bytes.map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn four_bits_are_read_and_others_refused_by_name() {
        let of = |config: Value| BnbConfig::of_model(Path::new("m"), &config);
        assert!(of(json!({})).unwrap().is_none());
        assert!(
            of(json!({ "quantization_config": { "quant_method": "gptq" } }))
                .unwrap()
                .is_none()
        );
        let four = json!({ "quant_method": "bitsandbytes", "load_in_4bit": true });
        let found =
            of(json!({ "quantization_config": four, "model_type": "gpt2", "dtype": "float16" }));
        let found = found.unwrap().unwrap();
        assert!(found.transposed && found.original_dtype == Some(Dtype::F16));
        let eight = json!({ "quant_method": "bitsandbytes", "load_in_8bit": true });
        let error = of(json!({ "quantization_config": eight }))
            .unwrap_err()
            .to_string();
        assert!(error.contains("8 bits"), "{error}");
    }
}

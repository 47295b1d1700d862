//! What `config.json` says about layers in the gptq layout: `quantization_config`, or the older `quantize_config.json`.
//!
//! `dynamic` maps regexes, matched from the start of a layer's name, to other settings: `+:` or nothing in front gives
//! settings, `-:` leaves layers dense. The first that matches decides. Knows no tensor.

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::error::CheckpointError;
use crate::packed::gptq::CheckpointFormat;
use crate::tensor::Dtype;

/// Families whose weights lie `[in, out]` in a dense checkpoint, by `model_type`.
const CONV1D_FAMILIES: [&str; 1] = ["gpt2"];

/// Settings of a whole model.
#[derive(Debug)]
pub(super) struct GptqConfig {
    /// How zeros are stored.
    pub(super) format: CheckpointFormat,
    /// Whether dense weights of this family lie `[in, out]`.
    pub(super) transposed: bool,
    /// The dtype of the dense model.
    pub(super) original_dtype: Option<Dtype>,
    bits: u8,
    group_size: usize,
    overrides: Vec<Override>,
}

/// One entry of `dynamic` that gives settings.
#[derive(Debug)]
struct Override {
    pattern: Regex,
    bits: Option<u8>,
    group_size: Option<usize>,
}

impl GptqConfig {
    /// The settings that `config` holds; `None` for a model that is not quantized. Other quantization methods are errors.
    pub(super) fn of_model(
        root: &Path,
        config: &Value,
        older: Option<&Value>,
    ) -> Result<Option<Self>, CheckpointError> {
        let named = config
            .get("quantization_config")
            .filter(|found| found.is_object());
        let Some(quantization) = named.or(older) else {
            return Ok(None);
        };
        let unknown = |method: String| CheckpointError::UnknownQuantization {
            method,
            path: root.to_owned(),
        };
        let method = text_of(quantization, "quant_method").unwrap_or("gptq");
        if method != "gptq" {
            return Err(unknown(method.to_owned()));
        }
        let word = text_of(quantization, "checkpoint_format")
            .or_else(|| text_of(quantization, "format"))
            .unwrap_or("gptq");
        let format = CheckpointFormat::from_word(word)
            .ok_or_else(|| unknown(format!("gptq in the layout {word}")))?;
        let bits = bits_of(quantization).ok_or_else(|| unknown("gptq without bits".to_owned()))?;
        let family = text_of(config, "model_type").unwrap_or_default();
        Ok(Some(Self {
            format,
            transposed: CONV1D_FAMILIES.contains(&family),
            original_dtype: original_dtype(config),
            bits,
            group_size: group_of(quantization).unwrap_or(0),
            overrides: overrides(quantization),
        }))
    }

    /// Bits and group of a layer; group 0 = a whole row.
    pub(super) fn of_layer(&self, name: &str) -> (u8, usize) {
        let found = self
            .overrides
            .iter()
            .find(|entry| entry.pattern.is_match(name));
        let bits = found.and_then(|entry| entry.bits);
        let group_size = found.and_then(|entry| entry.group_size);
        (
            bits.unwrap_or(self.bits),
            group_size.unwrap_or(self.group_size),
        )
    }
}

/// Patterns that this program's regexes cannot express are left out: shapes still tell bits and groups.
fn overrides(quantization: &Value) -> Vec<Override> {
    let entries = quantization.get("dynamic").and_then(Value::as_object);
    let mut overrides = Vec::new();
    for (key, settings) in entries.into_iter().flatten() {
        if key.starts_with("-:") {
            continue;
        }
        let pattern = key.strip_prefix("+:").unwrap_or(key);
        if let Ok(pattern) = Regex::new(&format!("^(?:{pattern})")) {
            overrides.push(Override {
                pattern,
                bits: bits_of(settings),
                group_size: group_of(settings),
            });
        }
    }
    overrides
}

fn bits_of(settings: &Value) -> Option<u8> {
    let bits = settings.get("bits")?.as_u64()?;
    u8::try_from(bits)
        .ok()
        .filter(|bits| (2..=8).contains(bits))
}

/// `group_size`, where -1 stands for a whole row.
fn group_of(settings: &Value) -> Option<usize> {
    let group_size = settings.get("group_size")?.as_i64()?;
    Some(usize::try_from(group_size).unwrap_or(0))
}

fn original_dtype(config: &Value) -> Option<Dtype> {
    let word = text_of(config, "dtype").or_else(|| text_of(config, "torch_dtype"))?;
    match word {
        "float32" => Some(Dtype::F32),
        "float16" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        _ => None,
    }
}

fn text_of<'value>(value: &'value Value, key: &str) -> Option<&'value str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn of(config: Value) -> Result<Option<GptqConfig>, CheckpointError> {
        GptqConfig::of_model(Path::new("m"), &config, None)
    }

    #[test]
    fn dynamic_overrides_are_matched_from_the_start_and_the_first_decides() {
        let config = of(json!({ "torch_dtype": "bfloat16", "quantization_config": {
            "quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "gptq_v2",
            "dynamic": {
                "-:^head$": {},
                "+:^a\\.down$": { "bits": 8, "group_size": -1 },
                "a\\..*": { "bits": 3 },
                "(?=x)": { "bits": 2 },
            },
        }}));
        let config = config.unwrap().unwrap();
        assert_eq!(config.format, CheckpointFormat::V2);
        assert_eq!(config.original_dtype, Some(Dtype::BF16));
        assert_eq!(config.of_layer("a.down"), (8, 0));
        assert_eq!(config.of_layer("a.up"), (3, 128));
        assert_eq!(config.of_layer("b.a.up"), (4, 128));
        assert_eq!(config.of_layer("x"), (4, 128));
    }

    #[test]
    fn models_that_are_not_quantized() {
        assert!(of(json!({})).unwrap().is_none());
        assert!(
            of(json!({ "quantization_config": null }))
                .unwrap()
                .is_none()
        );
        assert!(of(json!([])).unwrap().is_none());
    }

    #[test]
    fn other_quantizations_are_refused_by_name() {
        let cases = [
            (json!({ "quant_method": "awq", "bits": 4 }), "awq"),
            (
                json!({ "quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin" }),
                "marlin",
            ),
            (json!({ "quant_method": "gptq" }), "without bits"),
            (
                json!({ "quant_method": "gptq", "bits": 300 }),
                "without bits",
            ),
        ];
        for (quantization, expected) in cases {
            let error = of(json!({ "quantization_config": quantization })).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

//! Layers in the gptq layout, and what `config.json` says of them: `quantization_config`, or the older
//! `quantize_config.json`.
//!
//! `dynamic` maps regexes, matched from the start of a layer's name, to other settings: `+:` or nothing in front gives
//! settings, `-:` leaves layers dense. The first that matches decides. Shapes of tensors speak
//! first; the config says only what they leave open.

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::super::error::CheckpointError;
use super::super::packed_source::Found;
use super::super::shards::Shards;
use super::{is_transposed, original_dtype, part, text_of};
use crate::grid::{GridConfig, ScaleDtype};
use crate::packed::ExternalLayer;
use crate::packed::gptq::CheckpointFormat;
use crate::tensor::Dtype;

/// Settings of a whole model.
#[derive(Debug)]
pub(in crate::checkpoint) struct GptqConfig {
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
        Ok(Some(Self {
            format,
            transposed: is_transposed(config),
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

/// The layer of that name. The error is the end of a sentence that begins with the layer.
pub(super) fn layer(name: &str, config: &GptqConfig, shards: &Shards) -> Result<Found, String> {
    let (qweight, words) = part(shards, name, "qweight", &[Dtype::I32], 2)?;
    let (qzeros, _) = part(shards, name, "qzeros", &[Dtype::I32], 2)?;
    let (scales, groups) = part(shards, name, "scales", &[Dtype::F16], 2)?;
    let indices = match shards.find(&format!("{name}.g_idx")) {
        Some(_) => Some(part(shards, name, "g_idx", &[Dtype::I32], 1)?),
        None => None,
    };
    let (bits, group_size) = config.of_layer(name);
    let (bits, columns) = match &indices {
        Some((_, shape)) => (bits_of_words(words[0], shape[0])?, shape[0]),
        None => (bits, words[0].saturating_mul(32) / usize::from(bits)),
    };
    let rows = words[1];
    // Counts of an empty tensor are bound by no file size.
    if rows == 0 || columns == 0 || words[0] == 0 {
        return Err("has no weights".to_owned());
    }
    let group = group_of_shapes(columns, groups[0], group_size)?;
    let mut parts = vec![("qweight", qweight), ("qzeros", qzeros), ("scales", scales)];
    parts.extend(indices.map(|(index, _)| ("g_idx", index)));
    Ok(Found {
        name: name.to_owned(),
        layout: ExternalLayer::Gptq {
            grid: GridConfig {
                bits,
                group,
                symmetric: false,
                scale_dtype: ScaleDtype::F16,
            },
            format: config.format,
        },
        rows,
        columns,
        transposed: config.transposed,
        original_dtype: config.original_dtype,
        parts,
    })
}

/// Bits of a code from the words that hold `columns` of them.
fn bits_of_words(words: usize, columns: usize) -> Result<u8, String> {
    [2u8, 3, 4, 8]
        .into_iter()
        .find(|&bits| Some(words) == columns.checked_mul(bits.into()).map(|bits| bits / 32))
        .ok_or_else(|| {
            format!("has {words} rows of words for {columns} inputs, which fits no number of bits")
        })
}

fn group_of_shapes(columns: usize, groups: usize, asked: usize) -> Result<usize, String> {
    if groups == 1 {
        Ok(0)
    } else if asked > 0 && columns.div_ceil(asked) == groups {
        Ok(asked)
    } else if groups > 0 && columns.is_multiple_of(groups) {
        Ok(columns / groups)
    } else {
        Err(format!("has {groups} groups for {columns} inputs"))
    }
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
            (json!({ "quant_method": "quip", "bits": 4 }), "quip"),
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

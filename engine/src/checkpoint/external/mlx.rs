//! Layers that MLX quantized, and what `config.json` says of them: `quantization`, with the settings of single layers
//! under their names.
//!
//! mlx-lm keeps the names of transformers for all families but two (`names`). Modes other than `affine` (mxfp4,
//! nvfp4, mxfp8) are refused by name.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::error::CheckpointError;
use super::super::packed_source::{Found, find_part};
use super::super::shards::Shards;
use super::names::in_transformers;
use super::{is_transposed, lies_transposed, original_dtype};
use crate::grid::{GridConfig, ScaleDtype};
use crate::packed::ExternalLayer;
use crate::packed::mlx::{BITS, GROUPS};
use crate::tensor::Dtype;

const AFFINE: &str = "affine";

/// Bits of a word of codes.
const WORD_BITS: usize = 32;

/// Settings of a whole model.
#[derive(Debug)]
pub(in crate::checkpoint) struct MlxConfig {
    base: Own,
    /// Those of single layers; `None` in another mode.
    layers: BTreeMap<String, Option<Own>>,
    transposed: bool,
    original_dtype: Option<Dtype>,
}

/// Settings of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own {
    group: usize,
    bits: u8,
}

impl MlxConfig {
    /// The settings that `config` holds; `None` where it speaks of no quantization by MLX.
    pub(super) fn of_model(root: &Path, config: &Value) -> Result<Option<Self>, CheckpointError> {
        let Some(quantization) = quantization(config) else {
            return Ok(None);
        };
        let unknown = |method: String| CheckpointError::UnknownQuantization {
            method,
            path: root.to_owned(),
        };
        if let Some(mode) = other_mode(quantization) {
            return Err(unknown(format!("mlx in the mode {mode}")));
        }
        let base = own(quantization, None);
        let base =
            base.ok_or_else(|| unknown("mlx in bits or a group_size of no kernel".to_owned()))?;
        let layers = quantization
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_object()?)))
            .map(|(name, settings)| {
                let name = in_transformers(config, &name).unwrap_or(name);
                let is_affine = other_mode(settings).is_none();
                (name, is_affine.then(|| own(settings, Some(base))).flatten())
            })
            .collect();
        Ok(Some(Self {
            base,
            layers,
            transposed: is_transposed(config),
            original_dtype: original_dtype(config),
        }))
    }

    /// The settings of a layer. The error is the end of a sentence.
    fn of_layer(&self, name: &str) -> Result<Own, String> {
        match self.layers.get(name) {
            None => Ok(self.base),
            Some(own) => own.ok_or_else(|| {
                "is in a mode, bits or groups of mlx that cannot be read".to_owned()
            }),
        }
    }
}

/// What MLX wrote: other programs name their method.
fn quantization(config: &Value) -> Option<&Map<String, Value>> {
    let entries = ["quantization", "quantization_config"];
    entries
        .iter()
        .filter_map(|key| config.get(key)?.as_object())
        .find(|found| {
            !found.contains_key("quant_method")
                && found.contains_key("group_size")
                && found.contains_key("bits")
        })
        .filter(|found| !found.contains_key("checkpoint_format"))
}

/// The mode where it is not affine.
fn other_mode(settings: &Map<String, Value>) -> Option<String> {
    let mode = settings.get("mode")?;
    (mode.as_str() != Some(AFFINE)).then(|| {
        mode.as_str()
            .map_or_else(|| mode.to_string(), str::to_owned)
    })
}

/// Group and bits that MLX has kernels for; where one is not told, that of `base`.
fn own(settings: &Map<String, Value>, base: Option<Own>) -> Option<Own> {
    let number = |key: &str, other: Option<usize>| match settings.get(key) {
        None => other,
        Some(value) => usize::try_from(value.as_u64()?).ok(),
    };
    let group = number("group_size", base.map(|base| base.group))?;
    let bits = number("bits", base.map(|base| base.bits.into()))?;
    let bits = u8::try_from(bits).ok()?;
    (GROUPS.contains(&group) && BITS.contains(&bits)).then_some(Own { group, bits })
}

/// The layer of that name. The error is the end of a sentence that begins with the layer.
pub(super) fn layer(name: &str, config: &MlxConfig, shards: &Shards) -> Result<Found, String> {
    let part = |suffix: &str| {
        let index = find_part(shards, &format!("{name}.{suffix}"))?;
        let info = &shards.tensors[index].info;
        match info.shape.as_slice() {
            &[rows, width] => Ok((index, info.dtype, rows, width)),
            shape => Err(format!(
                "needs {suffix} with 2 dimensions, but the file has {shape:?}"
            )),
        }
    };
    let (weight, dtype, rows, words) = part("weight")?;
    let (scales, scale_dtype, scale_rows, groups) = part("scales")?;
    let (biases, bias_dtype, bias_rows, bias_groups) = part("biases")?;
    if dtype != Dtype::U32 || bias_dtype != scale_dtype {
        return Err(format!(
            "has codes as {dtype}, scales as {scale_dtype} and biases as {bias_dtype}"
        ));
    }
    if (scale_rows, groups) != (bias_rows, bias_groups)
        || scale_rows != rows
        || rows == 0
        || groups == 0
    {
        return Err(format!(
            "has {rows} rows of codes, {scale_rows} x {groups} scales and {bias_rows} x {bias_groups} biases"
        ));
    }
    let Own { group, bits } = config.of_layer(name)?;
    let columns = columns_of(words, groups, group, bits)?;
    Ok(Found {
        name: name.to_owned(),
        layout: ExternalLayer::Mlx {
            grid: GridConfig {
                bits,
                group,
                symmetric: false,
                scale_dtype: dtype_of(scale_dtype)?,
            },
        },
        rows,
        columns,
        transposed: lies_transposed(config.transposed, name),
        original_dtype: config.original_dtype.or(Some(scale_dtype)),
        parts: vec![("biases", biases), ("scales", scales), ("weight", weight)],
    })
}

/// Inputs that words and groups of a row agree on.
fn columns_of(words: usize, groups: usize, group: usize, bits: u8) -> Result<usize, String> {
    let columns = groups.checked_mul(group);
    let fits = |columns: &usize| {
        let found = columns.checked_mul(bits.into());
        found.is_some_and(|found| found / WORD_BITS == words)
    };
    columns.filter(fits).ok_or_else(|| {
        format!("has {words} words and {groups} scales to a row, which are no {bits} bits in groups of {group}")
    })
}

fn dtype_of(dtype: Dtype) -> Result<ScaleDtype, String> {
    match dtype {
        Dtype::F16 => Ok(ScaleDtype::F16),
        Dtype::BF16 => Ok(ScaleDtype::BF16),
        Dtype::F32 => Ok(ScaleDtype::F32),
        other => Err(format!("has scales as {other}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn of(config: Value) -> Result<Option<MlxConfig>, CheckpointError> {
        MlxConfig::of_model(Path::new("m"), &config)
    }

    #[test]
    fn settings_of_the_model_and_of_single_layers() {
        let quantization = json!({
            "group_size": 64, "bits": 4, "mode": "affine",
            "a": { "group_size": 32, "bits": 6 },
            "b": { "group_size": 32, "bits": 4, "mode": "mxfp4" },
            "c": false,
            "d": { "bits": 8 },
        });
        for key in ["quantization", "quantization_config"] {
            let config = of(json!({ key: quantization, "torch_dtype": "bfloat16" }))
                .unwrap()
                .unwrap();
            assert_eq!(config.original_dtype, Some(Dtype::BF16), "{key}");
            let found = ["a", "c", "d", "x"].map(|name| config.of_layer(name).unwrap());
            let expected =
                [(32, 6), (64, 4), (64, 8), (64, 4)].map(|(group, bits)| Own { group, bits });
            assert_eq!(found, expected, "{key}");
            assert!(config.of_layer("b").unwrap_err().contains("mode"), "{key}");
        }
    }

    #[test]
    fn other_programs_and_modes() {
        let none = [
            json!({}),
            json!({ "quantization": 4 }),
            json!({ "quantization_config": { "quant_method": "gptq", "bits": 4, "group_size": 64 } }),
            json!({ "quantization_config": { "bits": 4, "group_size": 64, "checkpoint_format": "gptq" } }),
        ];
        for config in none {
            assert!(of(config.clone()).unwrap().is_none(), "{config}");
        }
        let wrong = [
            (
                json!({ "bits": 4, "group_size": 32, "mode": "mxfp4" }),
                "mxfp4",
            ),
            (json!({ "bits": 4, "group_size": 32, "mode": 7 }), "mode 7"),
            (json!({ "bits": 4, "group_size": 48 }), "group_size"),
            (json!({ "bits": 4, "group_size": -1 }), "group_size"),
            (json!({ "bits": 300, "group_size": 64 }), "group_size"),
        ];
        for (quantization, expected) in wrong {
            let error = of(json!({ "quantization": quantization }))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error} instead of …{expected}…");
        }
    }

    #[test]
    fn words_and_groups_must_agree() {
        for bits in BITS {
            assert_eq!(columns_of(usize::from(bits) * 4, 2, 64, bits), Ok(128));
        }
        assert!(columns_of(16, 2, 64, 3).is_err());
        assert!(columns_of(usize::MAX, usize::MAX, 64, 4).is_err());
    }
}

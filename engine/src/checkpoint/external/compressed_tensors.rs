//! Layers in the layouts of compressed-tensors, and the config groups that say which is which.
//!
//! A group's `targets` are names, regexes after `re:` matched from a name's start, or class names; a name decides before a
//! regex, and that before a class. Shapes are held against what the group says. Integers of 2 to 8 bits can be read; its
//! floats of 4 to 8 bits and its former sparse layouts cannot.

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::super::error::CheckpointError;
use super::super::packed_source::Found;
use super::super::shards::Shards;
use super::{is_transposed, original_dtype, part, text_of};
use crate::grid::{GridConfig, ScaleDtype};
use crate::packed::ExternalLayer;
use crate::packed::compressed_tensors::{CodeForm, CompressedLayer};
use crate::settings::Activations;
use crate::tensor::Dtype;

/// The class of modules that hold weights of two dimensions.
const LINEAR: &str = "Linear";

/// Formats of a whole model whose layers are read; floats that nobody compressed are `dense`.
const KNOWN_FORMATS: [&str; 5] = [
    "pack-quantized",
    "int-quantized",
    NAIVE,
    "mixed-precision",
    "dense",
];

/// Integers as `int-quantized` has them, whatever their bits.
const NAIVE: &str = "naive-quantized";

/// How scales may be stored.
const SCALES: [Dtype; 3] = [Dtype::F16, Dtype::BF16, Dtype::F32];

/// Settings of a whole model.
#[derive(Debug)]
pub(in crate::checkpoint) struct CompressedConfig {
    transposed: bool,
    original_dtype: Option<Dtype>,
    /// Keys and values are meant to be rounded while the model runs.
    rounds_cache: bool,
    groups: Vec<Group>,
}

/// One scheme, and the layers that it is for.
#[derive(Debug)]
struct Group {
    targets: Vec<Target>,
    bits: u8,
    /// Weights per scale; 0 = a row.
    group: usize,
    activations: Activations,
}

#[derive(Debug)]
enum Target {
    /// The name of a module, or of its class.
    Name(String),
    Pattern(Regex),
}

impl CompressedConfig {
    /// The settings in `quantization`, the `quantization_config` of `config`. Schemes that cannot be read are errors.
    pub(super) fn of_model(
        root: &Path,
        config: &Value,
        quantization: &Value,
    ) -> Result<Self, CheckpointError> {
        let sparsity = quantization.get("sparsity_config");
        let formats = [Some(quantization), sparsity].into_iter().flatten();
        for format in formats.filter_map(|found| text_of(found, "format")) {
            if !KNOWN_FORMATS.contains(&format) {
                return Err(CheckpointError::UnknownQuantization {
                    method: format!("compressed-tensors in the layout {format}"),
                    path: root.to_owned(),
                });
            }
        }
        let entries = quantization.get("config_groups").and_then(Value::as_object);
        let groups = entries.into_iter().flatten().map(|(name, group)| {
            Group::read(group).map_err(|problem| CheckpointError::UnknownQuantization {
                method: format!("compressed-tensors, whose {name} {problem}"),
                path: root.to_owned(),
            })
        });
        Ok(Self {
            transposed: is_transposed(config),
            original_dtype: original_dtype(config),
            rounds_cache: quantization
                .get("kv_cache_scheme")
                .is_some_and(|scheme| !scheme.is_null()),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    /// What the config says of running the model that is not done here.
    pub(super) fn notes(&self) -> Vec<String> {
        let rounded = self.rounds_cache.then(|| {
            "its kv_cache_scheme has keys and values rounded, which vLLM does and Pare does not: outputs differ from those there"
                .to_owned()
        });
        rounded.into_iter().collect()
    }

    fn of_layer(&self, name: &str) -> Option<&Group> {
        let by = |matches: &dyn Fn(&Target) -> bool| {
            let mut groups = self.groups.iter();
            groups.find(|group| group.targets.iter().any(matches))
        };
        let is_named =
            |word: &str, target: &Target| matches!(target, Target::Name(found) if found == word);
        by(&|target| is_named(name, target))
            .or_else(|| {
                by(&|target| matches!(target, Target::Pattern(regex) if regex.is_match(name)))
            })
            .or_else(|| by(&|target| is_named(LINEAR, target)))
    }
}

impl Group {
    /// The error is the end of a sentence that begins with the group.
    fn read(group: &Value) -> Result<Self, String> {
        let weights = group.get("weights").filter(|found| found.is_object());
        let weights = weights.ok_or("names no scheme of weights")?;
        if text_of(weights, "type").unwrap_or("int") != "int" {
            return Err("holds floats of few bits".to_owned());
        }
        let format = text_of(group, "format").unwrap_or(CodeForm::Packed.word());
        let known = [CodeForm::Packed, CodeForm::Integers].map(CodeForm::word);
        if !known.contains(&format) && format != NAIVE {
            return Err(format!("lies as {format}"));
        }
        let bits = weights.get("num_bits").and_then(Value::as_u64);
        let bits = bits.and_then(|bits| u8::try_from(bits).ok());
        let bits = bits.filter(|bits| (2..=8).contains(bits));
        let size = weights.get("group_size").and_then(Value::as_i64);
        let group_size = size.and_then(|size| usize::try_from(size).ok());
        let strategy = match text_of(weights, "strategy") {
            Some(strategy) => strategy,
            None if group_size.is_some() => "group",
            None if size.is_some() => "channel",
            None => "tensor",
        };
        let targets = group.get("targets").and_then(Value::as_array);
        Ok(Self {
            targets: targets
                .into_iter()
                .flatten()
                .filter_map(|found| target(found).transpose())
                .collect::<Result<_, _>>()?,
            bits: bits.ok_or("names no number of bits from 2 to 8")?,
            group: match (strategy, group_size) {
                ("channel", _) => 0,
                ("group", Some(size)) if size > 0 => size,
                _ => return Err(format!("shares scales by {strategy}")),
            },
            activations: activations(group.get("input_activations"))?,
        })
    }
}

/// A name or a pattern. The error is the end of a sentence: layers of a pattern that is passed over would be read by the
/// scheme of another group.
fn target(target: &Value) -> Result<Option<Target>, String> {
    let Some(text) = target.as_str() else {
        return Ok(None);
    };
    let Some(pattern) = text.strip_prefix("re:") else {
        return Ok(Some(Target::Name(text.to_owned())));
    };
    match Regex::new(&format!("^(?:{pattern})")) {
        Ok(regex) => Ok(Some(Target::Pattern(regex))),
        Err(_) => Err(format!("is for layers of the pattern {pattern}")),
    }
}

fn activations(inputs: Option<&Value>) -> Result<Activations, String> {
    let Some(inputs) = inputs.filter(|inputs| inputs.is_object()) else {
        return Ok(Activations::None);
    };
    let kind = text_of(inputs, "type").unwrap_or("int");
    let bits = inputs.get("num_bits").and_then(Value::as_u64).unwrap_or(8);
    let symmetric = inputs
        .get("symmetric")
        .and_then(Value::as_bool)
        .unwrap_or(true);
    let strategy = text_of(inputs, "strategy").unwrap_or("tensor");
    let dynamic = inputs.get("dynamic").and_then(Value::as_bool);
    match (strategy, dynamic.unwrap_or(false)) {
        ("token", true) if (kind, bits, symmetric) == ("int", 8, true) => Ok(Activations::Dynamic8),
        ("tensor", false) if (kind, bits, symmetric) == ("int", 8, true) => {
            Ok(Activations::Static8)
        }
        _ => Err(format!("rounds inputs to {kind}{bits} by {strategy}")),
    }
}

/// The layer of that name. The error is the end of a sentence that begins with the layer.
pub(super) fn layer(
    name: &str,
    config: &CompressedConfig,
    shards: &Shards,
) -> Result<Found, String> {
    let group = config.of_layer(name).ok_or("stands in no config group")?;
    let mut parts = Vec::new();
    let (scale, scale_shape) = part(shards, name, "weight_scale", &SCALES, 2)?;
    parts.push(("weight_scale", scale));
    let is_packed = shards.find(&format!("{name}.weight_packed")).is_some();
    let (rows, columns) = match is_packed {
        true => {
            let (packed, words) = part(shards, name, "weight_packed", &[Dtype::I32], 2)?;
            parts.push(("weight_packed", packed));
            (
                words[0],
                packed_columns(name, group, words, scale_shape, shards)?,
            )
        }
        false => {
            let (integers, shape) = part(shards, name, "weight", &[Dtype::I8], 2)?;
            parts.push(("weight", integers));
            (shape[0], shape[1])
        }
    };
    // Counts of an empty tensor are bound by no file size.
    if rows == 0 || columns == 0 {
        return Err("has no weights".to_owned());
    }
    let groups = if group.group == 0 {
        1
    } else {
        columns.div_ceil(group.group)
    };
    if *scale_shape != [rows, groups] {
        return Err(format!(
            "needs scales [{rows}, {groups}], but the file has {scale_shape:?}"
        ));
    }
    let zeros = shards.find(&format!("{name}.weight_zero_point"));
    parts.extend(zeros.map(|index| ("weight_zero_point", index)));
    let shape = shards.find(&format!("{name}.weight_shape"));
    parts.extend(shape.map(|index| ("weight_shape", index)));
    if shards.find(&format!("{name}.weight_g_idx")).is_some() {
        return Err(
            "has scattered groups (weight_g_idx), which compressed-tensors has given up".to_owned(),
        );
    }
    if group.activations == Activations::Static8 {
        let floats = [Dtype::F16, Dtype::BF16, Dtype::F32];
        let step = find(shards, name, "input_scale", &floats)?;
        parts.push(("input_scale", step));
    }
    Ok(Found {
        name: name.to_owned(),
        layout: ExternalLayer::CompressedTensors(CompressedLayer {
            form: if is_packed {
                CodeForm::Packed
            } else {
                CodeForm::Integers
            },
            grid: GridConfig {
                bits: group.bits,
                group: group.group,
                symmetric: zeros.is_none(),
                scale_dtype: scale_dtype(shards.tensors[scale].info.dtype),
            },
            activations: group.activations,
        }),
        rows,
        columns,
        transposed: config.transposed,
        original_dtype: config.original_dtype,
        parts,
    })
}

/// Inputs of a packed layer: groups tell, or `weight_shape`, whose two numbers are read. A row's bit stream fills its
/// words, so that no number is larger than the file allows.
fn packed_columns(
    name: &str,
    group: &Group,
    words: &[usize],
    scale_shape: &[usize],
    shards: &Shards,
) -> Result<usize, String> {
    let columns = match group.group {
        0 => {
            let (index, shape) = part(shards, name, "weight_shape", &[Dtype::I64, Dtype::I32], 1)?;
            let bytes = (shape[0] == 2).then(|| shards.read_all(index));
            let bytes = bytes.ok_or("has a weight_shape that is no pair")?;
            let bytes = bytes
                .map_err(|error| format!("has a weight_shape that cannot be read: {error}"))?;
            let (_, second) = bytes.split_at(bytes.len() / 2);
            let mut number = [0; 8];
            number[..second.len()].copy_from_slice(second);
            usize::try_from(u64::from_le_bytes(number)).unwrap_or(usize::MAX)
        }
        size => scale_shape[1].saturating_mul(size),
    };
    let needed = columns.saturating_mul(group.bits.into()).div_ceil(32);
    if needed == words[1] {
        Ok(columns)
    } else {
        Err(format!(
            "has {} words a row, and {columns} codes of {} bits need {needed}",
            words[1], group.bits
        ))
    }
}

/// A part of any shape.
fn find(shards: &Shards, name: &str, suffix: &str, dtypes: &[Dtype]) -> Result<usize, String> {
    let index = super::super::packed_source::find_part(shards, &format!("{name}.{suffix}"))?;
    let dtype = shards.tensors[index].info.dtype;
    match dtypes.contains(&dtype) {
        true => Ok(index),
        false => Err(format!("has its {suffix} as {dtype}")),
    }
}

fn scale_dtype(dtype: Dtype) -> ScaleDtype {
    match dtype {
        Dtype::F16 => ScaleDtype::F16,
        Dtype::BF16 => ScaleDtype::BF16,
        _ => ScaleDtype::F32,
    }
}

#[cfg(test)]
mod tests;

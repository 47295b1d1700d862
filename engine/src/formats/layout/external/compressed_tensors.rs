//! The compressed-tensors container: what it holds, and the `quantization_config` that vLLM and transformers read.
//!
//! Each scheme is a config group. Its `targets` are regexes, matched from the start of a module's name: no class name, so
//! that nothing is matched that was not quantized, and names under any prefix. One regex stands for a layer of all blocks
//! where the blocks agree. Dense layers stand under `ignore`: vLLM refuses layers of which nobody speaks.
//! (compressed-tensors 0.20.0, `quantization/quant_config.py`, `utils/match.py`.)

use super::super::PlannedLayer;
use super::super::preflight::{Held, left_dense};
use super::{Changes, escape, kernel_group, no_levels, placed};
use crate::model::LayerInfo;
use crate::packed::ExternalLayer;
use crate::packed::compressed_tensors::{CodeForm, CompressedLayer};
use crate::settings::{Activations, LayerSettings};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const WORD: &str = "compressed-tensors";

/// The package whose layout is written.
const VERSION: &str = "0.20.0";

/// What the container holds of settings with codes.
pub(super) fn hold(layer: &LayerInfo, asked: LayerSettings) -> Held {
    if let Some(reason) = no_levels(WORD, layer, &asked) {
        return left_dense(asked, reason);
    }
    let mut settings = asked;
    let mut changes = Changes::default();
    changes.whole_zeros(WORD, &mut settings);
    let bits = if settings.bits <= 4 { 4 } else { 8 };
    changes.bits(&mut settings, bits, "compressed-tensors holds 4 or 8 bits");
    hold_inputs(&mut settings, &mut changes);
    if settings.group >= layer.columns {
        // The same grid under the name that loaders know.
        settings.group = 0;
    }
    let group = nearest_group(settings.group, layer.columns);
    changes.group(&mut settings, group, || {
        format!(
            "compressed-tensors holds groups that divide the {} inputs",
            layer.columns
        )
    });
    Held {
        settings,
        fallback: changes.told(),
    }
}

/// Rounded inputs go with integers of 8 bits and one scale a row.
fn hold_inputs(settings: &mut LayerSettings, changes: &mut Changes) {
    const REASON: &str =
        "compressed-tensors rounds the inputs of symmetric 8-bit layers with one scale a row";
    if settings.activations == Activations::None {
        return;
    }
    if settings.bits != 8 {
        let asked = settings.activations.word();
        settings.activations = Activations::None;
        return changes.tell(
            format!("activations {asked}"),
            "activations none".to_owned(),
            REASON.to_owned(),
        );
    }
    changes.group(settings, 0, || REASON.to_owned());
    if !settings.symmetric {
        settings.symmetric = true;
        changes.tell(
            "asymmetric".to_owned(),
            "symmetric".to_owned(),
            REASON.to_owned(),
        );
    }
    if settings.activation_block != 0 {
        changes.tell(
            format!("activation block {}", settings.activation_block),
            "activation block 0".to_owned(),
            "compressed-tensors rounds the inputs of a whole token with one scale".to_owned(),
        );
        settings.activation_block = 0;
    }
}

/// The group asked for where it divides the inputs, else the next one below it that kernels know; a whole row (0) where
/// there is none.
fn nearest_group(group: usize, columns: usize) -> usize {
    match group {
        0 => 0,
        group if columns.is_multiple_of(group) => group,
        group => kernel_group(group, columns).unwrap_or(0),
    }
}

/// Where codes of these settings go.
pub(super) fn layout(settings: &LayerSettings) -> ExternalLayer {
    ExternalLayer::CompressedTensors(CompressedLayer {
        form: match settings.activations {
            Activations::None => CodeForm::Packed,
            _ => CodeForm::Integers,
        },
        grid: settings.grid(),
        activations: settings.activations,
    })
}

/// The `quantization_config` of these layers.
pub(super) fn quantization_config(layers: &[PlannedLayer]) -> Value {
    let mut schemes: Vec<(CompressedLayer, Vec<&str>)> = Vec::new();
    let mut ignored = Vec::new();
    for layer in layers {
        let Some(ExternalLayer::CompressedTensors(scheme)) = placed(layer) else {
            ignored.extend((!layer.is_embedding).then_some(layer.name.as_str()));
            continue;
        };
        match schemes.iter_mut().find(|(other, _)| *other == scheme) {
            Some((_, names)) => names.push(&layer.name),
            None => schemes.push((scheme, vec![&layer.name])),
        }
    }
    if !ignored.contains(&"lm_head") {
        ignored.push("lm_head");
    }
    let first = schemes
        .first()
        .map_or(CodeForm::Packed, |(scheme, _)| scheme.form);
    let is_mixed = schemes.iter().any(|(scheme, _)| scheme.form != first);
    let alone = patterns_of_one_scheme(layers);
    let mut groups = Map::new();
    for (index, (scheme, names)) in schemes.iter().enumerate() {
        let mut group = json!({
            "targets": targets(names, &alone),
            "weights": weights(scheme),
            "input_activations": input_activations(scheme.activations),
            "output_activations": null,
        });
        if is_mixed {
            group["format"] = json!(scheme.form.word());
        }
        groups.insert(format!("group_{index}"), group);
    }
    json!({
        "quant_method": WORD,
        "version": VERSION,
        "format": if is_mixed { "mixed-precision" } else { first.word() },
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ignored,
        "kv_cache_scheme": null,
        "global_compression_ratio": null,
    })
}

fn weights(scheme: &CompressedLayer) -> Value {
    let group = scheme.grid.group;
    json!({
        "num_bits": scheme.grid.bits,
        "type": "int",
        "symmetric": scheme.grid.symmetric,
        "strategy": if group == 0 { "channel" } else { "group" },
        "group_size": (group != 0).then_some(group),
        "dynamic": false,
    })
}

fn input_activations(mode: Activations) -> Value {
    let (strategy, dynamic) = match mode {
        Activations::None => return Value::Null,
        Activations::Dynamic8 => ("token", true),
        Activations::Static8 => ("tensor", false),
    };
    json!({
        "num_bits": 8,
        "type": "int",
        "symmetric": true,
        "strategy": strategy,
        "group_size": null,
        "dynamic": dynamic,
    })
}

/// Names with the numbers of blocks left open, where all layers that they match lie in one way.
fn patterns_of_one_scheme(layers: &[PlannedLayer]) -> BTreeMap<String, bool> {
    let mut first: BTreeMap<String, Option<ExternalLayer>> = BTreeMap::new();
    let mut agree: BTreeMap<String, bool> = BTreeMap::new();
    for layer in layers {
        let pattern = pattern(&layer.name, true);
        let found = placed(layer);
        let same = *first.entry(pattern.clone()).or_insert(found) == found;
        *agree.entry(pattern).or_insert(true) &= same;
    }
    agree
}

fn targets(names: &[&str], alone: &BTreeMap<String, bool>) -> Vec<String> {
    let mut targets = Vec::new();
    for name in names {
        let open = pattern(name, true);
        let target = match alone.get(&open) {
            Some(true) => open,
            _ => pattern(name, false),
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

/// A target that matches a name under any prefix.
fn pattern(name: &str, any_block: bool) -> String {
    let parts = name.split('.').map(|part| match part.parse::<u32>() {
        Ok(_) if any_block => "\\d+".to_owned(),
        _ => escape(part),
    });
    let parts: Vec<String> = parts.collect();
    format!("re:^(.*\\.)?{}$", parts.join("\\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_leave_blocks_open() {
        assert_eq!(
            pattern("model.layers.10.mlp.up_proj", true),
            "re:^(.*\\.)?model\\.layers\\.\\d+\\.mlp\\.up_proj$"
        );
        assert_eq!(pattern("h.1.fc", false), "re:^(.*\\.)?h\\.1\\.fc$");
    }

    #[test]
    fn groups_become_divisors() {
        let cases = [
            (128, 160, 32),
            (128, 192, 64),
            (48, 96, 48),
            (32, 64, 32),
            (8, 64, 8),
            (0, 64, 0),
            (7, 11, 0),
            (128, 1031, 0),
        ];
        for (group, columns, expected) in cases {
            assert_eq!(
                nearest_group(group, columns),
                expected,
                "{group} of {columns}"
            );
        }
    }
}

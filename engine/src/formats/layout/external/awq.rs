//! The AWQ container (AutoAWQ, GEMM): what it holds, and the `quantization_config` that its loaders read.
//!
//! One group length holds for the whole model; dense layers are told by name under `modules_to_not_convert`, which
//! loaders look for inside a module's name. (AutoAWQ 0.2.9, `awq/models/_config.py`.)

use super::super::PlannedLayer;
use super::super::preflight::{Held, left_dense};
use super::{Changes, kernel_group, no_levels, placed};
use crate::grid::ScaleDtype;
use crate::model::LayerInfo;
use crate::packed::ExternalLayer;
use crate::packed::awq::{BITS, WORD_CODES};
use crate::report::Fallback;
use crate::settings::LayerSettings;
use serde_json::{Value, json};

const WORD: &str = "awq";

/// What the container holds of settings with codes, as far as one layer tells.
pub(super) fn hold(layer: &LayerInfo, asked: LayerSettings) -> Held {
    if let Some(reason) = no_levels(WORD, layer, &asked) {
        return left_dense(asked, reason);
    }
    if asked.bits > BITS {
        let reason = format!(
            "awq holds 4 bits, not {}, and fewer would lose more",
            asked.bits
        );
        return left_dense(asked, reason);
    }
    if !layer.rows.is_multiple_of(WORD_CODES) {
        let reason = format!("awq needs outputs in multiples of 8, not {}", layer.rows);
        return left_dense(asked, reason);
    }
    let mut settings = asked;
    let mut changes = Changes::default();
    changes.whole_zeros(WORD, &mut settings);
    changes.bits(&mut settings, BITS, "awq holds 4 bits");
    changes.scales(&mut settings, ScaleDtype::F16, "awq holds f16 scales");
    match nearest_group(asked.group, layer.columns) {
        Some(group) => changes.group(&mut settings, group, || reason_of_group(layer)),
        None => return left_dense(asked, reason_of_group(layer)),
    }
    Held {
        settings,
        fallback: changes.told(),
    }
}

fn nearest_group(group: usize, columns: usize) -> Option<usize> {
    match group {
        0 => Some(0),
        group => kernel_group(group, columns),
    }
}

fn reason_of_group(layer: &LayerInfo) -> String {
    format!(
        "awq holds groups of 16, 32, 64 or 128 that divide the {} inputs",
        layer.columns
    )
}

/// Brings all layers to the group of most of them, or leaves them dense where that does not divide their inputs.
pub(super) fn agree(layers: &[&LayerInfo], asked: &[LayerSettings], held: &mut [Held]) {
    let is_held = |held: &Held| !super::has_no_codes(&held.settings);
    let groups: Vec<usize> = held
        .iter()
        .filter(|held| is_held(held))
        .map(|held| held.settings.group)
        .collect();
    let count = |group: usize| groups.iter().filter(|&&other| other == group).count();
    // Among equals the smaller one: finer groups hold coarser ones as they are, and a whole row is the coarsest.
    let length = |group: usize| if group == 0 { usize::MAX } else { group };
    let Some(&base) = groups
        .iter()
        .max_by_key(|&&group| (count(group), std::cmp::Reverse(length(group))))
    else {
        return;
    };
    for ((layer, asked), held) in layers.iter().zip(asked).zip(held.iter_mut()) {
        if !is_held(held) || held.settings.group == base {
            continue;
        }
        let reason = format!("awq holds one group length for a model, and most layers have {base}");
        if base != 0 && !layer.columns.is_multiple_of(base) {
            *held = left_dense(*asked, reason);
            continue;
        }
        let told = Fallback {
            from: format!("group {}", held.settings.group),
            to: format!("group {base}"),
            reason,
        };
        held.settings.group = base;
        held.fallback = Fallback::join(held.fallback.take(), Some(told));
    }
}

/// The `quantization_config` of these layers.
pub(super) fn quantization_config(layers: &[PlannedLayer]) -> Value {
    let grid = layers.iter().find_map(|layer| placed(layer)?.grid());
    let group = grid.map_or(0, |grid| grid.group);
    let dense = layers
        .iter()
        .filter(|layer| placed(layer).is_none() && !layer.is_embedding);
    let mut dense: Vec<&str> = dense.map(|layer| layer.name.as_str()).collect();
    if !dense.contains(&"lm_head") {
        dense.push("lm_head");
    }
    json!({
        "quant_method": WORD,
        "version": "gemm",
        "bits": BITS,
        "group_size": super::group_size(group),
        "zero_point": true,
        "modules_to_not_convert": dense,
    })
}

/// Where codes of these settings go.
pub(super) fn layout(settings: &LayerSettings) -> ExternalLayer {
    ExternalLayer::Awq(settings.grid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_divide() {
        assert_eq!(nearest_group(0, 7), Some(0));
        assert_eq!(nearest_group(128, 96), Some(32));
        assert_eq!(nearest_group(128, 40), None);
    }
}

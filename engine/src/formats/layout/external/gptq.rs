//! The gptq container: what it holds, and the `quantization_config` that its loaders read.
//!
//! Spelling of `dynamic` (GPTQModel, vLLM): keys are regexes matched from the start of a module's name; `-:` in front
//! leaves modules dense, `+:` gives them other settings. The first key that matches decides. The transformers library
//! (through optimum) does not read `dynamic`: dense layers are told to it by `modules_in_block_to_quantize`, which names
//! all others; layers of several bit widths it cannot load.

use super::super::preflight::{Held, left_dense, told};
use super::super::{Placement, PlannedLayer};
use super::escape;
use crate::grid::{GridConfig, ScaleDtype};
use crate::model::LayerInfo;
use crate::packed::ExternalLayer;
use crate::packed::gptq::{self, CheckpointFormat};
use crate::settings::{LayerSettings, Rank};
use serde_json::{Map, Value, json};

/// What the container holds of settings with codes.
pub(super) fn hold(layer: &LayerInfo, asked: LayerSettings) -> Held {
    let mut changes = Vec::new();
    let mut settings = asked;
    let fit = |settings: &LayerSettings| match settings.rank {
        Rank::None => gptq::unfit(settings.method, settings.grid(), layer.rows, layer.columns),
        _ => Some(gptq::Unfit::Factors),
    };
    if let Some(reason @ gptq::Unfit::Scales(_)) = fit(&settings) {
        settings.scale_dtype = ScaleDtype::F16;
        changes.push(("f16 scales".to_owned(), reason.to_string()));
    }
    if let Some(reason @ gptq::Unfit::Group { .. }) = fit(&settings)
        && let Some(group) = gptq::nearest_group(settings.group, layer.columns)
    {
        settings.group = group;
        changes.push((format!("group {group}"), reason.to_string()));
    }
    if let Some(reason) = fit(&settings) {
        return left_dense(asked, reason.to_string());
    }
    Held {
        settings,
        fallback: told(&asked, changes),
    }
}

/// One way to store zeros for the whole model: the first, which every loader knows, where all layers are symmetric.
pub(super) fn settle(placements: &mut [Placement]) {
    let is_asymmetric = |placement: &Placement| matches!(placement, Placement::External(ExternalLayer::Gptq { grid, .. }) if !grid.symmetric);
    let needed = match placements.iter().any(is_asymmetric) {
        true => CheckpointFormat::V2,
        false => CheckpointFormat::V1,
    };
    for placement in placements {
        if let Placement::External(ExternalLayer::Gptq { format, .. }) = placement {
            *format = needed;
        }
    }
}

/// The `quantization_config` of these layers; at least one lies in the gptq layout.
pub(super) fn quantization_config(layers: &[PlannedLayer]) -> Value {
    let base = most_common_grid(layers);
    let format = layers.iter().find_map(|layer| match layer.placement {
        Placement::External(ExternalLayer::Gptq { format, .. }) => Some(format),
        _ => None,
    });
    let format = format.unwrap_or(CheckpointFormat::V1);
    let mut quantization = json!({
        "quant_method": "gptq",
        "bits": base.bits,
        "group_size": super::group_size(base.group),
        "sym": base.symmetric,
        "desc_act": false,
        "checkpoint_format": format.word(),
        "format": format.word(),
        "pack_dtype": "int32",
        "lm_head": false,
        "true_sequential": true,
        "damp_percent": 0.01,
        "dynamic": dynamic(layers, base),
        "meta": { "quantizer": [concat!("pare:", env!("CARGO_PKG_VERSION"))] },
    });
    if layers.iter().any(is_dense_in_block) {
        let names = layers.iter().filter(|layer| gptq_grid(layer).is_some());
        let names: Vec<&str> = names.map(|layer| layer.name.as_str()).collect();
        quantization["modules_in_block_to_quantize"] = json!([names]);
    }
    quantization
}

fn is_dense_in_block(layer: &PlannedLayer) -> bool {
    layer.in_block && gptq_grid(layer).is_none()
}

/// The grid of most layers; among equals, of the first.
fn most_common_grid(layers: &[PlannedLayer]) -> GridConfig {
    let grids: Vec<GridConfig> = layers.iter().filter_map(gptq_grid).collect();
    let count = |grid: &GridConfig| grids.iter().filter(|other| *other == grid).count();
    let mut best = *grids
        .first()
        .expect("at least one layer lies in the gptq layout");
    for grid in &grids {
        if count(grid) > count(&best) {
            best = *grid;
        }
    }
    best
}

fn gptq_grid(layer: &PlannedLayer) -> Option<GridConfig> {
    match layer.placement {
        Placement::External(ExternalLayer::Gptq { grid, .. }) => Some(grid),
        _ => None,
    }
}

fn dynamic(layers: &[PlannedLayer], base: GridConfig) -> Map<String, Value> {
    let mut entries = Map::new();
    for layer in layers.iter().filter(|layer| layer.in_block) {
        let pattern = pattern(&layer.name);
        match gptq_grid(layer) {
            None => {
                entries.insert(format!("-:{pattern}"), json!({}));
            }
            Some(grid) if grid != base => {
                let settings = json!({
                    "bits": grid.bits,
                    "group_size": super::group_size(grid.group),
                    "sym": grid.symmetric,
                    "desc_act": false,
                });
                entries.insert(format!("+:{pattern}"), settings);
            }
            Some(_) => {}
        }
    }
    entries
}

/// Matches the layer under any prefix (loaders may put one before the checkpoint's names), and the weight into which
/// vLLM fuses it: peers always agree, so one of them may speak for it.
fn pattern(name: &str) -> String {
    let (parent, last) = name.rsplit_once('.').unwrap_or(("", name));
    let last = match last {
        "q_proj" => "(q_proj|qkv_proj)".to_owned(),
        "gate_proj" => "(gate_proj|gate_up_proj)".to_owned(),
        other => escape(other),
    };
    if parent.is_empty() {
        format!("^(.*\\.)?{last}$")
    } else {
        format!("^(.*\\.)?{}\\.{last}$", escape(parent))
    }
}

//! The MLX container: what it holds, and the `quantization` that mlx-lm reads.
//!
//! mlx-lm takes the bits and group of the whole model from the top of that entry and those of a layer from an entry under
//! the layer's name; a layer without `scales` is dense. It wants the entry twice, under the name that the hub knows too.

use super::super::preflight::{Held, left_dense};
use super::super::{Placement, PlannedLayer};
use super::{Changes, Values, changed};
use crate::grid::{GridConfig, ScaleDtype};
use crate::model::LayerInfo;
use crate::packed::ExternalLayer;
use crate::packed::mlx::{self, Unfit};
use crate::report::Fallback;
use crate::settings::{LayerSettings, Rank};
use crate::solved::Method;
use crate::tensor::Dtype;
use serde_json::{Map, Value, json};

/// Families of `model` that mlx-lm has no network for, by `model_type` (mlx-lm 0.32.2).
const LACKING: [&str; 6] = [
    "opt",
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
];

/// Where the blocks of GPT-2 stand, as its authors published it.
const GPT2_BLOCKS: &str = "h.";

/// What a layer is called in this container: weights of GPT-2 that stand under their final name are not turned around.
/// (mlx-lm 0.32.2, `models/gpt2.py`.)
pub(super) fn layer_name(name: &str, is_transposed: bool) -> String {
    match is_transposed {
        true => format!("model.{name}"),
        false => name.to_owned(),
    }
}

/// What to say of a model that nothing will run in this container.
pub(super) fn warn_of_family(model_type: &str) -> Option<String> {
    LACKING.contains(&model_type).then(|| {
        format!(
            "mlx-lm has no network of type {model_type}: mlx.core.load reads the tensors of this folder, and nothing runs them; choose another format where a program is to load the model"
        )
    })
}

/// What the container holds of settings with codes. Levels that are not evenly spaced become a grid of as many bits.
pub(super) fn hold(layer: &LayerInfo, asked: LayerSettings, values: Values) -> Held {
    let mut settings = asked;
    let mut told = None;
    let mut tell = |from: String, to: String, reason: Unfit| {
        told = Fallback::join(told.take(), Some(changed(from, to, reason.to_string())));
    };
    if layer.transposed && !layer.name.starts_with(GPT2_BLOCKS) {
        let reason = format!(
            "mlx-lm turns the weights of GPT-2 around, but for codes of models whose layers are named {GPT2_BLOCKS}…"
        );
        return left_dense(asked, reason);
    }
    if let Some(reason @ (Unfit::Codebook | Unfit::Palette)) = unfit(layer, &settings) {
        settings.method = Method::Rtn;
        let of_words = |settings: &LayerSettings| settings.method.word().to_owned();
        tell(of_words(&asked), of_words(&settings), reason);
        if asked.method == Method::Nf4 {
            (settings.bits, settings.group) = (4, asked.nf4_block());
        }
    }
    if let Some(reason @ Unfit::Bits(bits)) = unfit(layer, &settings) {
        settings.bits = mlx::nearest_bits(bits);
        let of_bits = |bits: u8| format!("{bits} bits");
        tell(of_bits(bits), of_bits(settings.bits), reason);
    }
    if let Some(reason @ Unfit::Zeros) = unfit(layer, &settings) {
        settings.symmetric = true;
        tell("asymmetric".to_owned(), "symmetric".to_owned(), reason);
    }
    if let Some(reason @ Unfit::Group { group, columns }) = unfit(layer, &settings)
        && let Some(nearest) = mlx::nearest_group(group, columns)
    {
        settings.group = nearest;
        tell(format!("group {group}"), format!("group {nearest}"), reason);
    }
    if let Some(reason) = unfit(layer, &settings) {
        return left_dense(asked, reason.to_string());
    }
    let mut changes = Changes::after(told);
    match values {
        Values::Open => scales_of_model(layer, &mut settings, &mut changes),
        Values::Solved => tell_of_solved(layer, &settings, &mut changes),
    }
    Held {
        settings,
        fallback: changes.told(),
    }
}

/// MLX multiplies in the wider of two dtypes: a model of bf16 with scales of f16 would run in f32 from its first layer on.
const MIXED: &str = "mlx computes in f32 where scales have another dtype than the model";

/// The dtype that scales want beside this layer's inputs; `None` where any will do.
fn dtype_of_inputs(layer: &LayerInfo) -> Option<ScaleDtype> {
    match layer.dtype {
        Dtype::F16 => Some(ScaleDtype::F16),
        Dtype::BF16 => Some(ScaleDtype::BF16),
        _ => None,
    }
}

fn scales_of_model(layer: &LayerInfo, settings: &mut LayerSettings, changes: &mut Changes) {
    if let Some(dtype) = dtype_of_inputs(layer) {
        changes.scales(settings, dtype, MIXED);
    }
}

/// Values that are solved keep their scales; their biases are rounded to the dtype of those.
fn tell_of_solved(layer: &LayerInfo, settings: &LayerSettings, changes: &mut Changes) {
    if dtype_of_inputs(layer).is_some_and(|dtype| dtype != settings.scale_dtype) {
        let from = format!("computing in {}", layer.dtype);
        changes.tell(from, "computing in f32".to_owned(), MIXED.to_owned());
    }
    if !settings.symmetric && settings.scale_dtype != ScaleDtype::F32 {
        changes.tell(
            "zeros".to_owned(),
            format!("biases in {}", settings.scale_dtype),
            "mlx keeps -scale * zero in the dtype of scales, which rounds it".to_owned(),
        );
    }
}

fn unfit(layer: &LayerInfo, settings: &LayerSettings) -> Option<Unfit> {
    match settings.rank {
        Rank::None => mlx::unfit(
            settings.method,
            settings.grid(),
            !settings.prune.is_none(),
            layer.columns,
        ),
        _ => Some(Unfit::Factors),
    }
}

/// The entries of `config.json` for these layers; at least one lies in the MLX layout.
pub(super) fn entries(layers: &[PlannedLayer]) -> Map<String, Value> {
    let base = most_common(layers);
    let mut quantization = Map::new();
    quantization.insert("group_size".to_owned(), json!(base.0));
    quantization.insert("bits".to_owned(), json!(base.1));
    quantization.insert("mode".to_owned(), json!("affine"));
    for layer in layers {
        if let Some(own) = group_and_bits(layer)
            && own != base
        {
            let settings = json!({ "group_size": own.0, "bits": own.1 });
            let name = layer_name(&layer.name, layer.tensor.transposed);
            quantization.insert(name, settings);
        }
    }
    let quantization = Value::Object(quantization);
    let mut entries = Map::new();
    entries.insert("quantization".to_owned(), quantization.clone());
    entries.insert("quantization_config".to_owned(), quantization);
    entries
}

/// Group and bits of most layers; among equals, of the first.
fn most_common(layers: &[PlannedLayer]) -> (usize, u8) {
    let all: Vec<(usize, u8)> = layers.iter().filter_map(group_and_bits).collect();
    let count = |own: &(usize, u8)| all.iter().filter(|other| *other == own).count();
    let mut best = *all.first().expect("at least one layer lies in the layout");
    for own in &all {
        if count(own) > count(&best) {
            best = *own;
        }
    }
    best
}

fn group_and_bits(layer: &PlannedLayer) -> Option<(usize, u8)> {
    match layer.placement {
        Placement::External(ExternalLayer::Mlx { grid }) => Some((size(grid, layer), grid.bits)),
        _ => None,
    }
}

/// Weights of a group; a whole row is one group only where MLX knows that size.
fn size(grid: GridConfig, layer: &PlannedLayer) -> usize {
    grid.groups(layer.columns).size()
}

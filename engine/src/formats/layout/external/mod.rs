//! What other programs' containers of safetensors hold of a recipe, and what they say of it in `config.json`.
//!
//! One module for each container, asked through here alone; the layout of their tensors is `packed`'s knowledge. Opens no
//! file and solves nothing.

mod awq;
mod bnb;
mod changes;
mod compressed_tensors;
mod gptq;
mod mlx;

use super::preflight::{Held, as_asked, left_dense};
use super::{Placement, Plan, PlannedLayer};
use crate::formats::Format;
use crate::grid::ScaleDtype;
use crate::model::{LayerInfo, LayerKind};
use crate::packed::gptq::CheckpointFormat;
use crate::packed::{External, ExternalLayer};
use crate::report::Fallback;
use crate::settings::{Activations, LayerSettings, Rank};
use crate::solved::Method;
use changes::Changes;
pub(in crate::formats) use changes::inputs_left_alone;
use serde_json::{Map, Value};

/// Whether there are codes already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// They are still to be chosen, on whatever grid the container holds.
    Open,
    /// A run has chosen them: another grid would give other values.
    Solved,
}

/// Weights per scale that kernels of vLLM take, besides a whole row.
const KERNEL_GROUPS: [usize; 4] = [128, 64, 32, 16];

/// The longest of those that is no longer than `group` and divides the inputs.
fn kernel_group(group: usize, columns: usize) -> Option<usize> {
    KERNEL_GROUPS
        .into_iter()
        .find(|&size| size <= group && columns.is_multiple_of(size))
}

/// What to say of a family that the container's programs do not know.
pub fn warn_of_family(format: Format, config: Option<&Value>) -> Option<String> {
    let model_type = config?.get("model_type")?.as_str()?;
    match format.external()? {
        External::Mlx => mlx::warn_of_family(model_type),
        External::Gptq | External::Bnb | External::CompressedTensors | External::Awq => None,
    }
}

/// What the tensors of a layer begin with in a container.
pub(super) fn layer_name(placed: &ExternalLayer, layer: &LayerInfo) -> String {
    match placed {
        ExternalLayer::Mlx { .. } => mlx::layer_name(&layer.name, layer.transposed),
        _ => layer.name.clone(),
    }
}

/// The dtype of the biases that the container keeps of such a layer in the place of zeros; `None` where it keeps zeros, or
/// where nothing is rounded.
pub fn biases(format: Format, settings: &LayerSettings) -> Option<ScaleDtype> {
    let external = format.external().filter(|found| found.keeps_biases());
    external
        .filter(|_| !settings.symmetric && !has_no_codes(settings))
        .map(|_| settings.scale_dtype)
}

/// What the container holds of these settings, and what is done where it cannot. Zeros that were pruned lie as codes in all of
/// these containers: no value is lost and bytes are known before, so that nothing is told of them.
pub(super) fn hold(
    external: External,
    layer: &LayerInfo,
    asked: LayerSettings,
    values: Values,
) -> Held {
    if asked.method == Method::None {
        return as_asked(asked);
    }
    if has_no_codes(&asked) {
        let reason = "holds codes; zeros and factors of floats are written as values";
        let held = Held {
            settings: asked,
            fallback: Some(Fallback {
                from: asked.method.word().to_owned(),
                to: Format::Dense.word().to_owned(),
                reason: format!("{} {reason}", external.word()),
            }),
        };
        let inputs = inputs_left_alone(asked.activations, "values say nothing of inputs");
        return Held {
            settings: LayerSettings {
                activations: Activations::None,
                ..asked
            },
            fallback: Fallback::join(held.fallback, inputs),
        };
    }
    if let Some(reason) = no_place(external, layer) {
        return left_dense(asked, reason);
    }
    match external {
        External::Gptq => gptq::hold(layer, asked),
        External::Mlx => mlx::hold(layer, asked, values),
        External::Bnb => bnb::hold(layer, asked),
        External::CompressedTensors => compressed_tensors::hold(layer, asked),
        External::Awq => awq::hold(layer, asked),
    }
}

/// Where a layer goes whose settings `hold` has settled.
pub(in crate::formats) fn placement(
    external: External,
    layer: &LayerInfo,
    settings: &LayerSettings,
) -> Placement {
    if has_no_codes(settings) {
        return Placement::Dense;
    }
    Placement::External(match external {
        External::Gptq => ExternalLayer::Gptq {
            grid: settings.grid(),
            format: CheckpointFormat::V1,
        },
        External::Mlx => ExternalLayer::Mlx {
            grid: settings.grid(),
        },
        External::Bnb => bnb::layer(layer, settings),
        External::CompressedTensors => compressed_tensors::layout(settings),
        External::Awq => awq::layout(settings),
    })
}

/// What all layers of a model share, before anything is solved: settings that differ are brought together.
pub(super) fn agree(
    external: External,
    layers: &[&LayerInfo],
    asked: &[LayerSettings],
    held: &mut [Held],
) {
    if external == External::Awq {
        awq::agree(layers, asked, held);
    }
}

/// Brings into one what all layers of a model share.
pub(super) fn settle(placements: &mut [Placement]) {
    gptq::settle(placements);
}

/// What `config.json` says of a plan's layers; `None` where none of them lies in such a container.
pub(super) fn quantization(plan: &Plan) -> Option<Map<String, Value>> {
    let external = plan.layers.iter().find_map(|layer| match layer.placement {
        Placement::External(found) => Some(found.external()),
        _ => None,
    })?;
    let layers = plan.layers.as_slice();
    let config = match external {
        External::Gptq => gptq::quantization_config(layers),
        External::CompressedTensors => compressed_tensors::quantization_config(layers),
        External::Awq => awq::quantization_config(layers),
        External::Mlx => return Some(mlx::entries(layers)),
        External::Bnb => bnb::quantization_config(plan),
    };
    let mut entries = Map::new();
    entries.insert("quantization_config".to_owned(), config);
    Some(entries)
}

/// Why the container has no place for a tensor of this kind and name.
pub(super) fn no_place(external: External, layer: &LayerInfo) -> Option<String> {
    let word = external.word();
    match layer.kind {
        LayerKind::Embedding | LayerKind::Head if external.holds_outer_layers() => {
            no_name(word, layer)
        }
        LayerKind::Embedding => Some(format!("{word} has no place for embeddings")),
        LayerKind::Head => Some(format!("loaders of {word} expect a dense output head")),
        _ => no_name(word, layer),
    }
}

fn no_name(word: &str, layer: &LayerInfo) -> Option<String> {
    let is_named = layer.tensor.ends_with(".weight");
    (!is_named).then(|| format!("{word} replaces tensors whose names end with .weight"))
}

/// One change that a container needs.
fn changed(from: String, to: String, reason: String) -> Fallback {
    Fallback { from, to, reason }
}

/// Why the container cannot say how inputs are rounded.
pub(super) fn no_rounded_inputs(external: External) -> Option<&'static str> {
    match external {
        External::Gptq => Some("gptq has no place for rounded inputs"),
        External::Mlx => Some("mlx has no place for rounded inputs"),
        External::Bnb => Some("bnb-nf4 has no place for rounded inputs"),
        External::Awq => Some("awq has no place for rounded inputs"),
        External::CompressedTensors => None,
    }
}

/// Whether what was solved lies there as values: it has no codes, and loses its form alone.
pub(super) fn has_no_codes(settings: &LayerSettings) -> bool {
    matches!(settings.method, Method::Float | Method::None)
}

/// How a planned layer lies; `None` where it is dense.
fn placed(layer: &PlannedLayer) -> Option<ExternalLayer> {
    match layer.placement {
        Placement::External(found) => Some(found),
        _ => None,
    }
}

/// Why evenly spaced levels of linear layers cannot hold what is asked of a layer.
fn no_levels(word: &str, layer: &LayerInfo, asked: &LayerSettings) -> Option<String> {
    let problem = match asked.method {
        _ if layer.transposed => "takes weights that lie [out, in], and this one lies [in, out]",
        Method::Nf4 => "holds evenly spaced levels, not nf4",
        Method::Palette => "holds evenly spaced levels, not palettes",
        _ if asked.rank != Rank::None => "has no place for factors",
        _ => return None,
    };
    Some(format!("{word} {problem}"))
}

/// A group as these configs spell it: -1 for a whole row.
fn group_size(group: usize) -> i64 {
    match group {
        0 => -1,
        group => group as i64,
    }
}

/// Escapes what a regex would read as more than a letter.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if !(letter.is_alphanumeric() || letter == '_') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

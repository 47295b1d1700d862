//! What other programs' containers of safetensors hold of a recipe, and what they say of it in `config.json`.
//!
//! One module for each container, asked through here alone; the layout of their tensors is `packed`'s knowledge. Opens no
//! file and solves nothing.

mod bnb;
mod gptq;
mod mlx;

use super::preflight::{Held, as_asked, left_dense};
use super::{Placement, Plan};
use crate::formats::Format;
use crate::model::{LayerInfo, LayerKind};
use crate::packed::gptq::CheckpointFormat;
use crate::packed::{External, ExternalLayer};
use crate::report::Fallback;
use crate::settings::LayerSettings;
use crate::solved::Method;
use serde_json::{Map, Value};

/// What the container holds of these settings, and what is done where it cannot.
pub(super) fn hold(external: External, layer: &LayerInfo, asked: LayerSettings) -> Held {
    if asked.method == Method::None {
        return as_asked(asked);
    }
    if has_no_codes(&asked) {
        let reason = "holds codes; zeros and factors of floats are written as values";
        return Held {
            settings: asked,
            fallback: Some(Fallback {
                from: asked.method.word().to_owned(),
                to: Format::Dense.word().to_owned(),
                reason: format!("{} {reason}", external.word()),
            }),
        };
    }
    if let Some(reason) = no_place(external, layer) {
        return left_dense(asked, reason);
    }
    match external {
        External::Gptq => gptq::hold(layer, asked),
        External::Mlx => mlx::hold(layer, asked),
        External::Bnb => bnb::hold(layer, asked),
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
    })
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
    let mut entries = Map::new();
    match external {
        External::Gptq => {
            let config = gptq::quantization_config(&plan.layers);
            entries.insert("quantization_config".to_owned(), config);
        }
        External::Mlx => entries = mlx::entries(&plan.layers),
        External::Bnb => {
            let config = bnb::quantization_config(plan);
            entries.insert("quantization_config".to_owned(), config);
        }
    }
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
    }
}

/// Whether what was solved lies there as values: it has no codes, and loses its form alone.
pub(super) fn has_no_codes(settings: &LayerSettings) -> bool {
    matches!(settings.method, Method::Float | Method::None)
}

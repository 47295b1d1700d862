//! What a container can hold of what the recipe asks, told before anything is solved.
//!
//! Knows the limits of containers; opens no file and solves nothing.

use super::inputs::hold_inputs;
use super::{LayoutError, Values, external};
use crate::formats::Format;
use crate::model::{LayerInfo, LayerKind};
use crate::report::Fallback;
use crate::settings::LayerSettings;
use crate::solved::Method;
use std::collections::BTreeMap;

/// How one layer will be solved and stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Settings in force; method `none` leaves the layer as the source has it.
    pub settings: LayerSettings,
    /// What the container cannot hold, and what will be done instead.
    pub fallback: Option<Fallback>,
}

/// What to say before a run of hours whose result would be the model as it was: the container holds no layer of those
/// asked for.
pub fn warn_of_nothing_held(
    format: Format,
    asked: &[(LayerInfo, LayerSettings)],
    held: &[Held],
) -> Option<String> {
    let compressed: Vec<&Held> = asked
        .iter()
        .zip(held)
        .filter(|((_, settings), _)| settings.method != Method::None)
        .map(|(_, held)| held)
        .collect();
    let first = compressed.first()?;
    let is_dense = |held: &&Held| held.settings.method == Method::None;
    compressed.iter().all(is_dense).then(|| {
        let reason = first.fallback.as_ref().map(|told| told.reason.as_str());
        format!(
            "format {} holds none of the {} layers that the recipe compresses, all of them stay dense: {}; choose other settings or another format",
            format.word(),
            compressed.len(),
            reason.unwrap_or("they are left as they are")
        )
    })
}

/// Settles each layer's settings for `format`, in the order given. Under `strict`, anything that the container cannot
/// hold is an error that names every such layer.
pub fn preflight(
    format: Format,
    layers: &[(LayerInfo, LayerSettings)],
    strict: bool,
) -> Result<Vec<Held>, LayoutError> {
    preflight_as(format, layers, Values::Open, strict)
}

/// `preflight` of layers whose values may be there already.
pub(in crate::formats) fn preflight_as(
    format: Format,
    layers: &[(LayerInfo, LayerSettings)],
    values: Values,
    strict: bool,
) -> Result<Vec<Held>, LayoutError> {
    let has_head = layers
        .iter()
        .any(|(layer, _)| layer.kind == LayerKind::Head);
    let mut held: Vec<Held> = layers
        .iter()
        .map(|(layer, settings)| {
            let (settings, inputs) = hold_inputs(format, layer, has_head, *settings);
            let weights = match (format, format.external()) {
                (_, Some(external)) => external::hold(external, layer, settings, values),
                (Format::Gguf, _) => crate::formats::gguf::types::hold(layer, settings),
                (Format::Onnx, _) => crate::formats::onnx::hold(layer, settings),
                _ => as_asked(settings),
            };
            joined(weights, inputs)
        })
        .collect();
    let infos: Vec<&LayerInfo> = layers.iter().map(|(layer, _)| layer).collect();
    if let Some(external) = format.external() {
        let asked: Vec<LayerSettings> = layers.iter().map(|(_, settings)| *settings).collect();
        external::agree(external, &infos, &asked, &mut held);
    }
    if format.fuses_peers() {
        let asked: Vec<Method> = layers.iter().map(|(_, settings)| settings.method).collect();
        agree_with_peers(&infos, &asked, &mut held);
    }
    if strict {
        refuse_fallbacks(format, layers, &held)?;
    }
    Ok(held)
}

pub(super) fn as_asked(settings: LayerSettings) -> Held {
    Held {
        settings,
        fallback: None,
    }
}

/// The word on weights and that on inputs as one; a layer left dense has no inputs to speak of.
fn joined(weights: Held, inputs: Option<Fallback>) -> Held {
    let is_left_dense = weights
        .fallback
        .as_ref()
        .is_some_and(|told| told.to == Method::None.word());
    let inputs = inputs.filter(|_| !is_left_dense);
    Held {
        fallback: Fallback::join(weights.fallback, inputs),
        settings: weights.settings,
    }
}

/// A layer that the container does not hold, and why.
pub(in crate::formats) fn left_dense(settings: LayerSettings, reason: impl Into<String>) -> Held {
    Held {
        settings: LayerSettings {
            method: Method::None,
            ..settings
        },
        fallback: Some(Fallback {
            from: settings.method.word().to_owned(),
            to: Method::None.word().to_owned(),
            reason: reason.into(),
        }),
    }
}

/// One row for one or two changes.
pub(super) fn told(asked: &LayerSettings, changes: Vec<(String, String)>) -> Option<Fallback> {
    let (to, reasons): (Vec<String>, Vec<String>) = changes.into_iter().unzip();
    let from = match to.as_slice() {
        [] => return None,
        [only] if only.starts_with("group") => format!("group {}", asked.group),
        [_] => scales_asked(asked),
        _ => format!("{}, group {}", scales_asked(asked), asked.group),
    };
    Some(Fallback {
        from,
        to: to.join(", "),
        reason: reasons.join("; "),
    })
}

fn scales_asked(asked: &LayerSettings) -> String {
    format!("{} scales", asked.scale_dtype)
}

/// Layers that runtimes fuse into one weight must share bits, group and symmetry, or all stay dense.
fn agree_with_peers(layers: &[&LayerInfo], asked: &[Method], held: &mut [Held]) {
    for members in fused(layers).values() {
        let first = &held[members[0]].settings;
        let agreed = members.iter().all(|&member| {
            let other = &held[member].settings;
            same_shape_of_codes(first, other)
        });
        if agreed {
            continue;
        }
        let names: Vec<&str> = members
            .iter()
            .map(|&member| layers[member].name.as_str())
            .collect();
        for &member in members {
            if held[member].settings.method != Method::None {
                let settings = LayerSettings {
                    method: asked[member],
                    ..held[member].settings
                };
                let reason = format!(
                    "runtimes fuse {} into one weight, so they must share bits, group and symmetry",
                    names.join(", ")
                );
                held[member] = left_dense(settings, reason);
            }
        }
    }
}

fn same_shape_of_codes(left: &LayerSettings, right: &LayerSettings) -> bool {
    let dense = external::has_no_codes;
    (dense(left) && dense(right))
        || (!dense(left)
            && !dense(right)
            && left.grid() == right.grid()
            && left.activations == right.activations)
}

/// Members of each fused weight, by their index in `layers`.
pub(super) fn fused(layers: &[&LayerInfo]) -> BTreeMap<usize, Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        if let Some(peers) = layer.fused_peers {
            groups.entry(peers).or_default().push(index);
        }
    }
    groups
}

pub(super) fn refuse_fallbacks(
    format: Format,
    layers: &[(LayerInfo, LayerSettings)],
    held: &[Held],
) -> Result<(), LayoutError> {
    let unfit: Vec<String> = layers
        .iter()
        .zip(held)
        .filter_map(|((layer, _), held)| {
            let fallback = held.fallback.as_ref()?;
            Some(format!("{} ({})", layer.name, fallback.reason))
        })
        .collect();
    if unfit.is_empty() {
        Ok(())
    } else {
        Err(LayoutError::Strict {
            format: format.word(),
            layers: first_few(&unfit),
        })
    }
}

/// The first entries of a list, and how many more there are: an error is a sentence, not a table.
fn first_few(entries: &[String]) -> String {
    const FEW: usize = 3;
    let mut text = entries[..entries.len().min(FEW)].join(", ");
    if entries.len() > FEW {
        text.push_str(&format!(" and {} more", entries.len() - FEW));
    }
    text
}

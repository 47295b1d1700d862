//! What two recipes decided differently, layer by layer: layers that changed alike are one entry.

use super::reports;
use crate::studio::draft::{activations_name, method_name};
use crate::studio::runs::Run;
use crate::studio::sparse;
use pare_engine::recipe::LayerSettings;
use pare_engine::recipe::role_word;
use pare_engine::solved::Method;
use std::collections::HashMap;

/// A key, what it was, what it became.
type Change = (&'static str, String, String);

/// Layers whose settings changed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeChange {
    /// A role and how many of its layers, or one name.
    pub layers: String,
    /// Key, left, right.
    pub keys: Vec<(&'static str, String, String)>,
}

/// What both recipes decided differently: layers that changed alike are one entry, named by role where a role did.
pub fn recipe_changes(left: &Run, right: &Run) -> Vec<RecipeChange> {
    let before: HashMap<&str, LayerSettings> = reports(Some(left))
        .iter()
        .map(|layer| (&layer.name[..], layer.settings))
        .collect();
    let mut groups: Vec<(Vec<Change>, Vec<&str>)> = Vec::new();
    for layer in reports(Some(right)) {
        let Some(&from) = before.get(&layer.name[..]) else {
            continue;
        };
        let keys = changed_keys(&from, &layer.settings);
        if keys.is_empty() {
            continue;
        }
        let word = role_word(&layer.name);
        let alike = |(known, names): &&mut (Vec<_>, Vec<&str>)| {
            *known == keys && role_word(names[0]) == word
        };
        match groups.iter_mut().find(alike) {
            Some((_, names)) => names.push(&layer.name),
            None => groups.push((keys, vec![&layer.name])),
        }
    }
    groups
        .into_iter()
        .map(|(keys, names)| RecipeChange {
            layers: match names[..] {
                [name] => name.to_owned(),
                _ => format!("{} in {} blocks", role_word(names[0]), names.len()),
            },
            keys,
        })
        .collect()
}

/// All that is said of zeros.
fn zeros(settings: &LayerSettings) -> String {
    match sparse::zeros_of(settings) {
        None => "none".to_owned(),
        Some(zeros) => {
            let text = sparse::zeros_text(settings).unwrap_or_default();
            let (method, scope) = (
                sparse::prune_name(zeros.method),
                sparse::scope_name(zeros.scope),
            );
            format!("{text} by {method} {scope}")
        }
    }
}

fn changed_keys(from: &LayerSettings, to: &LayerSettings) -> Vec<(&'static str, String, String)> {
    let method = |settings: &LayerSettings| method_name(settings.method).to_owned();
    if from.method == Method::None && to.method == Method::None {
        return Vec::new();
    }
    let pairs = [
        ("method", method(from), method(to)),
        ("bits", from.bits.to_string(), to.bits.to_string()),
        ("group", group_text(from.group), group_text(to.group)),
        ("zeros", zeros(from), zeros(to)),
        (
            "factors",
            sparse::rank_text(from.rank),
            sparse::rank_text(to.rank),
        ),
        (
            "palettes",
            sparse::palette_text(from.palette_rows),
            sparse::palette_text(to.palette_rows),
        ),
        (
            "symmetric",
            from.symmetric.to_string(),
            to.symmetric.to_string(),
        ),
        (
            "clip search",
            from.clip_search.to_string(),
            to.clip_search.to_string(),
        ),
        ("damping", from.damping.to_string(), to.damping.to_string()),
        (
            "order",
            format!("{:?}", from.order).to_lowercase(),
            format!("{:?}", to.order).to_lowercase(),
        ),
        (
            "refine",
            format!("{:?}", from.refine).to_lowercase(),
            format!("{:?}", to.refine).to_lowercase(),
        ),
        (
            "double quant",
            from.double_quant.to_string(),
            to.double_quant.to_string(),
        ),
        (
            "inputs",
            activations_name(from.activations).to_owned(),
            activations_name(to.activations).to_owned(),
        ),
        (
            "block of inputs",
            inputs_text(from.activation_block),
            inputs_text(to.activation_block),
        ),
        ("smooth", from.smooth.to_string(), to.smooth.to_string()),
        (
            "scales",
            format!("{:?}", from.scale_dtype).to_lowercase(),
            format!("{:?}", to.scale_dtype).to_lowercase(),
        ),
    ];
    pairs
        .into_iter()
        .filter(|(_, from, to)| from != to)
        .collect()
}

/// Inputs that share a scale.
fn inputs_text(block: usize) -> String {
    match block {
        0 => "token".to_owned(),
        block => block.to_string(),
    }
}

pub(super) fn group_text(group: usize) -> String {
    match group {
        0 => "row".to_owned(),
        group => group.to_string(),
    }
}

//! From settings of every layer back to the shortest rules that say them.
//!
//! `[default]` is what most layers have; one `*.role` rule where most layers of a role differ; a rule by name for each
//! layer that is still different. Resolving the recipe gives the settings again.

use super::{LayerRule, Overrides, Recipe, literal};
use crate::model::{LayerInfo, LayerKind};
use crate::settings::{LayerSettings, Pruning, Rank};
use crate::solved::Method;

impl Recipe {
    /// This recipe with rules that give each of `layers` its entry of `settings`. Layers that cannot be compressed are
    /// passed over; where no layer can be, `[default]` stays.
    pub fn saying(&self, layers: &[LayerInfo], settings: &[LayerSettings]) -> Self {
        let inner: Vec<usize> = compressible(layers, |kind| !is_end(kind));
        let default = most_frequent(inner.iter().map(|&layer| settings[layer]));
        let default = LayerSettings {
            prefix: self.default.prefix,
            ..default.unwrap_or(self.default)
        };
        let mut rules = Vec::new();
        for role in roles(layers, &inner) {
            rules.extend(role_rules(settings, layers, &role, default));
        }
        rules.extend(end_rules(settings, layers, default));
        Self {
            default,
            embeddings: None,
            layers: rules,
            ..self.clone()
        }
    }
}

/// The last word of a name: `down_proj` of `model.layers.3.mlp.down_proj`.
pub fn role_word(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn is_end(kind: LayerKind) -> bool {
    matches!(kind, LayerKind::Embedding | LayerKind::Head)
}

fn compressible(layers: &[LayerInfo], wanted: impl Fn(LayerKind) -> bool) -> Vec<usize> {
    (0..layers.len())
        .filter(|&layer| layers[layer].compressible && wanted(layers[layer].kind))
        .collect()
}

/// The inner layers of each role, roles in order of first appearance.
fn roles(layers: &[LayerInfo], inner: &[usize]) -> Vec<Vec<usize>> {
    let mut words: Vec<&str> = Vec::new();
    let mut roles: Vec<Vec<usize>> = Vec::new();
    for &layer in inner {
        let word = role_word(&layers[layer].name);
        match words.iter().position(|&known| known == word) {
            Some(role) => roles[role].push(layer),
            None => {
                words.push(word);
                roles.push(vec![layer]);
            }
        }
    }
    roles
}

fn role_rules(
    settings: &[LayerSettings],
    layers: &[LayerInfo],
    role: &[usize],
    default: LayerSettings,
) -> Vec<LayerRule> {
    let mut rules = Vec::new();
    let common = most_frequent(role.iter().map(|&layer| settings[layer])).unwrap_or(default);
    let mut held = default;
    if role.len() > 1 && differences(default, common) != Overrides::default() {
        rules.push(LayerRule {
            pattern: format!("*.{}", literal(role_word(&layers[role[0]].name))),
            overrides: differences(default, common),
        });
        held = common;
    }
    let others = role.iter().filter_map(|&layer| {
        let overrides = differences(held, settings[layer]);
        (overrides != Overrides::default()).then(|| LayerRule {
            pattern: literal(&layers[layer].name),
            overrides,
        })
    });
    rules.extend(others);
    rules
}

/// Embedding and head by name: a rule that hits no inner layer is their own.
fn end_rules(
    settings: &[LayerSettings],
    layers: &[LayerInfo],
    default: LayerSettings,
) -> Vec<LayerRule> {
    let start = LayerSettings {
        method: Method::Rtn,
        prune: Pruning::NONE,
        rank: Rank::None,
        ..default
    };
    compressible(layers, is_end)
        .into_iter()
        .filter(|&layer| settings[layer].method != Method::None)
        .map(|layer| LayerRule {
            pattern: literal(&layers[layer].name),
            overrides: Overrides {
                // Named even where it is the start's: an empty rule would read as a mistake.
                method: Some(settings[layer].method),
                ..differences(start, settings[layer])
            },
        })
        .collect()
}

/// What turns `from` into `to`; `prefix` holds for a whole recipe.
fn differences(from: LayerSettings, to: LayerSettings) -> Overrides {
    fn changed<T: PartialEq>(from: T, to: T) -> Option<T> {
        (from != to).then_some(to)
    }
    Overrides {
        method: changed(from.method, to.method),
        bits: changed(from.bits, to.bits),
        group: changed(from.group, to.group),
        symmetric: changed(from.symmetric, to.symmetric),
        scale_dtype: changed(from.scale_dtype, to.scale_dtype),
        clip_search: changed(from.clip_search, to.clip_search),
        order: changed(from.order, to.order),
        damping: changed(from.damping, to.damping),
        refine: changed(from.refine, to.refine),
        double_quant: changed(from.double_quant, to.double_quant),
        activations: changed(from.activations, to.activations),
        activation_block: changed(from.activation_block, to.activation_block),
        smooth: changed(from.smooth, to.smooth),
        prune: changed(from.prune, to.prune),
        rank: changed(from.rank, to.rank),
        palette_rows: changed(from.palette_rows, to.palette_rows),
    }
}

/// The settings met most often; of equals, those met first.
pub fn most_frequent(settings: impl Iterator<Item = LayerSettings>) -> Option<LayerSettings> {
    let mut counts: Vec<(LayerSettings, usize)> = Vec::new();
    for settings in settings {
        match counts.iter_mut().find(|(known, _)| *known == settings) {
            Some((_, count)) => *count += 1,
            None => counts.push((settings, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(settings, _)| settings)
}

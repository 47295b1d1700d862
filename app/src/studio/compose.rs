//! Drafts to recipes and back: the shortest rules that say what was chosen.
//!
//! `recipe` makes `[default]` of what most layers have, one `*.role` rule where most layers of a role differ, and a rule by
//! name for each layer that is still different. Resolving the recipe gives the draft's settings again; a property test
//! holds it to that. Knows no file.

use super::draft::Draft;
use pare_engine::formats::Format;
use pare_engine::model::{LayerInfo, LayerKind};
use pare_engine::recipe::{LayerRule, LayerSettings, Overrides, Recipe};
use pare_engine::solved::Method;
use std::path::PathBuf;

/// The recipe that says what `draft` chose for `layers`.
pub fn recipe(draft: &Draft, layers: &[LayerInfo]) -> Recipe {
    let inner: Vec<usize> = compressible(layers, |kind| !is_end(kind));
    let default = most_frequent(inner.iter().map(|&layer| draft.settings[layer]));
    let default = LayerSettings {
        prefix: draft.template.prefix,
        ..default.unwrap_or(draft.template)
    };
    let mut rules = Vec::new();
    for role in roles(layers, &inner) {
        rules.extend(role_rules(draft, layers, &role, default));
    }
    rules.extend(end_rules(draft, layers, default));
    Recipe {
        strict: draft.strict,
        default,
        embeddings: None,
        calibration: draft.calibration.clone(),
        layers: rules,
        ..Recipe::default()
    }
}

/// The draft that `recipe` says for `layers`, and what it warns of.
pub fn draft(
    recipe: &Recipe,
    layers: &[LayerInfo],
    evaluation: Option<PathBuf>,
    format: Format,
) -> (Draft, Vec<String>) {
    let resolved = recipe.resolve(layers);
    let draft = Draft {
        settings: resolved
            .decisions
            .iter()
            .map(|decision| decision.settings)
            .collect(),
        locked: vec![false; layers.len()],
        template: recipe.default,
        calibration: recipe.calibration.clone(),
        evaluation,
        strict: recipe.strict,
        format,
    };
    (draft, resolved.warnings)
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
    draft: &Draft,
    layers: &[LayerInfo],
    role: &[usize],
    default: LayerSettings,
) -> Vec<LayerRule> {
    let mut rules = Vec::new();
    let common = most_frequent(role.iter().map(|&layer| draft.settings[layer])).unwrap_or(default);
    let mut held = default;
    if role.len() > 1 && differences(default, common) != Overrides::default() {
        rules.push(LayerRule {
            pattern: format!("*.{}", escape(role_word(&layers[role[0]].name))),
            overrides: differences(default, common),
        });
        held = common;
    }
    let others = role.iter().filter_map(|&layer| {
        let overrides = differences(held, draft.settings[layer]);
        (overrides != Overrides::default()).then(|| LayerRule {
            pattern: escape(&layers[layer].name),
            overrides,
        })
    });
    rules.extend(others);
    rules
}

/// Embedding and head by name: a rule that hits no inner layer is their own.
fn end_rules(draft: &Draft, layers: &[LayerInfo], default: LayerSettings) -> Vec<LayerRule> {
    let start = LayerSettings {
        method: Method::Rtn,
        ..default
    };
    compressible(layers, is_end)
        .into_iter()
        .filter(|&layer| draft.settings[layer].method != Method::None)
        .map(|layer| LayerRule {
            pattern: escape(&layers[layer].name),
            overrides: Overrides {
                // Named even where it is the start's: an empty rule would read as a mistake.
                method: Some(draft.settings[layer].method),
                ..differences(start, draft.settings[layer])
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
    }
}

/// The settings met most often; of equals, those met first.
fn most_frequent(settings: impl Iterator<Item = LayerSettings>) -> Option<LayerSettings> {
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

/// A glob that hits exactly `name`.
fn escape(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for letter in name.chars() {
        if "*?[]{}\\!,/".contains(letter) {
            glob.push('\\');
        }
        glob.push(letter);
    }
    glob
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::studio::draft::LayerEdit;
    use crate::studio::state::testing;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_recipe_says_what_was_chosen(edits in prop::collection::vec((0usize..40, 0usize..40, 2u8..9, 0usize..4), 0..8)) {
            let layers = testing::layers(4);
            let (mut chosen, _) = draft(&Recipe::default(), &layers, None, Format::Pare);
            for (first, count, bits, kind) in edits {
                let first = first % layers.len();
                let last = (first + count).min(layers.len());
                let range: Vec<usize> = (first..last).collect();
                let edit = match kind {
                    0 => LayerEdit::Bits(bits),
                    1 => LayerEdit::Group(32 << (bits % 3)),
                    2 => LayerEdit::Method(Method::ALL[usize::from(bits) % 6]),
                    _ => LayerEdit::Symmetric(bits % 2 == 0),
                };
                chosen = chosen.edited(&layers, &range, edit).0;
            }
            let said = recipe(&chosen, &layers);
            let read = Recipe::parse(&said.to_toml()).unwrap();
            let (again, warnings) = draft(&read, &layers, None, Format::Pare);
            prop_assert!(warnings.is_empty(), "{warnings:?}");
            for (layer, info) in layers.iter().enumerate().filter(|(_, info)| info.compressible) {
                let (expected, found) = (chosen.settings[layer], again.settings[layer]);
                let same_dense = expected.method == Method::None && found.method == Method::None;
                prop_assert!(same_dense || expected == found, "{}: {expected:?} became {found:?}\n{}", info.name, said.to_toml());
            }
        }
    }

    #[test]
    fn a_whole_role_is_one_rule() {
        let layers = testing::layers(4);
        let (chosen, _) = draft(&Recipe::default(), &layers, None, Format::Pare);
        let down: Vec<usize> = (0..layers.len())
            .filter(|&layer| layers[layer].name.ends_with("down_proj"))
            .collect();
        let (chosen, changed) = chosen.edited(&layers, &down, LayerEdit::Bits(6));
        assert_eq!(changed, 4);
        let said = recipe(&chosen, &layers);
        let patterns: Vec<&str> = said.layers.iter().map(|rule| &rule.pattern[..]).collect();
        assert_eq!(patterns, ["*.down_proj"]);
    }
}

//! Rules to settings: which rule decides each layer.
//!
//! - A layer inside the network has the settings of `[default]`, changed by each `[[layer]]` that hits it, in order.
//! - Embedding and output head are left as they are, unless `[embeddings]` or a rule of their own says otherwise. A rule
//!   is their own when it hits no layer inside the network: `lm_head` or `*embed*` are, `*` or `model.*` are not, so
//!   that a catch-all never quantizes them by accident.
//! - Their settings begin as those of `[default]` with `method = "rtn"`, nothing pruned and no factors (an embedding has
//!   no inputs that could calibrate); then `[embeddings]` applies, then rules of their own.
//! - What cannot be compressed has the method `none`.

use super::pattern::Pattern;
use super::{LayerRule, Recipe};
use crate::model::{LayerInfo, LayerKind};
use crate::settings::{LayerSettings, Pruning, Rank};
use crate::solved::Method;
use std::collections::{HashMap, HashSet};

/// What holds for one layer, and which rule decided it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The settings in force.
    pub settings: LayerSettings,
    /// The deciding rule in words: `[default]`, `[embeddings]`, `[[layer]] match = "…"`, or why nothing is done.
    pub rule: String,
}

/// Decisions for every layer, in the order asked, and warnings about rules that hit nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// One for each layer.
    pub decisions: Vec<Decision>,
    /// For people.
    pub warnings: Vec<String>,
}

impl Recipe {
    /// Decides every one of `layers`.
    pub fn resolve(&self, layers: &[LayerInfo]) -> Resolved {
        let by_name = by_name(layers);
        let rules: Vec<Rule<'_>> = self
            .layers
            .iter()
            .map(|rule| Rule::new(rule, layers, &by_name))
            .collect();
        let mut deciding = vec![Vec::new(); layers.len()];
        for rule in &rules {
            for &layer in rule
                .hits
                .iter()
                .filter(|&&layer| rule.decides(&layers[layer]))
            {
                deciding[layer].push(rule.rule);
            }
        }
        Resolved {
            decisions: layers
                .iter()
                .zip(&deciding)
                .map(|(layer, rules)| self.decide(layer, rules))
                .collect(),
            warnings: rules
                .iter()
                .filter_map(|rule| rule.warning(layers))
                .collect(),
        }
    }

    /// `rules` are those that hit the layer and may decide it, in order.
    fn decide(&self, layer: &LayerInfo, rules: &[&LayerRule]) -> Decision {
        let decision = self.decide_unsettled(layer, rules);
        Decision {
            settings: decision.settings.settled(),
            ..decision
        }
    }

    fn decide_unsettled(&self, layer: &LayerInfo, rules: &[&LayerRule]) -> Decision {
        let untouched = LayerSettings {
            method: Method::None,
            ..self.default
        };
        if !layer.compressible {
            return Decision {
                settings: untouched,
                rule: "not compressible".to_owned(),
            };
        }
        let (start, unruled) = match (is_end(layer), &self.embeddings) {
            (false, _) => (self.default, (self.default, "[default]")),
            (true, Some(embeddings)) => {
                let settings = embeddings.apply(self.ends());
                (settings, (settings, "[embeddings]"))
            }
            (true, None) => (self.ends(), (untouched, "no [embeddings]")),
        };
        match rules.last() {
            None => Decision {
                settings: unruled.0,
                rule: unruled.1.to_owned(),
            },
            Some(last) => Decision {
                settings: rules
                    .iter()
                    .fold(start, |settings, rule| rule.overrides.apply(settings)),
                rule: format!("[[layer]] match = \"{}\"", last.pattern),
            },
        }
    }

    /// Where settings of embeddings and head begin: without zeros and factors, which nothing there could calibrate.
    fn ends(&self) -> LayerSettings {
        LayerSettings {
            method: Method::Rtn,
            prune: Pruning::NONE,
            rank: Rank::None,
            ..self.default
        }
    }
}

/// Whether a layer is an embedding or the output head.
fn is_end(layer: &LayerInfo) -> bool {
    matches!(layer.kind, LayerKind::Embedding | LayerKind::Head)
}

/// The layers of each name; a name may stand for a weight and for a tensor that lacks the ending `.weight`.
fn by_name(layers: &[LayerInfo]) -> HashMap<&str, Vec<usize>> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        by_name.entry(&layer.name).or_default().push(index);
    }
    by_name
}

/// A rule and what it hits.
struct Rule<'recipe> {
    rule: &'recipe LayerRule,
    /// What is wrong with its pattern; then it hits nothing.
    problem: Option<String>,
    /// Layers, in order.
    hits: Vec<usize>,
    hits_inner: bool,
}

impl<'recipe> Rule<'recipe> {
    fn new(
        rule: &'recipe LayerRule,
        layers: &[LayerInfo],
        by_name: &HashMap<&str, Vec<usize>>,
    ) -> Self {
        let (hits, problem) = match Pattern::new(&rule.pattern) {
            Ok(Pattern::Name(name)) => (by_name.get(&*name).cloned().unwrap_or_default(), None),
            Ok(pattern) => {
                let hit = |&index: &usize| pattern.hits(&layers[index].name);
                ((0..layers.len()).filter(hit).collect(), None)
            }
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let is_inner = |&index: &usize| layers[index].compressible && !is_end(&layers[index]);
        Self {
            rule,
            problem,
            hits_inner: hits.iter().any(is_inner),
            hits,
        }
    }

    /// Whether the rule, which hits the layer, may decide it.
    fn decides(&self, layer: &LayerInfo) -> bool {
        !(is_end(layer) && self.hits_inner)
    }

    /// What to tell people where nothing follows from the rule.
    fn warning(&self, layers: &[LayerInfo]) -> Option<String> {
        let text = &self.rule.pattern;
        if let Some(problem) = &self.problem {
            return Some(format!("[[layer]] match = \"{text}\" {problem}"));
        }
        if self.hits.is_empty() {
            let nearest = nearest_names(text, layers).join(", ");
            return Some(format!(
                "[[layer]] match = \"{text}\" hits no layer; the nearest names are {nearest}"
            ));
        }
        if self.hits.iter().all(|&layer| !layers[layer].compressible) {
            return Some(format!(
                "[[layer]] match = \"{text}\" hits only tensors that cannot be compressed"
            ));
        }
        None
    }
}

/// Names most like the pattern, the best first; of layers that differ in numbers alone only the first.
fn nearest_names<'layers>(pattern: &str, layers: &'layers [LayerInfo]) -> Vec<&'layers str> {
    const SHOWN: usize = 3;
    let core = pattern.trim_matches(|letter: char| "*?/^$.".contains(letter));
    let mut ranked: Vec<(f64, &str)> = candidates(core, layers)
        .into_iter()
        .map(|name| (similarity(core, name), name))
        .collect();
    ranked.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let mut shown: Vec<&str> = Vec::new();
    for (_, name) in ranked {
        if shown
            .iter()
            .all(|earlier| without_numbers(earlier) != without_numbers(name))
        {
            shown.push(name);
        }
        if shown.len() == SHOWN {
            break;
        }
    }
    shown
}

/// Names worth comparing: of those that differ in numbers alone the first, and those with a number of `core`. To compare
/// all of a large model's would take longer than an edit may.
fn candidates<'layers>(core: &str, layers: &'layers [LayerInfo]) -> Vec<&'layers str> {
    let numbers: HashSet<&str> = numbers(core).collect();
    let mut met = HashSet::new();
    let names = layers.iter().filter(|layer| layer.compressible);
    names
        .map(|layer| layer.name.as_str())
        .filter(|name| {
            let is_first = met.insert(without_numbers(name));
            is_first || self::numbers(name).any(|number| numbers.contains(number))
        })
        .collect()
}

/// How like `core` the name is, or its best end that begins after a dot.
fn similarity(core: &str, name: &str) -> f64 {
    let starts = name.match_indices('.').map(|(dot, _)| dot + 1);
    std::iter::once(0)
        .chain(starts)
        .map(|start| strsim::normalized_damerau_levenshtein(core, &name[start..]))
        .fold(0.0, f64::max)
}

/// Runs of digits.
fn numbers(name: &str) -> impl Iterator<Item = &str> {
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter(|run| !run.is_empty())
}

fn without_numbers(name: &str) -> String {
    name.chars()
        .filter(|letter| !letter.is_ascii_digit())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Overrides;
    use super::super::tests::layer;
    use super::*;
    use proptest::prelude::*;

    /// Decisions by the words at the head of this file: every rule tried on every layer.
    fn slow_decisions(recipe: &Recipe, layers: &[LayerInfo]) -> Vec<Decision> {
        let hits = |rule: &LayerRule, layer: &LayerInfo| {
            Pattern::new(&rule.pattern).is_ok_and(|pattern| pattern.hits(&layer.name))
        };
        let hits_inner = |rule: &LayerRule| {
            let mut inner = layers
                .iter()
                .filter(|layer| layer.compressible && !is_end(layer));
            inner.any(|layer| hits(rule, layer))
        };
        let decide = |layer: &LayerInfo| {
            let none = |settings| LayerSettings {
                method: Method::None,
                ..settings
            };
            let decision = |settings, rule: &str| Decision {
                settings,
                rule: rule.to_owned(),
            };
            if !layer.compressible {
                return decision(none(recipe.default), "not compressible");
            }
            let mut found = match (is_end(layer), recipe.embeddings) {
                (false, _) => decision(recipe.default, "[default]"),
                (true, Some(embeddings)) => {
                    decision(embeddings.apply(recipe.ends()), "[embeddings]")
                }
                (true, None) => decision(none(recipe.default), "no [embeddings]"),
            };
            let mut settings = match is_end(layer) && recipe.embeddings.is_none() {
                true => recipe.ends(),
                false => found.settings,
            };
            for rule in &recipe.layers {
                if hits(rule, layer) && !(is_end(layer) && hits_inner(rule)) {
                    settings = rule.overrides.apply(settings);
                    found = decision(settings, &format!("[[layer]] match = \"{}\"", rule.pattern));
                }
            }
            found
        };
        let settled = |decision: Decision| Decision {
            settings: decision.settings.settled(),
            ..decision
        };
        layers.iter().map(decide).map(settled).collect()
    }

    /// Names of few letters, so that rules often hit, and several hit one layer.
    fn name() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "a.b", "b", "lm_head", "a*", "a.c", "c"])
            .prop_map(str::to_owned)
    }

    fn any_rule() -> impl Strategy<Value = LayerRule> {
        let pattern = prop_oneof![
            4 => name().prop_map(|name| super::super::literal(&name)),
            2 => prop::sample::select(vec!["a*", "*", "?", "{a,b}", "/^a/", "/b/", "/(/", ""])
                .prop_map(str::to_owned),
        ];
        let bits = prop::option::of(2u8..9);
        let group = prop::option::of(prop::sample::select(vec![0usize, 32, 64]));
        let method = prop::option::of(prop::sample::select(Method::ALL.to_vec()));
        (pattern, bits, group, method).prop_map(|(pattern, bits, group, method)| LayerRule {
            pattern,
            overrides: Overrides {
                bits,
                group,
                method,
                ..Overrides::default()
            },
        })
    }

    fn any_layer() -> impl Strategy<Value = LayerInfo> {
        let kinds = vec![
            LayerKind::Linear,
            LayerKind::Linear,
            LayerKind::Embedding,
            LayerKind::Head,
            LayerKind::Other,
        ];
        (name(), prop::sample::select(kinds)).prop_map(|(name, kind)| layer(&name, kind))
    }

    proptest! {
        #[test]
        fn rules_decide_as_if_each_were_tried_on_every_layer(
            layers in prop::collection::vec(any_layer(), 0..8),
            rules in prop::collection::vec(any_rule(), 0..12),
            bits in prop::option::of(2u8..9),
        ) {
            let mut recipe = Recipe { layers: rules, ..Recipe::default() };
            recipe.embeddings = bits.map(|bits| Overrides { bits: Some(bits), ..Overrides::default() });
            prop_assert_eq!(recipe.resolve(&layers).decisions, slow_decisions(&recipe, &layers));
        }

        #[test]
        fn a_named_rule_warns_as_a_pattern_does(
            layers in prop::collection::vec(any_layer(), 1..8),
            name in name(),
        ) {
            let warnings = |pattern: &str| {
                let rule = LayerRule { pattern: pattern.to_owned(), overrides: Overrides::default() };
                let recipe = Recipe { layers: vec![rule], ..Recipe::default() };
                recipe.resolve(&layers).warnings
            };
            let named = warnings(&super::super::literal(&name));
            let expression = warnings(&format!("/^{}$/", regex::escape(&name)));
            prop_assert_eq!(named.len(), expression.len(), "{:?} {:?}", named, expression);
            let said = |warnings: &[String], words: &str| warnings.iter().any(|text| text.contains(words));
            for words in ["hits no layer", "cannot be compressed"] {
                prop_assert_eq!(said(&named, words), said(&expression, words), "{}", words);
            }
        }
    }
}

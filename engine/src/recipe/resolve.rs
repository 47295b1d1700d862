//! Rules to settings: which rule decides each layer.
//!
//! - A layer inside the network has the settings of `[default]`, changed by each `[[layer]]` that hits it, in order.
//! - Embedding and output head are left as they are, unless `[embeddings]` or a rule of their own says otherwise. A rule
//!   is their own when it hits no layer inside the network: `lm_head` or `*embed*` are, `*` or `model.*` are not, so
//!   that a catch-all never quantizes them by accident.
//! - Their settings begin as those of `[default]` with `method = "rtn"` (an embedding has no inputs that could
//!   calibrate); then `[embeddings]` applies, then rules of their own.
//! - What cannot be compressed has the method `none`.

use super::pattern::Pattern;
use super::{LayerRule, Recipe};
use crate::model::{LayerInfo, LayerKind};
use crate::settings::LayerSettings;
use crate::solved::Method;

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
        let rules: Vec<Rule<'_>> = self
            .layers
            .iter()
            .map(|rule| Rule::new(rule, layers))
            .collect();
        Resolved {
            decisions: layers
                .iter()
                .map(|layer| self.decide(layer, &rules))
                .collect(),
            warnings: rules
                .iter()
                .filter_map(|rule| rule.warning(layers))
                .collect(),
        }
    }

    fn decide(&self, layer: &LayerInfo, rules: &[Rule<'_>]) -> Decision {
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
        let is_end = is_end(layer);
        let base = match (is_end, &self.embeddings) {
            (false, _) => (self.default, "[default]"),
            (true, Some(embeddings)) => (embeddings.apply(self.ends()), "[embeddings]"),
            (true, None) => (untouched, "no [embeddings]"),
        };
        let deciding = rules.iter().filter(|rule| rule.decides(layer));
        let start = if is_end && self.embeddings.is_none() {
            self.ends()
        } else {
            base.0
        };
        let changed = deciding.fold(None, |earlier: Option<(LayerSettings, &str)>, rule| {
            let settings = earlier.map_or(start, |(settings, _)| settings);
            Some((rule.rule.overrides.apply(settings), &rule.rule.pattern))
        });
        match changed {
            None => Decision {
                settings: base.0,
                rule: base.1.to_owned(),
            },
            Some((settings, pattern)) => Decision {
                settings,
                rule: format!("[[layer]] match = \"{pattern}\""),
            },
        }
    }

    /// Where settings of embeddings and head begin.
    fn ends(&self) -> LayerSettings {
        LayerSettings {
            method: Method::Rtn,
            ..self.default
        }
    }
}

/// Whether a layer is an embedding or the output head.
fn is_end(layer: &LayerInfo) -> bool {
    matches!(layer.kind, LayerKind::Embedding | LayerKind::Head)
}

/// A rule and what it hits.
struct Rule<'recipe> {
    rule: &'recipe LayerRule,
    /// `None` where the pattern cannot be read; then it hits nothing.
    pattern: Option<Pattern>,
    hits_inner: bool,
}

impl<'recipe> Rule<'recipe> {
    fn new(rule: &'recipe LayerRule, layers: &[LayerInfo]) -> Self {
        let mut this = Self {
            rule,
            pattern: Pattern::new(&rule.pattern).ok(),
            hits_inner: false,
        };
        this.hits_inner = layers
            .iter()
            .any(|layer| layer.compressible && !is_end(layer) && this.hits(layer));
        this
    }

    fn hits(&self, layer: &LayerInfo) -> bool {
        let pattern = self.pattern.as_ref();
        pattern.is_some_and(|pattern| pattern.hits(&layer.name))
    }

    fn decides(&self, layer: &LayerInfo) -> bool {
        self.hits(layer) && !(is_end(layer) && self.hits_inner)
    }

    /// What to tell people where nothing follows from the rule.
    fn warning(&self, layers: &[LayerInfo]) -> Option<String> {
        let text = &self.rule.pattern;
        if let Err(problem) = Pattern::new(text) {
            return Some(format!("[[layer]] match = \"{text}\" {problem}"));
        }
        let mut hit = layers.iter().filter(|layer| self.hits(layer)).peekable();
        if hit.peek().is_none() {
            let nearest = nearest_names(text, layers).join(", ");
            return Some(format!(
                "[[layer]] match = \"{text}\" hits no layer; the nearest names are {nearest}"
            ));
        }
        if hit.all(|layer| !layer.compressible) {
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
    let mut ranked: Vec<(f64, &str)> = layers
        .iter()
        .filter(|layer| layer.compressible)
        .map(|layer| (similarity(core, &layer.name), layer.name.as_str()))
        .collect();
    ranked.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let mut shown: Vec<&str> = Vec::new();
    for (_, name) in ranked {
        if shown.iter().all(|earlier| !same_but_numbers(earlier, name)) {
            shown.push(name);
        }
        if shown.len() == SHOWN {
            break;
        }
    }
    shown
}

/// How like `core` the name is, or its best end that begins after a dot.
fn similarity(core: &str, name: &str) -> f64 {
    let starts = name.match_indices('.').map(|(dot, _)| dot + 1);
    std::iter::once(0)
        .chain(starts)
        .map(|start| strsim::normalized_damerau_levenshtein(core, &name[start..]))
        .fold(0.0, f64::max)
}

fn same_but_numbers(left: &str, right: &str) -> bool {
    let letters = |name: &str| -> String {
        name.chars()
            .filter(|letter| !letter.is_ascii_digit())
            .collect()
    };
    letters(left) == letters(right)
}

//! What the flags and the recipe mean together.
//!
//! Precedence: a flag > the last matching `[[layer]]` > `[default]` > the documented default. `[embeddings]` keeps its
//! own words. Relative paths of a recipe are relative to the recipe; those of flags, to the process.
//! Knows no model but its context length, and starts nothing.

use crate::cli::arguments::{CalibrationFlags, SolverFlags};
use crate::cli::failure::Failure;
use crate::cli::sample::{self, Text};
use pare_engine::recipe::{CalibrationSettings, Overrides, Recipe};
use std::fs;
use std::path::Path;

/// A recipe as it was given, and what must be known about how it was given.
#[derive(Debug)]
pub(super) struct Given {
    /// The recipe, with paths as the process sees them.
    pub(super) recipe: Recipe,
    /// Whether its text names a length, which is then meant.
    length_is_meant: bool,
}

/// Reads the recipe at `path`; without one, the documented defaults.
pub(super) fn recipe(path: Option<&Path>, cache: &Path) -> Result<Given, Failure> {
    let Some(path) = path else {
        return Ok(Given {
            recipe: Recipe::default(),
            length_is_meant: false,
        });
    };
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::Failed(format!(
            "The recipe cannot be read: {error}. Name a text file in TOML: {}",
            path.display()
        ))
    })?;
    let mut recipe = crate::cli::session::parse_recipe(&text)
        .map_err(|error| Failure::Failed(format!("{error} {}", path.display())))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    recipe.calibration.corpus = recipe
        .calibration
        .corpus
        .map(|corpus| sample::text(Path::new(&corpus), folder, Text::Calibration, cache))
        .transpose()?
        .map(|corpus| corpus.to_string_lossy().into_owned());
    Ok(Given {
        recipe,
        length_is_meant: names_length(&text),
    })
}

impl Given {
    /// The recipe with `flags` put over every setting they name.
    pub(super) fn under(mut self, flags: &SolverFlags, strict: bool) -> Self {
        let over = overrides(flags);
        self.recipe.strict |= strict;
        self.recipe.default = over.apply(self.recipe.default);
        if let Some(prefix) = flags.prefix {
            self.recipe.default.prefix = prefix;
        }
        for rule in &mut self.recipe.layers {
            rule.overrides = win(over, rule.overrides);
        }
        self
    }

    /// Which text calibrates, for a model of `context` tokens. `is_sample` models calibrate on their own text by default.
    pub(super) fn calibration(
        &self,
        flags: &CalibrationFlags,
        seed: Option<u64>,
        context: Option<usize>,
        is_sample: bool,
        cache: &Path,
    ) -> Result<CalibrationSettings, Failure> {
        let asked = &self.recipe.calibration;
        let named = match (&flags.corpus, &asked.corpus) {
            (Some(path), _) => Some(sample::text(path, Path::new(""), Text::Calibration, cache)?),
            (None, Some(path)) => Some(path.into()),
            (None, None) if is_sample => Some(sample::calibration(cache)?),
            (None, None) => None,
        };
        let longest = context.unwrap_or(usize::MAX);
        Ok(CalibrationSettings {
            corpus: named.map(|path| path.to_string_lossy().into_owned()),
            sequences: flags.sequences.unwrap_or(asked.sequences),
            length: match flags.length {
                Some(length) => length,
                None if self.length_is_meant => asked.length,
                None => asked.length.min(longest),
            },
            seed: seed.unwrap_or(asked.seed),
        })
    }
}

/// Whether the text of a recipe (one that parses) names `calibration.length`.
fn names_length(text: &str) -> bool {
    text.parse::<toml::Table>().is_ok_and(|table| {
        table
            .get("calibration")
            .and_then(|calibration| calibration.get("length"))
            .is_some()
    })
}

fn overrides(flags: &SolverFlags) -> Overrides {
    Overrides {
        method: flags.method,
        bits: flags.bits,
        group: flags.group,
        symmetric: flags.symmetric,
        scale_dtype: flags.scale_dtype,
        clip_search: flags.clip_search,
        order: flags.order,
        damping: flags.damping,
        refine: flags.refine,
        double_quant: flags.double_quant,
    }
}

/// `rule`, with flags in place of what it sets; what it leaves alone it goes on leaving alone, so that a rule on a layer
/// hits the same layers as before.
fn win(flags: Overrides, rule: Overrides) -> Overrides {
    /// The flag where both speak.
    fn first<T>(flag: Option<T>, rule: Option<T>) -> Option<T> {
        rule.map(|rule| flag.unwrap_or(rule))
    }
    Overrides {
        method: first(flags.method, rule.method),
        bits: first(flags.bits, rule.bits),
        group: first(flags.group, rule.group),
        symmetric: first(flags.symmetric, rule.symmetric),
        scale_dtype: first(flags.scale_dtype, rule.scale_dtype),
        clip_search: first(flags.clip_search, rule.clip_search),
        order: first(flags.order, rule.order),
        damping: first(flags.damping, rule.damping),
        refine: first(flags.refine, rule.refine),
        double_quant: first(flags.double_quant, rule.double_quant),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pare_engine::recipe::LayerRule;
    use pare_engine::solved::Method;

    fn given(length_is_meant: bool) -> Given {
        let mut recipe = Recipe::default();
        recipe.layers.push(LayerRule {
            pattern: "*.down_proj".to_owned(),
            overrides: Overrides {
                bits: Some(6),
                method: Some(Method::Rtn),
                ..Overrides::default()
            },
        });
        Given {
            recipe,
            length_is_meant,
        }
    }

    #[test]
    fn a_flag_wins_over_rules_and_default() {
        let flags = SolverFlags {
            bits: Some(3),
            group: Some(64),
            ..SolverFlags::default()
        };
        let recipe = given(false).under(&flags, true).recipe;
        assert_eq!((recipe.default.bits, recipe.default.group), (3, 64));
        let rule = recipe.layers[0].overrides;
        assert_eq!((rule.bits, rule.group), (Some(3), None));
        assert_eq!(rule.method, Some(Method::Rtn), "no flag named a method");
        assert!(recipe.strict);
    }

    #[test]
    fn without_flags_the_recipe_stands() {
        let recipe = given(false).under(&SolverFlags::default(), false).recipe;
        assert_eq!(recipe, given(false).recipe);
    }

    #[test]
    fn length_fits_the_context_unless_it_is_meant() {
        let length = |given: &Given, flag: Option<usize>, context| {
            let flags = CalibrationFlags {
                length: flag,
                ..CalibrationFlags::default()
            };
            given
                .calibration(&flags, None, context, false, Path::new(""))
                .unwrap()
                .length
        };
        let cases = [
            (false, None, Some(256), 256),
            (false, None, Some(8192), 2048),
            (false, None, None, 2048),
            (false, Some(512), Some(256), 512),
            (true, None, Some(256), 2048),
        ];
        for (meant, flag, context, expected) in cases {
            assert_eq!(
                length(&given(meant), flag, context),
                expected,
                "{meant} {flag:?} {context:?}"
            );
        }
    }

    #[test]
    fn only_a_written_length_is_meant() {
        assert!(names_length("[calibration]\nlength = 2048\n"));
        assert!(!names_length("[calibration]\nsequences = 4\n"));
        assert!(!names_length("version = 1\n"));
    }
}

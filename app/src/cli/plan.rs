//! What the flags and the recipe mean together.
//!
//! Precedence: a flag > the last matching `[[layer]]` > `[default]` > the documented default. `[embeddings]` keeps its
//! own words. Relative paths of a recipe are relative to the recipe; those of flags, to the process.
//! Knows no model but its context length, and starts nothing.

use crate::cli::arguments::{CalibrationFlags, SolverFlags};
use crate::cli::failure::Failure;
use crate::cli::zeros;
use crate::studio::sample::{self, Text};
use pare_engine::recipe::{CalibrationSettings, Overrides, Recipe};
use pare_engine::solved::Method;
use std::fs;
use std::path::{Path, PathBuf};

/// A recipe as it was given, and what must be known about how it was given.
#[derive(Debug)]
pub(super) struct Given {
    /// The recipe, with paths as the process sees them.
    pub(super) recipe: Recipe,
    /// Whether its text names a length, which is then meant.
    length_is_meant: bool,
}

/// Reads the recipe at `path`; without one, the documented defaults.
pub(super) fn recipe(path: Option<&Path>) -> Result<Given, Failure> {
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
    let recipe = Recipe::parse(&text)
        .map_err(|error| Failure::Failed(format!("{error}: {}", path.display())))?;
    let recipe = recipe.relative_to(path.parent().unwrap_or(Path::new("")));
    Ok(Given {
        recipe,
        length_is_meant: names_length(&text),
    })
}

/// Where the engine keeps a run until it is whole.
pub(super) fn unfinished(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    out.with_file_name(name)
}

impl Given {
    /// The recipe with `flags` put over every setting they name.
    pub(super) fn under(mut self, flags: &SolverFlags, strict: bool) -> Result<Self, Failure> {
        self.recipe = self.recipe.with_command_line(&overrides(flags));
        zeros::put_over(&mut self.recipe, &flags.zeros)?;
        refuse_idle_palette_rows(&self.recipe, flags)?;
        self.recipe.strict |= strict;
        if let Some(prefix) = flags.prefix {
            self.recipe.default.prefix = prefix;
        }
        Ok(self)
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
        let asked_corpus = asked.corpus.as_ref().map(PathBuf::from);
        let named = match flags.corpus.clone().or(asked_corpus) {
            Some(path) => Some(sample::text(&path, Text::Calibration, cache)?),
            None if is_sample => Some(sample::text(
                Path::new(sample::WORD),
                Text::Calibration,
                cache,
            )?),
            None => None,
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

fn refuse_idle_palette_rows(recipe: &Recipe, flags: &SolverFlags) -> Result<(), Failure> {
    let rules = recipe.layers.iter().map(|rule| rule.overrides.method);
    let has_palette = rules
        .chain([Some(recipe.default.method)])
        .any(|method| method == Some(Method::Palette));
    match flags.palette_rows.is_some() && !has_palette {
        true => Err(Failure::WrongUse(
            "--palette-rows does nothing here. Add --palette BITS, or leave it out.".to_owned(),
        )),
        false => Ok(()),
    }
}

fn overrides(flags: &SolverFlags) -> Overrides {
    Overrides {
        method: flags.method.or(flags.palette.map(|_| Method::Palette)),
        bits: flags.bits.or(flags.palette),
        group: flags.group,
        symmetric: flags.symmetric,
        scale_dtype: flags.scale_dtype,
        clip_search: flags.clip_search,
        order: flags.order,
        damping: flags.damping,
        refine: flags.refine,
        double_quant: flags.double_quant,
        activations: flags.activations,
        activation_block: flags.activation_block,
        smooth: flags.smooth,
        // Flags say parts of it; they are put over what stands there.
        prune: None,
        rank: flags.rank,
        palette_rows: flags.palette_rows,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pare_engine::recipe::LayerRule;

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
        let recipe = given(false).under(&flags, true).unwrap().recipe;
        assert_eq!((recipe.default.bits, recipe.default.group), (3, 64));
        let rule = recipe.layers[0].overrides;
        assert_eq!((rule.bits, rule.group), (Some(3), None));
        assert_eq!(rule.method, Some(Method::Rtn), "no flag named a method");
        assert!(recipe.strict);
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

//! Recipe text (TOML) to types.
//!
//! The text is walked by hand, so that every error names its line, its key and what would be right.
//! Knows no file: whoever read the text knows its folder (`Recipe::relative_to`).

use std::ops::RangeInclusive;

use toml::de::DeTable;

use super::compression::{self, structure};
use super::error::RecipeError;
use super::pattern::Pattern;
use super::section::{Section, line_at};
use super::train::train;
use super::{CalibrationSettings, LayerRule, Overrides, RECIPE_VERSION, Recipe};
use crate::settings::ACTIVATION_BLOCKS;
use crate::solved::Method;

/// Keys that `[default]`, `[embeddings]` and `[[layer]]` share, in the order in which they are written.
const SETTINGS: [&str; 17] = [
    "method",
    "bits",
    "group",
    "symmetric",
    "scale_dtype",
    "clip_search",
    "order",
    "damping",
    "refine",
    "double_quant",
    "activations",
    "activation_block",
    "smooth",
    "prune",
    "rank",
    "palette",
    "palette_rows",
];

const BITS: RangeInclusive<u64> = 2..=8;
const GROUP: RangeInclusive<u64> = 0..=1_000_000_000;
const CLIP_STEPS: RangeInclusive<u64> = 0..=10_000;
const COUNT: RangeInclusive<u64> = 1..=1_000_000_000;

impl Recipe {
    /// Reads a recipe. What the text leaves out is as documented.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        let parsed = DeTable::parse(text).map_err(|error| RecipeError::Syntax {
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            problem: error.message().trim().replace('\n', ", "),
        })?;
        let top = Section::new(
            text,
            "the recipe",
            parsed.get_ref(),
            &[
                "version",
                "strict",
                "default",
                "embeddings",
                "structure",
                "calibration",
                "train",
                "layer",
            ],
        )?;
        check_version(&top)?;
        let mut recipe = Self::default();
        recipe.strict = top.boolean("strict")?.unwrap_or(recipe.strict);
        if let Some(table) = top.table("default")? {
            read_default(text, table, &mut recipe)?;
        }
        recipe.embeddings = match top.table("embeddings")? {
            Some(table) => Some(overrides(&Section::new(
                text,
                "[embeddings]",
                table,
                &SETTINGS,
            )?)?),
            None => None,
        };
        if let Some(table) = top.table("structure")? {
            recipe.structure = structure(text, table)?;
        }
        if let Some(table) = top.table("calibration")? {
            recipe.calibration = calibration(text, table, recipe.calibration)?;
        }
        if let Some(table) = top.table("train")? {
            recipe.train = Some(train(text, table)?);
        }
        for (table, start) in top.tables("layer")? {
            recipe.layers.push(rule(text, table, start)?);
        }
        Ok(recipe)
    }
}

fn check_version(top: &Section<'_>) -> Result<(), RecipeError> {
    let found = top.whole("version", 1..=u64::MAX)?;
    match found {
        None => Err(RecipeError::NoVersion),
        Some(found) if found > u64::from(RECIPE_VERSION) => Err(RecipeError::NewerVersion {
            line: top.line_of("version"),
            found,
        }),
        Some(_) => Ok(()),
    }
}

fn read_default(text: &str, table: &DeTable<'_>, recipe: &mut Recipe) -> Result<(), RecipeError> {
    let known: Vec<&str> = SETTINGS.into_iter().chain(["prefix", "kv_cache"]).collect();
    let section = Section::new(text, "[default]", table, &known)?;
    recipe.default = overrides(&section)?.apply(recipe.default);
    if let Some(prefix) = section.word("prefix")? {
        recipe.default.prefix = prefix;
    }
    recipe.kv_cache = section.word("kv_cache")?.unwrap_or(recipe.kv_cache);
    Ok(())
}

fn overrides(section: &Section<'_>) -> Result<Overrides, RecipeError> {
    let palette = section.whole("palette", BITS)?;
    let bits = section.whole("bits", BITS)?.or(palette);
    Ok(Overrides {
        method: section.word("method")?.or(palette.map(|_| Method::Palette)),
        bits: bits.map(|bits| bits as u8),
        group: section.whole("group", GROUP)?.map(|group| group as usize),
        symmetric: section.boolean("symmetric")?,
        scale_dtype: section.word("scale_dtype")?,
        clip_search: section
            .whole("clip_search", CLIP_STEPS)?
            .map(|steps| steps as u32),
        order: section.word("order")?,
        damping: section.amount("damping")?,
        refine: section.word("refine")?,
        double_quant: section.boolean("double_quant")?,
        activations: section.word("activations")?,
        activation_block: section.one_of("activation_block", &ACTIVATION_BLOCKS)?,
        smooth: section.share("smooth")?,
        prune: compression::pruning(section)?,
        rank: compression::rank(section)?,
        palette_rows: section
            .whole("palette_rows", GROUP)?
            .map(|rows| rows as usize),
    })
}

fn calibration(
    text: &str,
    table: &DeTable<'_>,
    base: CalibrationSettings,
) -> Result<CalibrationSettings, RecipeError> {
    let keys = ["corpus", "sequences", "length", "seed"];
    let section = Section::new(text, "[calibration]", table, &keys)?;
    let count = |key, default: usize| {
        let number = section.whole(key, COUNT)?;
        Ok(number.map_or(default, |number| number as usize))
    };
    Ok(CalibrationSettings {
        corpus: section.text("corpus")?.map(str::to_owned).or(base.corpus),
        sequences: count("sequences", base.sequences)?,
        length: count("length", base.length)?,
        seed: section.whole("seed", 0..=u64::MAX)?.unwrap_or(base.seed),
    })
}

/// The rule of the table that begins at byte `start`.
fn rule(text: &str, table: &DeTable<'_>, start: usize) -> Result<LayerRule, RecipeError> {
    let known: Vec<&str> = ["match"].into_iter().chain(SETTINGS).collect();
    let section = Section::new(text, "[[layer]]", table, &known)?;
    let pattern = section.text("match")?.ok_or_else(|| RecipeError::NoMatch {
        line: line_at(text, start),
    })?;
    Pattern::new(pattern).map_err(|problem| RecipeError::Pattern {
        line: section.line_of("match"),
        pattern: pattern.to_owned(),
        problem,
    })?;
    Ok(LayerRule {
        pattern: pattern.to_owned(),
        overrides: overrides(&section)?,
    })
}

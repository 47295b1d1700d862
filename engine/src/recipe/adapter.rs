//! `adapter` of `[train]`: thin matrices beside frozen weights.
//!
//! Types and reading; knows no network.

use super::Pattern;
use super::error::RecipeError;
use super::section::Section;

/// Largest rank.
const LARGEST_RANK: u64 = 4096;

/// `adapter` of `[train]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSettings {
    /// Columns of the one matrix, rows of the other.
    pub rank: usize,
    /// The product counts `alpha / rank`.
    pub alpha: f64,
    /// Share of inputs that a step does not show to adapters.
    pub dropout: f64,
    /// The product counts `alpha / sqrt(rank)` instead.
    pub rslora: bool,
    /// Globs on names of layers, with commas between them.
    pub targets: String,
    /// The result is the model with the adapter worked into its weights, the adapter beside it.
    pub merge: bool,
}

impl Default for AdapterSettings {
    /// The documented defaults.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            rslora: false,
            targets: "*".to_owned(),
            merge: false,
        }
    }
}

impl AdapterSettings {
    /// The patterns that `targets` names; the error is a sentence.
    pub fn patterns(&self) -> Result<Vec<Pattern>, String> {
        let words = self.targets.split(',').map(str::trim);
        words
            .map(|word| {
                Pattern::new(word)
                    .map_err(|problem| format!("the adapter's target {word:?} {problem}"))
            })
            .collect()
    }
}

/// Reads the table.
pub(super) fn adapter(section: &Section<'_>) -> Result<AdapterSettings, RecipeError> {
    let base = AdapterSettings::default();
    let keys = ["rank", "alpha", "dropout", "rslora", "targets", "merge"];
    let Some(table) = section.section("adapter", "adapter", &keys)? else {
        return Ok(base);
    };
    let dropout = table.share("dropout")?.unwrap_or(base.dropout);
    if dropout >= 1.0 {
        return Err(table.out_of_range("dropout", "0 to below 1".to_owned(), dropout));
    }
    Ok(AdapterSettings {
        rank: table
            .whole("rank", 1..=LARGEST_RANK)?
            .map_or(base.rank, |rank| rank as usize),
        alpha: table.amount("alpha")?.unwrap_or(base.alpha),
        dropout,
        rslora: table.boolean("rslora")?.unwrap_or(base.rslora),
        targets: table.text("targets")?.map_or(base.targets, str::to_owned),
        merge: table.boolean("merge")?.unwrap_or(base.merge),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn targets_are_globs_and_what_is_none_is_told() {
        let settings = |targets: &str| AdapterSettings {
            targets: targets.to_owned(),
            ..AdapterSettings::default()
        };
        let patterns = settings("*.q_proj, *.v_proj").patterns().unwrap();
        let hits = |name: &str| patterns.iter().any(|pattern| pattern.hits(name));
        assert!(hits("model.layers.3.self_attn.v_proj") && !hits("model.layers.3.mlp.up_proj"));
        assert!(settings("").patterns().unwrap_err().contains("is empty"));
    }

    #[test]
    fn a_dropout_of_everything_is_an_error() {
        let text = "version = 1\n[train]\nadapter = { dropout = 1.0 }\n";
        let error = Recipe::parse(text).unwrap_err().to_string();
        assert!(error.contains("below 1"), "{error}");
    }
}

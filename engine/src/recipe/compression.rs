//! The tables `prune`, `rank` and `[structure]` of a recipe.
//!
//! Knows no weights: what needs them (one threshold for a whole model, a rank of given energy) is settled before a run.

use toml::de::DeTable;

use super::error::RecipeError;
use super::section::Section;
use super::{BlockChoice, PruneMethod, PruneScope, Pruning, Rank, Structure};
use crate::mask::SparsityPattern;

/// Share of zeros where a table says none.
const DEFAULT_SPARSITY: f64 = 0.5;

/// No rank is larger.
const LARGEST_RANK: u64 = 1 << 30;

/// `prune = { method = "sparsegpt", pattern = "2:4", sparsity = 0.5, scope = "row" }`.
pub(super) fn pruning(section: &Section<'_>) -> Result<Option<Pruning>, RecipeError> {
    let keys = ["method", "pattern", "sparsity", "scope"];
    let Some(table) = section.section("prune", "prune", &keys)? else {
        return Ok(None);
    };
    let method: PruneMethod = table.needed("method", table.word("method")?)?;
    if method == PruneMethod::None {
        return Ok(Some(Pruning::NONE));
    }
    let pattern = match table.text("pattern")? {
        None => SparsityPattern::Unstructured,
        Some(word) => word.parse().map_err(|_| {
            table.unlisted(
                "pattern",
                word,
                "unstructured, N:M (as 2:4, M at most 32), 1x4",
            )
        })?,
    };
    let asked = table.share("sparsity")?;
    let sparsity = match (pattern.sparsity(), asked) {
        (Some(fixed), Some(asked)) if (fixed - asked).abs() > 1e-6 => {
            let allowed = format!("{fixed} for the pattern {pattern}, or left out");
            return Err(table.out_of_range("sparsity", allowed, asked));
        }
        (Some(fixed), _) => fixed,
        (None, asked) => asked.unwrap_or(DEFAULT_SPARSITY),
    };
    Ok(Some(Pruning {
        method,
        pattern,
        sparsity,
        scope: table.word("scope")?.unwrap_or(PruneScope::Row),
    }))
}

/// `rank = 16`, `rank = { share = 0.25 }` or `rank = { energy = 0.95 }`; 0 = no factors.
pub(super) fn rank(section: &Section<'_>) -> Result<Option<Rank>, RecipeError> {
    if !section.is_table("rank") {
        let rank = section.whole("rank", 0..=LARGEST_RANK)?;
        return Ok(rank.map(|rank| match rank {
            0 => Rank::None,
            rank => Rank::Fixed(rank as usize),
        }));
    }
    let Some(table) = section.section("rank", "rank", &["share", "energy"])? else {
        return Ok(None);
    };
    match (table.share("share")?, table.share("energy")?) {
        (Some(share), None) => Ok(Some(Rank::Share(share))),
        (None, Some(energy)) => Ok(Some(Rank::Energy(energy))),
        _ => Err(section.unlisted(
            "rank",
            "this table",
            "a number, { share = … }, { energy = … }",
        )),
    }
}

/// `[structure]`.
pub(super) fn structure(text: &str, table: &DeTable<'_>) -> Result<Structure, RecipeError> {
    let keys = [
        "heads",
        "neurons",
        "neuron_multiple",
        "blocks",
        "vocabulary",
        "repair",
    ];
    let section = Section::new(text, "[structure]", table, &keys)?;
    let most = 0..=LARGEST_RANK;
    let blocks = match section.whole_list("blocks", most.clone())? {
        Some(blocks) => BlockChoice::These(blocks),
        None => {
            let count = section.whole("blocks", most.clone())?;
            BlockChoice::Count(count.map_or(0, |count| count as usize))
        }
    };
    Ok(Structure {
        heads: section.share("heads")?.unwrap_or(0.0),
        neurons: section.share("neurons")?.unwrap_or(0.0),
        neuron_multiple: section
            .whole("neuron_multiple", most)?
            .map_or(0, |multiple| multiple as usize),
        blocks,
        vocabulary: section.boolean("vocabulary")?.unwrap_or(false),
        repair: section.boolean("repair")?.unwrap_or(true),
    })
}

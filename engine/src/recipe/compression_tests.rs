//! `prune`, `rank`, `palette` and `[structure]` read, written and refused.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::mask::SparsityPattern;

#[test]
fn what_is_pruned_factored_and_taken_out_is_read_from_its_tables() {
    let recipe = Recipe::parse(
        r#"version = 1
[default]
method = "float"
prune = { method = "sparsegpt", pattern = "2:4" }
rank = { share = 0.25 }
[structure]
heads = 0.25
neurons = 0.5
neuron_multiple = 32
blocks = [3, 1]
[[layer]]
match = "*.down_proj"
palette = 4
palette_rows = 16
rank = 8
prune = { method = "none" }
"#,
    )
    .unwrap();
    assert_eq!(recipe.default.prune.method, PruneMethod::SparseGpt);
    assert_eq!(recipe.default.prune.pattern, SparsityPattern::TWO_OF_FOUR);
    assert_eq!(recipe.default.prune.sparsity, 0.5);
    assert_eq!(recipe.default.rank, Rank::Share(0.25));
    let structure = &recipe.structure;
    assert_eq!(
        (structure.heads, structure.neurons, structure.repair),
        (0.25, 0.5, true)
    );
    assert_eq!(structure.blocks, BlockChoice::These(vec![3, 1]));
    let rule = &recipe.layers[0].overrides;
    assert_eq!((rule.method, rule.bits), (Some(Method::Palette), Some(4)));
    assert_eq!(
        (rule.rank, rule.palette_rows),
        (Some(Rank::Fixed(8)), Some(16))
    );
    assert_eq!(rule.prune, Some(Pruning::NONE));
    assert_eq!(Recipe::parse(&recipe.to_toml()).unwrap(), recipe);
}

#[test]
fn what_cannot_be_pruned_so_is_named() {
    let cases = [
        (r#"prune = "sparsegpt""#, "a table"),
        (r#"prune = { pattern = "2:4" }"#, "magnitude"),
        (r#"prune = { method = "sparsegp" }"#, "sparsegpt"),
        (r#"prune = { method = "wanda", pattern = "4:2" }"#, "2:4"),
        (
            r#"prune = { method = "wanda", pattern = "2:4", sparsity = 0.6 }"#,
            "0.5",
        ),
        (r#"prune = { method = "wanda", sparsity = 1.5 }"#, "0 to 1"),
        (
            r#"prune = { method = "wanda", sparcity = 0.5 }"#,
            "sparsity",
        ),
        ("rank = -1", "0 to"),
        ("rank = { energy = 0.5, share = 0.5 }", "energy"),
        ("palette = 9", "2 to 8"),
    ];
    for (line, expected) in cases {
        let text = format!(
            "version = 1
[default]
{line}
"
        );
        let error = Recipe::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
        assert!(error.contains("line 3"), "{line}: {error}");
    }
    for (line, expected) in [("blocks = [1.5]", "whole numbers"), ("heads = 2", "0 to 1")] {
        let text = format!(
            "version = 1
[structure]
{line}
"
        );
        let error = Recipe::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

//! Drafts to recipes and back: the shortest rules that say what was chosen.
//!
//! Resolving a recipe made here gives the draft's settings again; a property test holds it to that. Knows no file.

use super::draft::Draft;
use pare_engine::formats::Format;
use pare_engine::model::LayerInfo;
use pare_engine::recipe::Recipe;
use std::path::PathBuf;

/// The recipe that says what `draft` chose for `layers`.
pub fn recipe(draft: &Draft, layers: &[LayerInfo]) -> Recipe {
    let template = Recipe {
        strict: draft.strict,
        kv_cache: draft.kv_cache,
        structure: draft.structure.clone(),
        default: draft.template,
        calibration: draft.calibration.clone(),
        ..Recipe::default()
    };
    template.saying(layers, &draft.settings)
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
        kv_cache: recipe.kv_cache,
        structure: recipe.structure.clone(),
        format,
    };
    (draft, resolved.warnings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::studio::draft::LayerEdit;
    use crate::studio::sparse;
    use crate::studio::state::testing;
    use pare_engine::recipe::{BlockChoice, PruneMethod, Structure};
    use pare_engine::settings::{ACTIVATION_BLOCKS, Activations};
    use pare_engine::solved::Method;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_recipe_says_what_was_chosen(edits in prop::collection::vec((0usize..40, 0usize..40, 2u8..9, 0usize..12), 0..8)) {
            let layers = testing::layers(4);
            let (mut chosen, _) = draft(&Recipe::default(), &layers, None, Format::Pare);
            for (first, count, bits, kind) in edits {
                let first = first % layers.len();
                let last = (first + count).min(layers.len());
                let range: Vec<usize> = (first..last).collect();
                let edit = match kind {
                    0 => LayerEdit::Bits(bits),
                    1 => LayerEdit::Group(32 << (bits % 3)),
                    2 => LayerEdit::Method(Method::ALL[usize::from(bits) % 8]),
                    3 => LayerEdit::Symmetric(bits % 2 == 0),
                    4 => LayerEdit::Activations(Activations::ALL[usize::from(bits) % 3]),
                    5 => LayerEdit::ActivationBlock(ACTIVATION_BLOCKS[usize::from(bits) % 3]),
                    6 => LayerEdit::Smooth(f64::from(bits) / 8.0),
                    7 => LayerEdit::Prune(PruneMethod::ALL[usize::from(bits) % 4]),
                    8 => LayerEdit::Pattern(sparse::PATTERNS[usize::from(bits) % 4]),
                    9 => LayerEdit::Sparsity(f64::from(bits) / 10.0),
                    10 => LayerEdit::Rank(sparse::RANKS[usize::from(bits) % 8]),
                    _ => LayerEdit::PaletteRows(usize::from(bits)),
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
    fn a_structure_travels_with_the_recipe() {
        let layers = testing::layers(2);
        let (mut chosen, _) = draft(&Recipe::default(), &layers, None, Format::Pare);
        chosen.structure = Structure {
            neurons: 0.25,
            neuron_multiple: 32,
            blocks: BlockChoice::These(vec![1]),
            ..chosen.structure
        };
        let read = Recipe::parse(&recipe(&chosen, &layers).to_toml()).unwrap();
        let (again, _) = draft(&read, &layers, None, Format::Pare);
        assert_eq!(again.structure, chosen.structure);
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

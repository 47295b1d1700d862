//! What flags say of zeros, put over what a recipe says: each flag wins over its own word and over nothing else.

use crate::cli::arguments::ZeroFlags;
use crate::cli::failure::Failure;
use pare_engine::recipe::{PruneMethod, Pruning, Recipe};

/// Share of zeros where nobody says one.
const DEFAULT_SPARSITY: f64 = 0.5;

/// Puts `flags` over the default and over every rule that speaks of zeros.
pub(super) fn put_over(recipe: &mut Recipe, flags: &ZeroFlags) -> Result<(), Failure> {
    let ZeroFlags {
        prune,
        pattern,
        sparsity,
        scope,
    } = flags;
    let says_how = pattern.is_some() || sparsity.is_some() || scope.is_some();
    if prune.is_none() && !says_how {
        return Ok(());
    }
    let rules = recipe.layers.iter_mut();
    let rules = rules.filter_map(|rule| rule.overrides.prune.as_mut());
    let all: Vec<&mut Pruning> = std::iter::once(&mut recipe.default.prune)
        .chain(rules)
        .collect();
    if prune.is_none() && all.iter().all(|pruning| pruning.is_none()) {
        return Err(Failure::WrongUse(
            "--pattern, --sparsity and --scope say how weights become zero, and nothing says that any do. Add --prune magnitude, wanda or sparsegpt."
                .to_owned(),
        ));
    }
    let mut is_chosen = false;
    for pruning in all {
        *pruning = under(*pruning, flags)?;
        is_chosen |= pruning.pattern.sparsity().is_none();
    }
    if scope.is_some() && !is_chosen {
        return Err(Failure::WrongUse(
            "--scope does nothing here: N of every M neighbours stay. Leave it out, or choose --pattern unstructured or 1x4."
                .to_owned(),
        ));
    }
    Ok(())
}

fn under(asked: Pruning, flags: &ZeroFlags) -> Result<Pruning, Failure> {
    let method = flags.prune.unwrap_or(asked.method);
    if method == PruneMethod::None {
        return Ok(Pruning::NONE);
    }
    let pattern = flags.pattern.unwrap_or(asked.pattern);
    let stands = (!asked.is_none() && asked.pattern.sparsity().is_none()).then_some(asked.sparsity);
    let sparsity = match (pattern.sparsity(), flags.sparsity) {
        (Some(fixed), Some(other)) if (fixed - other).abs() > 1e-6 => {
            return Err(Failure::WrongUse(format!(
                "Of a pattern {pattern} the share of zeros is {fixed}, not {other}. Leave --sparsity out, or choose --pattern unstructured or 1x4."
            )));
        }
        (Some(fixed), _) => fixed,
        (None, named) => named.or(stands).unwrap_or(DEFAULT_SPARSITY),
    };
    Ok(Pruning {
        method,
        pattern,
        sparsity,
        scope: flags.scope.unwrap_or(asked.scope),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pare_engine::mask::SparsityPattern;
    use pare_engine::recipe::{LayerRule, Overrides, PruneScope};

    fn half(method: PruneMethod, pattern: SparsityPattern) -> Pruning {
        Pruning {
            method,
            pattern,
            sparsity: 0.5,
            scope: PruneScope::Row,
        }
    }

    #[test]
    fn a_flag_wins_over_its_own_word_alone() {
        let mut recipe = Recipe::default();
        let asked = Pruning {
            sparsity: 0.7,
            scope: PruneScope::Layer,
            ..half(PruneMethod::Wanda, SparsityPattern::Unstructured)
        };
        recipe.layers.push(LayerRule {
            pattern: "*".to_owned(),
            overrides: Overrides {
                prune: Some(asked),
                ..Overrides::default()
            },
        });
        let flags = ZeroFlags {
            prune: Some(PruneMethod::Magnitude),
            ..ZeroFlags::default()
        };
        put_over(&mut recipe, &flags).unwrap();
        let expected = half(PruneMethod::Magnitude, SparsityPattern::Unstructured);
        assert_eq!(recipe.default.prune, expected);
        let method = PruneMethod::Magnitude;
        assert_eq!(
            recipe.layers[0].overrides.prune,
            Some(Pruning { method, ..asked })
        );
    }

    #[test]
    fn patterns_say_their_share_themselves() {
        let flags = |pattern, sparsity| ZeroFlags {
            prune: Some(PruneMethod::Wanda),
            pattern: Some(pattern),
            sparsity,
            ..ZeroFlags::default()
        };
        let of = |flags: ZeroFlags| {
            let mut recipe = Recipe::default();
            put_over(&mut recipe, &flags).map(|()| recipe.default.prune.sparsity)
        };
        let one_of_four = SparsityPattern::NOfM { kept: 1, of: 4 };
        assert_eq!(of(flags(one_of_four, None)).unwrap(), 0.75);
        assert_eq!(of(flags(one_of_four, Some(0.75))).unwrap(), 0.75);
        assert!(of(flags(one_of_four, Some(0.5))).is_err());
        assert_eq!(of(flags(SparsityPattern::BLOCK, Some(0.9))).unwrap(), 0.9);
    }

    #[test]
    fn a_scope_under_a_fixed_pattern_is_wrong_use() {
        let flags = |pattern| ZeroFlags {
            prune: Some(PruneMethod::Wanda),
            pattern: Some(pattern),
            scope: Some(PruneScope::Layer),
            ..ZeroFlags::default()
        };
        let of = |pattern| put_over(&mut Recipe::default(), &flags(pattern));
        assert!(of(SparsityPattern::TWO_OF_FOUR).is_err());
        assert!(of(SparsityPattern::BLOCK).is_ok());
    }

    #[test]
    fn a_pattern_without_a_method_is_wrong_use() {
        let flags = ZeroFlags {
            sparsity: Some(0.5),
            ..ZeroFlags::default()
        };
        let refused = put_over(&mut Recipe::default(), &flags);
        assert!(matches!(refused, Err(Failure::WrongUse(_))), "{refused:?}");
    }
}

//! Every method with zeros and factors.
#![allow(clippy::unwrap_used)]

use super::tests::{settings, statistics};
use super::*;
use crate::distortion::output_error;
use crate::mask::SparsityPattern;
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::settings::PruneScope;
use crate::solved::Grid;
use crate::tensor::Symmetric;

const METHODS: [Method; 7] = [
    Method::Rtn,
    Method::Gptq,
    Method::Awq,
    Method::Hqq,
    Method::Nf4,
    Method::Palette,
    Method::Float,
];

fn weights() -> Matrix {
    let mut rng = Rng::new(52, 0);
    Matrix::from_fn(24, 48, |_, _| rng.normal() as f32)
}

/// Statistics of inputs whose neighbours are alike and whose sizes differ.
fn uneven() -> LayerStatistics {
    let mut statistics = statistics(1.0);
    let size = |column: usize| 0.2 + (column % 5) as f32;
    let upper = (0..48).flat_map(|row| {
        (row..48)
            .map(move |column| size(row) * size(column) * (-((column - row) as f32) / 8.0).exp())
    });
    statistics.moments.gram = Symmetric::new(48, upper.collect());
    statistics.moments.mean_square = statistics.moments.gram.diagonal();
    statistics
}

fn pruned(method: Method, by: PruneMethod, pattern: SparsityPattern) -> LayerSettings {
    let mut settings = settings(method, 4);
    settings.prune = Pruning {
        method: by,
        pattern,
        sparsity: 0.5,
        scope: PruneScope::Row,
    };
    settings
}

fn solve(settings: &LayerSettings) -> Solved {
    solve_layer(&weights(), Some(&uneven()), settings, &Unwatched).unwrap()
}

#[test]
fn every_method_works_with_every_score_and_keeps_the_planned_count() {
    for method in METHODS {
        for by in [
            PruneMethod::Magnitude,
            PruneMethod::Wanda,
            PruneMethod::SparseGpt,
        ] {
            for pattern in [
                SparsityPattern::Unstructured,
                SparsityPattern::TWO_OF_FOUR,
                SparsityPattern::BLOCK,
            ] {
                for scope in PruneScope::ALL {
                    let mut settings = pruned(method, by, pattern);
                    settings.prune.scope = scope;
                    let solved = solve(&settings);
                    let name = format!("{method:?} {by:?} {pattern} {scope:?}");
                    assert_eq!(solved.method, method, "{name}");
                    let mask = solved.mask.as_ref().unwrap();
                    let planned = pattern.stored_values(24, 48, 0.5, settings.prune.among());
                    assert_eq!(mask.kept(), planned, "{name}");
                    assert!(solved.warnings.is_empty(), "{name}: {:?}", solved.warnings);
                    let error =
                        output_error(&weights(), &solved.dequantize(), &uneven().moments.gram);
                    assert!(error.is_finite(), "{name}");
                }
            }
        }
    }
}

#[test]
fn scores_that_know_more_lose_less() {
    for method in [Method::Float, Method::Rtn, Method::Gptq] {
        let error = |by| {
            let solved = solve(&pruned(method, by, SparsityPattern::Unstructured));
            output_error(&weights(), &solved.dequantize(), &uneven().moments.gram)
        };
        let (magnitude, wanda, sparse_gpt) = (
            error(PruneMethod::Magnitude),
            error(PruneMethod::Wanda),
            error(PruneMethod::SparseGpt),
        );
        assert!(
            sparse_gpt < wanda && wanda < magnitude,
            "{method:?}: SparseGPT {sparse_gpt}, Wanda {wanda}, magnitude {magnitude}"
        );
    }
}

#[test]
fn floats_that_stay_are_not_touched_by_a_score() {
    let by_score = pruned(
        Method::Float,
        PruneMethod::Wanda,
        SparsityPattern::TWO_OF_FOUR,
    );
    let solved = solve(&by_score);
    let mask = solved.mask.as_ref().unwrap();
    let values = solved.dequantize();
    for (index, value) in values.data().iter().enumerate() {
        let weight = weights().data()[index];
        assert_eq!(*value, if mask.keep[index] { weight } else { 0.0 });
    }
    let stored = solved.with_float_dtype(Dtype::BF16);
    let Grid::Floats(floats) = &stored.grid else {
        panic!("floats stay floats");
    };
    assert_eq!(floats.dtype, Dtype::BF16);
    assert!(
        floats
            .values
            .iter()
            .all(|value| value.to_bits() & 0xffff == 0)
    );
}

#[test]
fn factors_stand_for_weights_or_for_what_was_lost() {
    for (method, by) in [
        (Method::Float, PruneMethod::None),
        (Method::Float, PruneMethod::Wanda),
        (Method::Rtn, PruneMethod::None),
        (Method::Gptq, PruneMethod::SparseGpt),
        (Method::Palette, PruneMethod::None),
    ] {
        let mut settings = pruned(method, by, SparsityPattern::TWO_OF_FOUR);
        settings.bits = 2;
        let error = |solved: &Solved| {
            output_error(&weights(), &solved.dequantize(), &uneven().moments.gram)
        };
        let without = match by {
            PruneMethod::None if method == Method::Float => {
                let gram = &uneven().moments.gram;
                crate::distortion::output_energy(&weights(), gram)
            }
            _ => error(&solve(&settings)),
        };
        settings.rank = Rank::Fixed(6);
        let solved = solve(&settings);
        assert_eq!(solved.factors.as_ref().unwrap().rank(), 6);
        let with = error(&solved);
        assert!(with < 0.9 * without, "{method:?} {by:?}: {with}, {without}");
        let is_nothing = matches!(solved.grid, Grid::Nothing);
        assert_eq!(
            is_nothing,
            method == Method::Float && by == PruneMethod::None
        );
    }
}

#[test]
fn what_cannot_be_swept_is_pruned_by_score_and_says_so() {
    let mut broken = statistics(1.0);
    broken.moments.gram = Symmetric::scaled_identity(48, f32::NAN);
    for method in [Method::Gptq, Method::Float] {
        let settings = pruned(
            method,
            PruneMethod::SparseGpt,
            SparsityPattern::Unstructured,
        );
        let solved = solve_layer(&weights(), Some(&broken), &settings, &Unwatched).unwrap();
        let planned = 24 * 24;
        assert_eq!(solved.mask.as_ref().unwrap().kept(), planned);
        let told = solved.warnings.iter().any(|warning| {
            matches!(
                warning,
                Warning::PrunedOtherwise {
                    from: PruneMethod::SparseGpt,
                    to: PruneMethod::Wanda,
                    ..
                }
            )
        });
        assert!(told, "{:?}", solved.warnings);
    }
    let wanda = pruned(
        Method::Rtn,
        PruneMethod::Wanda,
        SparsityPattern::Unstructured,
    );
    let solved = solve_layer(&weights(), None, &wanda, &Unwatched).unwrap();
    assert!(matches!(
        solved.warnings[..],
        [Warning::PrunedOtherwise {
            to: PruneMethod::Magnitude,
            ..
        }]
    ));
}

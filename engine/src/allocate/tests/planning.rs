//! Whole recipes: against all that there are, within rules and budgets, at any table.
#![allow(clippy::unwrap_used)]

use super::super::{AllocateError, Allocation, Planner, Rules};
use super::*;
use crate::formats::Format;
use crate::formats::layout::{preflight, stored_bytes};
use proptest::prelude::*;

const FEW: [LayerOption; 4] = [
    LayerOption::Grid { bits: 2, group: 32 },
    LayerOption::Grid { bits: 4, group: 32 },
    LayerOption::Grid { bits: 4, group: 16 },
    LayerOption::Dense,
];

fn base(layers: &[LayerInfo]) -> Vec<LayerSettings> {
    let settings = |layer: &LayerInfo| LayerSettings {
        method: if layer.compressible {
            Method::Gptq
        } else {
            Method::None
        },
        ..base_settings()
    };
    layers.iter().map(settings).collect()
}

fn plan(table: &SensitivityTable, layers: &[LayerInfo], format: Format, rules: &Rules) -> Planner {
    Planner::new(table, layers, &base(layers), format, rules).unwrap()
}

fn bytes_of(format: Format, layers: &[LayerInfo], settings: &[LayerSettings]) -> u64 {
    let all = layers
        .iter()
        .zip(settings)
        .filter(|(layer, _)| layer.compressible);
    all.map(|(layer, settings)| stored_bytes(format, layer, settings))
        .sum()
}

/// The budget that lies this far between the smallest and the largest recipe on the front.
fn between(planner: &Planner, share: f64) -> u64 {
    let front = planner.front();
    let (first, last) = (front[0].bytes, front[front.len() - 1].bytes);
    first + ((last - first) as f64 * share) as u64
}

fn option_of(found: &Allocation, layers: &[LayerInfo], name: &str) -> LayerOption {
    let place = layers.iter().position(|layer| layer.name == name).unwrap();
    found.options[place].unwrap()
}

/// What holds of every allocation.
fn assert_consistent(planner: &Planner, format: Format, layers: &[LayerInfo], found: &Allocation) {
    assert_eq!(found.bytes, bytes_of(format, layers, &found.settings));
    let predicted = planner.predict(&found.settings).unwrap();
    assert!(
        (found.predicted_loss - predicted).abs() <= 1e-12 * predicted,
        "{predicted}"
    );
    for ((layer, settings), option) in layers.iter().zip(&found.settings).zip(&found.options) {
        let expected = LayerOption::of(settings).filter(|_| layer.compressible);
        assert_eq!(*option, expected, "{}", layer.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_best_of_all_recipes_is_found(seed in 0_u64..1000, share in 0.0_f64..1.0, format in 0_usize..3) {
        // In the dense container all options take the same bytes.
        let format = Format::ALL[format];
        let layers = model(1);
        let table = table(&layers, &FEW, seed);
        let planner = plan(&table, &layers, format, &Rules::default());
        let budget_bytes = between(&planner, share);
        let found = planner.solve(budget_bytes).unwrap();
        assert_consistent(&planner, format, &layers, &found);
        prop_assert!(found.bytes <= budget_bytes);
        let judged: Vec<usize> = planner.free().collect();
        let mut best = f64::INFINITY;
        for number in 0..FEW.len().pow(judged.len() as u32) {
            let mut settings = base(&layers);
            let mut rest = number;
            for &layer in &judged {
                settings[layer] = FEW[rest % FEW.len()].apply(&settings[layer], Method::Gptq);
                rest /= FEW.len();
            }
            let asked: Vec<_> = layers.iter().cloned().zip(settings.iter().copied()).collect();
            let held = preflight(format, &asked, false).unwrap();
            let as_asked = held.iter().all(|held| held.fallback.is_none());
            if as_asked && bytes_of(format, &layers, &settings) <= budget_bytes {
                best = best.min(planner.predict(&settings).unwrap());
            }
        }
        prop_assert!((found.predicted_loss - best).abs() <= 1e-12 * best, "{} {best}", found.predicted_loss);
    }

    #[test]
    fn rules_hold_at_every_budget(
        seed in 0_u64..1000,
        share in 0.0_f64..1.0,
        fused: bool,
        minimum in prop::option::of(3_u8..9),
        format in 0_usize..3,
    ) {
        let format = Format::ALL[format];
        let layers = model(4);
        let mut table = table(&layers, &LayerOption::all(), seed);
        table.layers[3].errors[seed as usize % 10] = None;
        table.layers[9].errors.fill(None);
        let unknown = table.layers[9].layer;
        let allowed = vec![grid(3, 32), grid(4, 32), grid(4, 64), grid(8, 32), LayerOption::Dense];
        let rules = Rules {
            locks: vec!["blocks.2.down".into(), "/\\.1\\.v$/".into()],
            allowed: vec![("*".into(), LayerOption::all()), ("*.down".into(), allowed.clone())],
            fused,
            minimum_end_bits: minimum,
        };
        let planner = plan(&table, &layers, format, &rules);
        let budget_bytes = between(&planner, share);
        let mut recipes = vec![planner.solve(budget_bytes).unwrap()];
        recipes.extend(planner.uniform(budget_bytes));
        recipes.extend(planner.ends_higher(budget_bytes));
        for found in &recipes {
            assert_consistent(&planner, format, &layers, found);
            prop_assert!(found.bytes <= budget_bytes);
            prop_assert!(recipes[0].predicted_loss <= found.predicted_loss * (1.0 + 1e-12));
            prop_assert_eq!(found.options[unknown], Some(grid(4, 32)));
            for name in ["blocks.2.down", "blocks.1.v"] {
                prop_assert_eq!(option_of(found, &layers, name), grid(4, 32));
            }
            for block in [0, 1, 3] {
                let option = option_of(found, &layers, &format!("blocks.{block}.down"));
                prop_assert!(allowed.contains(&option) , "{option}");
            }
            let end = option_of(found, &layers, "embed").bits();
            prop_assert!(end.is_none_or(|bits| bits >= minimum.unwrap_or(2)));
            if fused || format == Format::Gptq {
                for block in 0..4 {
                    let [q, k, v] = ["q", "k", "v"]
                        .map(|name| option_of(found, &layers, &format!("blocks.{block}.{name}")));
                    prop_assert!(q == k && k == v, "block {block}: {q} {k} {v}");
                }
            }
            let asked: Vec<_> = layers.iter().cloned().zip(found.settings.iter().copied()).collect();
            let held = preflight(format, &asked, false).unwrap();
            for (place, held) in held.iter().enumerate() {
                prop_assert!(held.fallback.is_none(), "{}: {:?}", layers[place].name, held.fallback);
            }
        }
        let smallest = planner.smallest_bytes();
        let expected = AllocateError::TooSmall { asked_bytes: smallest - 1, smallest_bytes: smallest };
        prop_assert_eq!(planner.solve(smallest - 1), Err(expected));
        prop_assert!(planner.uniform(smallest - 1).is_none());
    }

    #[test]
    fn more_bytes_never_predict_more_loss(seed in 0_u64..1000, shares in prop::array::uniform8(0.0_f64..1.1)) {
        let layers = model(3);
        let planner = plan(&table(&layers, &LayerOption::all(), seed), &layers, Format::Pare, &Rules::default());
        let mut budgets = shares.map(|share| between(&planner, share));
        budgets.sort();
        let losses = budgets.map(|budget| planner.solve(budget).unwrap().predicted_loss);
        for pair in losses.windows(2) {
            prop_assert!(pair[1] <= pair[0] * (1.0 + 1e-12), "{losses:?}");
        }
        for pair in planner.front().windows(2) {
            prop_assert!(pair[0].bytes < pair[1].bytes && pair[0].predicted_loss > pair[1].predicted_loss);
        }
    }
}

#[test]
fn rules_of_thumb_are_what_they_say() {
    let layers = model(8);
    let options = [grid(2, 32), grid(4, 32), grid(6, 32), LayerOption::Dense];
    let table = table(&layers, &options, 1);
    let rules = Rules {
        allowed: vec![("blocks.5.down".into(), vec![grid(2, 32), grid(6, 32)])],
        ..Rules::default()
    };
    let planner = plan(&table, &layers, Format::Pare, &rules);
    let four = bytes_of(Format::Pare, &layers, &base(&layers));
    let uniform = planner.uniform(four).unwrap();
    let ends = planner.ends_higher(four + four / 8).unwrap();
    for (place, layer) in layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| layer.compressible)
    {
        let may_not = layer.name == "blocks.5.down";
        let alike = if may_not { grid(2, 32) } else { grid(4, 32) };
        assert_eq!(uniform.options[place], Some(alike), "{}", layer.name);
        let is_end = layer.block.is_some_and(|block| block == 0 || block == 7);
        let expected = if is_end { grid(6, 32) } else { alike };
        assert_eq!(ends.options[place], Some(expected), "{}", layer.name);
    }
}

#[test]
fn layers_that_nobody_judged_count_but_stay() {
    let layers = model(2);
    let mut table = table(&layers, &FEW, 0);
    table.layers.remove(0);
    let mut settings = base(&layers);
    settings[0].method = Method::None;
    settings[5].method = Method::Nf4;
    settings[1].method = Method::None;
    let rules = Rules {
        locks: vec!["nothing".into()],
        ..Rules::default()
    };
    let planner = Planner::new(&table, &layers, &settings, Format::Pare, &rules).unwrap();
    let free: Vec<usize> = planner.free().collect();
    assert_eq!(free, [1, 2, 3, 6, 7, 8, 10]);
    assert_eq!(planner.warnings().len(), 1, "{:?}", planner.warnings());
    let found = planner.solve(planner.smallest_bytes()).unwrap();
    assert_consistent(&planner, Format::Pare, &layers, &found);
    assert_eq!(found.settings[0], settings[0]);
    assert_eq!((found.settings[5], found.options[5]), (settings[5], None));
    assert_eq!(found.settings[1].method, Method::Gptq);
    let free_bytes = planner.free_bytes_of(&found.settings);
    assert_eq!(found.bytes, planner.fixed_bytes() + free_bytes);
    let weights: u64 = free.iter().map(|&layer| layers[layer].parameters).sum();
    assert_eq!(planner.weights(), weights);
    // Other settings of a layer that the table does not know have no prediction.
    let mut changed = found.settings.clone();
    changed[0] = base_settings();
    assert_eq!(planner.predict(&changed), None);
}

#[test]
fn what_cannot_be_chosen_is_an_error() {
    let layers = model(1);
    let full = table(&layers, &FEW, 0);
    let mut empty = full.clone();
    for layer in &mut empty.layers {
        layer.errors.fill(None);
    }
    let locked = Rules {
        locks: vec!["*".into()],
        ..Rules::default()
    };
    let wrong = Rules {
        locks: vec!["a[".into()],
        ..Rules::default()
    };
    let none = Rules {
        allowed: vec![("*.down".into(), vec![grid(7, 64)])],
        ..Rules::default()
    };
    let rows = [
        (&full, locked, "nothing to choose"),
        (&empty, Rules::default(), "nothing to choose"),
        (&full, wrong, "the pattern \"a[\" is no glob"),
        (&full, none, "no measured option is left to blocks.0.down"),
    ];
    for (table, rules, expected) in rows {
        let error = Planner::new(table, &layers, &base(&layers), Format::Pare, &rules);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let planner = plan(&full, &layers, Format::Pare, &Rules::default());
    let error = planner.solve(10).unwrap_err().to_string();
    assert!(
        error.contains("10 B") && error.contains("smallest allowed recipe"),
        "{error}"
    );
}

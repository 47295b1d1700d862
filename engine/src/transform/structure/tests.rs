//! Laws: what goes costs what it must, and the smaller network is the larger one with zeros in it.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::distortion::output_error;
use crate::model::testing::{random_model, tiny_bert, tiny_llama, with_weights};
use crate::model::{KeptParts, Model, Role};
use crate::moments::{Accumulator, Moments};
use crate::monitor::Unwatched;
use crate::recipe::{BlockChoice, Structure};
use crate::rng::Rng;
use crate::tensor::{Matrix, WeightSource};
use serde_json::{Value, json};
use std::sync::Arc;

const IDS: [u32; 7] = [3, 1, 36, 0, 5, 5, 20];

fn random(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut rng = Rng::new(seed, 0);
    Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32)
}

/// Inputs whose later half mostly follows the first, and whose input 2 is dead.
fn moments(width: usize) -> Moments {
    let mut rng = Rng::new(9, 0);
    let mut rows = Vec::new();
    for _ in 0..300 {
        let first: Vec<f64> = (0..width / 2).map(|_| rng.normal()).collect();
        let second = first.iter().map(|value| 0.9 * value + 0.3 * rng.normal());
        let mut token: Vec<f64> = first
            .iter()
            .copied()
            .chain(second.collect::<Vec<_>>())
            .collect();
        token[2] = 0.0;
        rows.extend(token.into_iter().map(|value| value as f32));
    }
    let mut accumulator = Accumulator::new(width, false);
    accumulator.add(0, &rows, None);
    accumulator.finish().0
}

#[test]
fn repair_never_adds_to_the_error() {
    let (weights, moments) = (random(20, 16, 1), moments(16));
    for kept in [
        (0..8).collect::<Vec<usize>>(),
        vec![3],
        (8..16).collect(),
        vec![0, 5, 9, 10, 15],
    ] {
        for damping in [0.0, 0.01, 1.0, 100.0] {
            let error =
                |cut: &Matrix| output_error(&weights, &masked(cut, &kept, 16), &moments.gram);
            let cut = error(&columns_of(&weights, &kept));
            let fitted = repair(&weights, &moments.gram, &kept, damping, &Unwatched).unwrap();
            let fitted = error(&fitted);
            assert!(
                fitted <= cut * (1.0 + 1e-5),
                "{kept:?}, damping {damping}: {fitted} after, {cut} before"
            );
            if damping == 0.01 && kept.len() == 8 {
                assert!(fitted < 0.3 * cut, "{kept:?}: {fitted} after, {cut} before");
            }
        }
    }
}

#[test]
fn nothing_removed_is_nothing_changed() {
    let (weights, moments) = (random(5, 16, 2), moments(16));
    let all: Vec<usize> = (0..16).collect();
    let fitted = repair(&weights, &moments.gram, &all, 0.01, &Unwatched).unwrap();
    assert_eq!(fitted, weights);
    let silent = Accumulator::new(16, false).finish().0;
    let kept = [1, 2];
    let fitted = repair(&weights, &silent.gram, &kept, 0.01, &Unwatched).unwrap();
    assert_eq!(
        fitted,
        columns_of(&weights, &kept),
        "no input was ever seen"
    );
}

#[test]
fn dead_neurons_go_first_and_cost_nothing() {
    let (weights, moments) = (random(20, 16, 3), moments(16));
    let scores = neuron_scores(&weights, &moments);
    let kept = keep_best(&scores, 15);
    assert!(!kept.contains(&2), "{scores:?}");
    let cut = masked(&columns_of(&weights, &kept), &kept, 16);
    assert_eq!(output_error(&weights, &cut, &moments.gram), 0.0);
}

#[test]
fn parts_with_the_best_scores_stay_in_order() {
    let scores = [1.0, 5.0, 1.0, 0.5, 1.0];
    for (count, expected) in [(1, vec![1]), (3, vec![0, 1, 2]), (5, vec![0, 1, 2, 3, 4])] {
        assert_eq!(keep_best(&scores, count), expected, "{count} of {scores:?}");
    }
    let similarity = [0.99, 0.5, 0.9, 0.7, 0.99];
    for (removed, expected) in [
        (0, vec![0, 1, 2, 3, 4]),
        (1, vec![0, 1, 3, 4]),
        (3, vec![0, 4]),
    ] {
        assert_eq!(
            least_similar(&similarity, removed),
            expected,
            "{removed} go"
        );
    }
}

#[test]
fn sizes_follow_from_shares() {
    let model = random_model(&tiny_llama(), 1, 0.0);
    let sizes = |structure: &Structure| plan_sizes(structure, model.config());
    let quarter = Structure {
        heads: 0.5,
        neurons: 0.25,
        neuron_multiple: 8,
        ..Structure::default()
    };
    let (found, notes) = sizes(&quarter).unwrap();
    assert_eq!((found.groups, found.neurons), (1, 16), "{notes:?}");
    assert!(
        notes.iter().any(|note| note.contains("neurons")),
        "{notes:?}"
    );
    let refused = |structure: Structure| sizes(&structure).unwrap_err().to_string();
    let cases = [
        (
            Structure {
                heads: 0.9,
                ..Structure::default()
            },
            "all heads",
        ),
        (
            Structure {
                neurons: 1.0,
                ..Structure::default()
            },
            "all neurons",
        ),
        (
            Structure {
                blocks: BlockChoice::Count(1),
                ..Structure::default()
            },
            "at most 0",
        ),
        (
            Structure {
                blocks: BlockChoice::These(vec![2]),
                ..Structure::default()
            },
            "0 to 1",
        ),
        (
            Structure {
                blocks: BlockChoice::These(vec![0, 1]),
                ..Structure::default()
            },
            "all blocks",
        ),
    ];
    for (structure, expected) in cases {
        let error = refused(structure);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn cutting_nothing_gives_the_same_bytes() {
    for config in [tiny_llama(), tiny_bert()] {
        let model = random_model(&config, 4, 0.0);
        let cut = CutSource::new(&model, &Cut::none(&model));
        let mut names = model.source().names();
        let mut found = cut.names();
        names.sort();
        found.sort();
        assert_eq!(found, names);
        for name in names {
            assert_eq!(cut.info(&name), model.source().info(&name), "{name}");
            let expected = model.source().read_f32(&name).unwrap();
            assert_eq!(cut.read_f32(&name).unwrap(), expected, "{name}");
        }
    }
}

/// `model` with zeros where `kept` takes inputs of the output and down projections away.
fn with_zeros(model: &Model, config: &Value, kept: &KeptParts) -> Model {
    let changed: Vec<(usize, Arc<Matrix>)> = model
        .layers()
        .iter()
        .enumerate()
        .filter(|(_, layer)| matches!(layer.role, Role::Output | Role::Down))
        .map(|(index, layer)| {
            let weights = layer.read(model.source().as_ref()).unwrap();
            let columns = model.config().slice(layer.role, kept).columns.unwrap();
            let cut = masked(&columns_of(&weights, &columns), &columns, weights.columns());
            (index, Arc::new(cut))
        })
        .collect();
    with_weights(model, config, &changed)
}

fn logits(model: &Model) -> Vec<f32> {
    let output = model.forward(&IDS).unwrap();
    output.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_smaller_network_is_the_larger_one_with_zeros() {
    let mut stacked = tiny_llama();
    stacked["model_type"] = json!("phi3");
    let mut unequal = tiny_llama();
    unequal["head_dim"] = json!(6);
    unequal["attention_bias"] = json!(true);
    for (config, groups) in [
        (tiny_llama(), vec![1]),
        (unequal, vec![0]),
        (stacked, vec![1]),
        (tiny_bert(), vec![0, 1, 2, 3]),
    ] {
        let model = random_model(&config, 5, 0.1);
        let kept = KeptParts {
            groups,
            neurons: vec![0, 1, 4, 9, 10, 11, 17, 23],
        };
        let expected = logits(&with_zeros(&model, &config, &kept));
        let mut sizes = model.config().sizes();
        (sizes.groups, sizes.neurons) = (kept.groups.len(), kept.neurons.len());
        let (smaller, _) = model.config().smaller_json(&config, &sizes).unwrap();
        let cut = Cut {
            parts: vec![kept; 2],
            ..Cut::none(&model)
        };
        let source = Arc::new(CutSource::new(&model, &cut));
        let found = logits(&Model::open(source, &smaller).unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-5,
                "{}: found {found}, expected {expected}",
                config["model_type"]
            );
        }
    }
}

#[test]
fn tokens_keep_their_logits() {
    let config = tiny_llama();
    let model = random_model(&config, 6, 0.0);
    let tokens = vec![0, 1, 3, 5, 20, 30, 36];
    let mut sizes = model.config().sizes();
    sizes.vocabulary = tokens.len();
    let (smaller, _) = model.config().smaller_json(&config, &sizes).unwrap();
    let cut = Cut {
        tokens: Some(tokens.clone()),
        ..Cut::none(&model)
    };
    let smaller = Model::open(Arc::new(CutSource::new(&model, &cut)), &smaller).unwrap();
    let ids: Vec<u32> = IDS
        .iter()
        .map(|&id| {
            tokens
                .iter()
                .position(|&token| token == id as usize)
                .unwrap() as u32
        })
        .collect();
    let found: Vec<Vec<f32>> = smaller
        .forward(&ids)
        .unwrap()
        .squeeze(0)
        .unwrap()
        .to_vec2()
        .unwrap();
    let all: Vec<Vec<f32>> = model
        .forward(&IDS)
        .unwrap()
        .squeeze(0)
        .unwrap()
        .to_vec2()
        .unwrap();
    for (found, all) in found.iter().zip(&all) {
        for (&token, found) in tokens.iter().zip(found) {
            let expected = all[token];
            assert!(
                (found - expected).abs() < 1e-5,
                "found {found}, expected {expected}"
            );
        }
    }
}

//! Gains against finite differences of the loss they are drawn from, and against losses measured.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::calibrate::{SpillPolicy, gather_original};
use crate::checkpoint::Checkpoint;
use crate::corpus::{Corpus, Tokenizer};
use crate::distortion::row_output_errors;
use crate::evaluate::{EncoderTask, PoolingMode};
use crate::model::Model;
use crate::model::testing::{random_model, tiny_bert, tiny_llama, with_weights};
use crate::moments::{Moments, StageKey};
use crate::monitor::{Monitor, Unwatched};
use crate::score::spearman;
use crate::tensor::Matrix;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const SEED: u64 = 11;

struct Alone;

impl Monitor for Alone {
    fn step(&self, done: u64, total: u64) {
        assert!(done <= total, "step {done} of {total}");
    }

    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for Alone {
    fn notice(&self, _notice: Notice<'_>) {}
}

fn decoder_gains(model: &Model, sequences: &[&[u32]], memory: u64, threads: usize) -> OutputGains {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| {
        let slice = Slice::decoder(model, sequences, memory, &Alone).unwrap();
        output_gains(&slice, SEED, &Alone).unwrap()
    })
}

/// Layers that have gains: weights `[out, in]` beside them.
fn gained(model: &Model, gains: &OutputGains) -> Vec<(usize, Matrix)> {
    let layers = gains
        .iter()
        .enumerate()
        .filter(|(_, gains)| gains.is_some());
    layers
        .map(|(index, _)| {
            (
                index,
                model.layers()[index].read(model.source().as_ref()).unwrap(),
            )
        })
        .collect()
}

/// Log probability of each token at the first position.
fn log_probabilities(model: &Model, ids: &[u32]) -> Vec<f64> {
    let logits: Vec<f32> = model
        .forward(ids)
        .unwrap()
        .get(0)
        .unwrap()
        .get(0)
        .unwrap()
        .to_vec1()
        .unwrap();
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    logits
        .iter()
        .map(|&logit| f64::from(logit) - sum.ln())
        .collect()
}

/// The input that a layer sees at the first token.
fn first_input(model: &Model, ids: &[u32], layer: usize) -> Vec<f32> {
    let context = model.context(ids.len()).unwrap();
    let ends = model.load_ends().unwrap();
    let mut hidden = ends.embed(ids, &context).unwrap();
    for index in 0..model.config().blocks {
        let block = model.load_block(index).unwrap();
        let stages = block.stages().iter();
        if let Some(stage) = stages
            .clone()
            .position(|stage| stage.layers.contains(&layer))
        {
            let input = block.stage_input(stage, &hidden, &context).unwrap();
            return input.get(0).unwrap().to_vec1().unwrap();
        }
        hidden = block.forward(&hidden, &context, None).unwrap();
    }
    ends.head_input(&hidden)
        .unwrap()
        .get(0)
        .unwrap()
        .get(0)
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// With one scored token, the first, `g_i = G_i²`, and `G_i` is how `log p(y)` moves with output `i` there.
#[test]
fn gains_are_squares_of_slopes() {
    const STEP: f32 = 4e-3;
    let config = tiny_llama();
    let model = random_model(&config, 3, 0.0);
    let ids: &[u32] = &[5, 9];
    let gains = decoder_gains(&model, &[ids], u64::MAX, 2);
    let layers = gained(&model, &gains);
    assert_eq!(layers.len(), 15, "seven in each block, and the head");
    // The label is drawn from the first token's distribution: the one that explains the head's gains.
    let head = layers.last().unwrap().0;
    let of_head = gains[head].as_ref().unwrap();
    let probabilities: Vec<f64> = log_probabilities(&model, ids)
        .iter()
        .map(|log| log.exp())
        .collect();
    let explained = |&label: &usize| {
        let pairs = probabilities.iter().enumerate();
        let slopes = pairs.map(|(token, p)| f64::from(u8::from(token == label)) - p);
        slopes
            .zip(of_head)
            .all(|(slope, gain)| (slope * slope - gain).abs() < 1e-5)
    };
    let labels: Vec<usize> = (0..37).filter(explained).collect();
    let &[label] = &labels[..] else {
        panic!("one label explains the head's gains, not {labels:?}");
    };
    for (layer, weights) in layers {
        let input = first_input(&model, ids, layer);
        let energy: f32 = input.iter().map(|value| value * value).sum();
        let gains = gains[layer].as_ref().unwrap();
        let scale = gains
            .iter()
            .fold(0.0f64, |most, gain| most.max(gain.sqrt()));
        for (row, gain) in gains.iter().enumerate().step_by(3) {
            let moved = |step: f32| {
                let mut weights = weights.clone();
                for (weight, x) in weights.row_mut(row).iter_mut().zip(&input) {
                    *weight += step * x / energy;
                }
                let moved = with_weights(&model, &config, &[(layer, Arc::new(weights))]);
                log_probabilities(&moved, ids)[label]
            };
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            let name = &model.layers()[layer].name;
            assert!(
                (slope.abs() - gain.sqrt()).abs() < 0.01 * scale + 2e-4,
                "{name}, output {row}: slope {slope}, gain {gain}"
            );
        }
    }
}

fn sequences() -> Vec<Vec<u32>> {
    let id = |sequence: usize, place: usize| ((sequence * 31 + place * place * 7) % 37) as u32;
    let lengths = (0..60).map(|sequence| 20 - 3 * (sequence % 3));
    let sequences = lengths.enumerate();
    sequences
        .map(|(sequence, length)| (0..length).map(|place| id(sequence, place)).collect())
        .collect()
}

#[test]
fn neither_threads_nor_memory_change_a_gain() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let sequences = sequences();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let expected = decoder_gains(&model, &sequences, u64::MAX, 1);
    for (memory, threads) in [(0, 1), (0, 2), (900_000, 2), (u64::MAX, 2)] {
        let found = decoder_gains(&model, &sequences, memory, threads);
        assert_eq!(found, expected, "{memory} bytes, {threads} threads");
    }
}

/// What is known of each layer's inputs, by layer.
fn inputs(model: &Model, sequences: &[Vec<u32>]) -> BTreeMap<usize, Moments> {
    let folder = tempfile::tempdir().unwrap();
    let policy = SpillPolicy {
        memory_bytes: 1 << 30,
        folder: folder.path().to_owned(),
    };
    let stages = model.stages();
    let mut known = BTreeMap::new();
    gather_original(
        model,
        sequences,
        &policy,
        &Unwatched,
        |StageKey { block, stage }, moments| {
            known.extend(
                stages[block][stage]
                    .layers
                    .iter()
                    .map(|&layer| (layer, moments.clone())),
            );
            Ok(())
        },
    )
    .unwrap();
    known
}

/// Rounds to `levels` steps of each row's largest magnitude: errors as quantization makes them.
fn rounded(weights: &Matrix, levels: f32) -> Matrix {
    let mut rounded = weights.clone();
    for row in 0..weights.rows() {
        let row = rounded.row_mut(row);
        let step = row.iter().fold(0.0f32, |most, value| most.max(value.abs())) / levels;
        row.iter_mut()
            .for_each(|value| *value = (*value / step).round() * step);
    }
    rounded
}

/// Predicted and measured loss of each layer that has gains, rounded alone.
fn predictions(
    slice: &Slice<'_>,
    moments: &BTreeMap<usize, Moments>,
    levels: f32,
) -> Vec<(String, f64, f64)> {
    let draws: Vec<OutputGains> = (0..3)
        .map(|draw| output_gains(slice, SEED + draw, &Alone).unwrap())
        .collect();
    let model = slice.model();
    let layers = gained(model, &draws[0])
        .into_iter()
        .filter(|(layer, _)| moments.contains_key(layer));
    let predicted = layers.map(|(layer, weights)| {
        let changed = rounded(&weights, levels);
        let errors = row_output_errors(&weights, &changed, &moments[&layer].gram);
        let loss = |gains: &OutputGains| {
            let pairs = gains[layer].as_ref().unwrap().iter().zip(&errors);
            pairs.map(|(gain, error)| 0.5 * gain * error).sum::<f64>()
        };
        let predicted = draws.iter().map(loss).sum::<f64>() / draws.len() as f64;
        let measured = slice.loss_with(&[(layer, Arc::new(changed))]).unwrap();
        (model.layers()[layer].name.clone(), predicted, measured)
    });
    predicted.collect()
}

/// The median of predicted / measured.
fn assert_sized(found: &[(String, f64, f64)]) {
    let mut ratios: Vec<f64> = found
        .iter()
        .map(|(_, predicted, measured)| predicted / measured)
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    assert!(
        (0.5..2.0).contains(&ratio),
        "median ratio {ratio}: {found:#?}"
    );
}

fn assert_ranked(found: &[(String, f64, f64)]) {
    let predicted: Vec<f64> = found.iter().map(|(_, predicted, _)| *predicted).collect();
    let measured: Vec<f64> = found.iter().map(|(.., measured)| *measured).collect();
    let correlation = spearman(&predicted, &measured).unwrap();
    assert!(
        correlation > 0.8,
        "rank correlation {correlation}: {found:#?}"
    );
}

#[test]
fn losses_of_the_sample_are_predicted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/sample");
    let checkpoint = Arc::new(Checkpoint::open(&folder).unwrap());
    let config: Value = checkpoint.config_json().unwrap().clone();
    let model = Model::open(checkpoint, &config).unwrap();
    let tokenizer = Tokenizer::open(&folder.join("tokenizer.json")).unwrap();
    let vocabulary = model.config().vocabulary;
    let text = Corpus::open(&folder.join("evaluation.txt"), Some(&tokenizer), vocabulary).unwrap();
    let windows: Vec<&[u32]> = text.windows(128).unwrap()[..16].to_vec();
    let owned: Vec<Vec<u32>> = windows.iter().map(|window| window.to_vec()).collect();
    let slice = Slice::decoder(&model, &windows, u64::MAX, &Alone).unwrap();
    let mut moments = inputs(&model, &owned);
    let embedding = model.load_ends().unwrap().embedding_layer();
    assert_eq!(
        model.load_ends().unwrap().head_layer(),
        None,
        "the sample's head is tied"
    );
    assert!(output_gains(&slice, SEED, &Alone).unwrap()[embedding].is_some());
    moments.remove(&embedding);
    let found = predictions(&slice, &moments, 7.0);
    assert_ranked(&found);
    assert_sized(&found);
}

/// Sentences of one word: errors of several tokens of a sentence share a sign, which gains know nothing of.
#[test]
fn distances_of_embeddings_are_predicted() {
    let model = random_model(&tiny_bert(), 3, 0.0);
    let words: Vec<String> = (0..37).map(|id| format!("\"w{id}\": {id}")).collect();
    let json = format!(
        r#"{{"version": "1.0", "added_tokens": [], "truncation": null, "padding": null, "normalizer": null,
        "pre_tokenizer": {{"type": "Whitespace"}}, "post_processor": null, "decoder": null,
        "model": {{"type": "WordLevel", "unk_token": "w0", "vocab": {{{}}}}}}}"#,
        words.join(", ")
    );
    let tokenizer = Tokenizer::from_json("words", json.as_bytes()).unwrap();
    let ids: Vec<Vec<u32>> = (0..37).map(|id| vec![id]).collect();
    let sentence = |ids: &Vec<u32>| ids.iter().map(|id| format!("w{id} ")).collect::<String>();
    let sentences: Vec<String> = ids.iter().map(sentence).collect();
    for modes in [
        vec![PoolingMode::Mean],
        vec![PoolingMode::First, PoolingMode::Max],
    ] {
        let pooling = Pooling {
            modes,
            normalize: true,
        };
        let task = EncoderTask {
            sentences: &sentences,
            pairs: &[],
            tokenizer: &tokenizer,
            length: 128,
            pooling: &pooling,
        };
        let slice = Slice::encoder(&model, &task, u64::MAX, &Alone).unwrap();
        let mut found = predictions(&slice, &inputs(&model, &ids), 60.0);
        // A word that sees itself alone needs no query and no key.
        found.retain(|(name, ..)| !name.ends_with("query") && !name.ends_with("key"));
        // Random layers hurt all alike: there is no rank to find.
        assert_sized(&found);
    }
}

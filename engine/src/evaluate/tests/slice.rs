//! Losses of changed networks against whole evaluations of networks that have those weights.

use super::Watch;
use super::encoder::{mean, sentence, tokenizer};
use crate::evaluate::{EncoderTask, EvaluateError, Slice, evaluate_decoder, evaluate_encoder};
use crate::model::CacheKind::F32;
use crate::model::Model;
use crate::model::testing::{random_model, tiny_bert, tiny_llama, with_weights};
use crate::report::Measure;
use crate::rng::Rng;
use crate::tensor::Matrix;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type Changed = Vec<(usize, Arc<Matrix>)>;

/// Four blocks, the head tied or not.
fn llama(tied: bool) -> Value {
    let mut config = tiny_llama();
    config["num_hidden_layers"] = 4.into();
    config["tie_word_embeddings"] = tied.into();
    config
}

fn windows() -> Vec<Vec<u32>> {
    let id = |window: usize, place: usize| ((window * 31 + place * place * 7 + place) % 37) as u32;
    let lengths = (0..40).map(|window| 20 - 3 * (window % 3));
    let windows = lengths.enumerate();
    windows
        .map(|(window, length)| (0..length).map(|place| id(window, place)).collect())
        .collect()
}

/// Every compressible layer with a little noise.
fn all_changed(model: &Model) -> Changed {
    let mut rng = Rng::new(5, 0);
    let layers = model.layers().iter().enumerate();
    let changed = layers
        .filter(|(_, layer)| layer.compressible)
        .map(|(index, layer)| {
            let mut weights = layer.read(model.source().as_ref()).unwrap();
            for value in weights.data_mut() {
                *value += (0.02 * rng.normal()) as f32;
            }
            (index, Arc::new(weights))
        });
    changed.collect()
}

/// Losses of several lists of changes, one after another.
fn losses(
    model: &Model,
    lists: &[&[(usize, Arc<Matrix>)]],
    memory: u64,
    threads: usize,
) -> Vec<f64> {
    let windows = windows();
    let sequences: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let watch = Watch::new(u64::MAX);
    in_pool(threads, || {
        let slice = Slice::decoder(model, &sequences, memory, &watch).unwrap();
        assert_eq!(watch.done(), watch.total(), "steps done and announced");
        lists
            .iter()
            .map(|changed| slice.loss_with(changed).unwrap())
            .collect()
    })
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(work)
}

fn measured(model: &Model, changed: &Model) -> f64 {
    let windows = windows();
    let sequences: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let watch = Watch::new(u64::MAX);
    let found = evaluate_decoder(changed, F32, Some(model), &sequences, u64::MAX, &watch).unwrap();
    found.kl.unwrap().mean
}

#[test]
fn a_decoders_loss_is_what_an_evaluation_measures() {
    for tied in [false, true] {
        let config = llama(tied);
        let model = random_model(&config, 3, 0.0);
        let all = all_changed(&model);
        let block = |index: usize| model.layers()[index].block;
        let middle: Changed = all
            .iter()
            .filter(|(index, _)| block(*index) == Some(2))
            .cloned()
            .collect();
        let ends: Changed = all
            .iter()
            .filter(|(index, _)| block(*index).is_none())
            .cloned()
            .collect();
        let last = &all[all.len() - 1..];
        assert_eq!((middle.len(), ends.len()), (7, 2 - usize::from(tied)));
        for changed in [&all[..], &middle, &ends, &ends[..1], last, &all[8..9]] {
            let found = losses(&model, &[changed], u64::MAX, 2)[0];
            let expected = measured(&model, &with_weights(&model, &config, changed));
            assert!(expected > 1e-6, "{} changes did nothing", changed.len());
            assert_eq!(found, expected, "{} changes, tied {tied}", changed.len());
        }
    }
}

#[test]
fn nothing_changed_is_no_loss_and_order_is_none() {
    let model = random_model(&llama(false), 3, 0.0);
    let all = all_changed(&model);
    let mut turned = all.clone();
    turned.reverse();
    let found = losses(&model, &[&[], &all, &turned, &[]], u64::MAX, 2);
    assert!(found[0] < 1e-12 && found[3] == found[0], "{found:?}");
    assert_eq!(found[1], found[2]);
}

#[test]
fn neither_threads_nor_memory_change_a_loss() {
    let model = random_model(&llama(false), 3, 0.0);
    let all = all_changed(&model);
    let lists: Vec<&[(usize, Arc<Matrix>)]> = all.chunks(5).collect();
    let expected = losses(&model, &lists, u64::MAX, 1);
    let windows = windows();
    let sequences: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let watch = Watch::new(u64::MAX);
    let mut kept = Vec::new();
    for memory in [0, 740_000, 830_000, 880_000, u64::MAX] {
        for threads in [1, 2] {
            let found = losses(&model, &lists, memory, threads);
            assert_eq!(found, expected, "{memory} bytes, {threads} threads");
        }
        let slice = in_pool(1, || {
            Slice::decoder(&model, &sequences, memory, &watch).unwrap()
        });
        kept.push(slice.kept_bytes());
    }
    let depth = sequences.iter().map(|ids| ids.len() as u64).sum::<u64>() * 16 * 4;
    assert_eq!((kept[0], kept[4]), (depth, 5 * depth), "{kept:?}");
    assert!(
        kept.iter().any(|&bytes| bytes == 3 * depth),
        "{kept:?} of {depth}"
    );
}

#[test]
fn an_encoders_loss_is_the_distance_of_embeddings() {
    let model = random_model(&tiny_bert(), 3, 0.0);
    let all = all_changed(&model);
    let sentences: Vec<String> = (0..30).map(|seed| sentence(seed, 2 + seed % 5)).collect();
    let (tokenizer, pooling) = (tokenizer(), mean());
    let task = EncoderTask {
        sentences: &sentences,
        pairs: &[],
        tokenizer: &tokenizer,
        length: 4,
        pooling: &pooling,
    };
    let watch = Watch::new(u64::MAX);
    for changed in [&all[..], &all[..1], &all[9..11], &[]] {
        let other = with_weights(&model, &tiny_bert(), changed);
        let found = evaluate_encoder(&other, Some(&model), &task, u64::MAX, &watch).unwrap();
        let expected = 1.0 - found.cosine.unwrap().mean;
        for (memory, threads) in [(0, 1), (u64::MAX, 2)] {
            let loss = in_pool(threads, || {
                let slice = Slice::encoder(&model, &task, memory, &watch).unwrap();
                assert_eq!(
                    (slice.measure(), slice.scored()),
                    (Measure::CosineDistance, 30)
                );
                slice.loss_with(changed).unwrap()
            });
            // An evaluation's cosines are rounded to f32.
            assert!(
                (loss - expected).abs() < 1e-7,
                "{loss}, expected {expected}"
            );
            assert_eq!(loss > 1e-5, !changed.is_empty(), "{loss}");
        }
    }
}

#[test]
fn inputs_of_the_head_and_tokens_are_counted() {
    let model = random_model(&llama(false), 3, 0.0);
    let windows = windows();
    let sequences: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let watch = Watch::new(u64::MAX);
    let slice = Slice::decoder(&model, &sequences, 0, &watch).unwrap();
    assert_eq!(slice.measure(), Measure::Kl);
    let tokens: u64 = windows.iter().map(|window| window.len() as u64).sum();
    assert_eq!(slice.scored(), tokens - windows.len() as u64);
    let counts = slice.token_counts();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (37, tokens));
    let fives = windows.iter().flatten().filter(|&&id| id == 5).count();
    assert_eq!(counts[5], fives as u64);

    let moments = slice.head_moments().unwrap();
    assert_eq!((moments.count, moments.width()), (slice.scored(), 16));
    let ends = model.load_ends().unwrap();
    let mut squares = vec![0.0; 16];
    for window in &windows {
        let context = model.context(window.len()).unwrap();
        let mut hidden = ends.embed(window, &context).unwrap();
        for block in 0..4 {
            let block = model.load_block(block).unwrap();
            hidden = block.forward(&hidden, &context, None).unwrap();
        }
        let input = ends.head_input(&hidden).unwrap().squeeze(0).unwrap();
        let rows = input.to_vec2::<f32>().unwrap();
        for row in &rows[..window.len() - 1] {
            let pairs = squares.iter_mut().zip(row);
            pairs.for_each(|(sum, &value)| *sum += f64::from(value).powi(2));
        }
    }
    for (found, sum) in moments.mean_square.iter().zip(squares) {
        let expected = sum / moments.count as f64;
        assert!(
            (f64::from(*found) - expected).abs() < 1e-5 * expected,
            "{found}, {expected}"
        );
    }
}

#[test]
fn stopping_is_answered() {
    let model = random_model(&llama(false), 3, 0.0);
    let windows = windows();
    let sequences: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    for memory in [0, u64::MAX] {
        let early = Watch::new(2);
        let error = Slice::decoder(&model, &sequences, memory, &early)
            .err()
            .unwrap();
        assert!(matches!(error, EvaluateError::Stopped(_)), "{error}");
        let watch = Watch::new(u64::MAX);
        let slice = Slice::decoder(&model, &sequences, memory, &watch).unwrap();
        assert!(slice.loss_with(&[]).is_ok());
        watch.done.store(u64::MAX, Ordering::Relaxed);
        let error = slice.loss_with(&[]).unwrap_err();
        assert!(matches!(error, EvaluateError::Stopped(_)), "{error}");
    }
}

#[test]
fn what_cannot_work_says_so() {
    let model = random_model(&llama(false), 3, 0.0);
    let encoder = random_model(&tiny_bert(), 3, 0.0);
    let watch = Watch::new(u64::MAX);
    let window: &[u32] = &[1, 2, 3];
    let slice = Slice::decoder(&model, &[window], 0, &watch).unwrap();
    let norm = model
        .layers()
        .iter()
        .position(|layer| !layer.compressible)
        .unwrap();
    let with = |layer, rows, value| {
        slice.loss_with(&[(layer, Arc::new(Matrix::from_fn(rows, 16, |_, _| value)))])
    };
    let head = model.layers().len() - 1;
    let rows = [
        (with(999, 16, 0.0), "no layer 999"),
        (with(norm, 16, 0.0), "no linear layer"),
        (with(head, 3, 0.0), "cannot be replaced"),
        (with(head, 37, f32::NAN), "window 0 are not finite"),
    ];
    for (outcome, expected) in rows {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
    for (model, sequence, expected) in [
        (&encoder, window, "an encoder"),
        (&model, &window[..1], "two tokens"),
    ] {
        let message = Slice::decoder(model, &[sequence], 0, &watch)
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}

//! Perplexity and KL against the definition in f64; independence of threads and memory.

use super::Watch;
use crate::evaluate::{EvaluateError, evaluate_decoder};
use crate::model::CacheKind::{self, F32};
use crate::model::testing::{random_model, tiny_llama};
use crate::model::{BlockCache, Model};
use crate::report::DecoderEvaluation;

pub(super) fn windows(count: usize, length: usize) -> Vec<Vec<u32>> {
    let id = |window: usize, position: usize| {
        ((window * 31 + position * position * 7 + position) % 37) as u32
    };
    (0..count)
        .map(|window| (0..length).map(|position| id(window, position)).collect())
        .collect()
}

pub(super) fn evaluate(
    model: &Model,
    reference: Option<&Model>,
    windows: &[Vec<u32>],
    memory_bytes: u64,
    threads: usize,
) -> DecoderEvaluation {
    let slices: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let watch = Watch::new(u64::MAX);
    let evaluation =
        pool.install(|| evaluate_decoder(model, F32, reference, &slices, memory_bytes, &watch));
    assert_eq!(watch.done(), watch.total(), "steps done and announced");
    DecoderEvaluation {
        seconds: 0.0,
        ..evaluation.unwrap()
    }
}

/// log softmax of every row but the last, in f64.
fn log_softmax(model: &Model, ids: &[u32]) -> Vec<Vec<f64>> {
    let logits = model.forward(ids).unwrap().squeeze(0).unwrap();
    let rows: Vec<Vec<f32>> = logits.to_vec2().unwrap();
    let rows = rows[..ids.len() - 1].iter();
    rows.map(|row| {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        row.iter()
            .map(|&logit| f64::from(logit) - sum.ln())
            .collect()
    })
    .collect()
}

#[test]
fn equals_the_definition() {
    let reference = random_model(&tiny_llama(), 3, 0.0);
    let model = random_model(&tiny_llama(), 3, 0.05);
    let windows = windows(7, 12);
    let found = evaluate(&model, Some(&reference), &windows, u64::MAX, 2);
    let (mut nll, mut reference_nll, mut kl) = (0.0, 0.0, 0.0);
    for window in &windows {
        let ours = log_softmax(&model, window);
        let theirs = log_softmax(&reference, window);
        for (row, &target) in window[1..].iter().enumerate() {
            nll -= ours[row][target as usize];
            reference_nll -= theirs[row][target as usize];
            let pairs = ours[row].iter().zip(&theirs[row]);
            kl += pairs
                .map(|(our, their)| their.exp() * (their - our))
                .sum::<f64>();
        }
    }
    let scored = 7.0 * 11.0;
    let close = |found: f64, expected: f64| {
        assert!(
            (found - expected).abs() < 1e-5 * expected,
            "{found}, expected {expected}"
        );
    };
    assert_eq!((found.tokens, found.windows), (84, 7));
    close(found.perplexity, (nll / scored).exp());
    close(
        found.reference_perplexity.unwrap(),
        (reference_nll / scored).exp(),
    );
    close(found.kl.as_ref().unwrap().mean, kl / scored);
    close(
        found.perplexity_ratio.unwrap(),
        ((nll - reference_nll) / scored).exp(),
    );
    assert!(found.perplexity_ratio_stderr < found.perplexity_stderr);
    let alone = evaluate(&model, None, &windows, u64::MAX, 2);
    assert_eq!(
        (alone.perplexity, alone.perplexity_stderr),
        (found.perplexity, found.perplexity_stderr)
    );
    assert_eq!((alone.kl, alone.same_top, alone.flips), (None, None, None));
}

#[test]
fn a_model_is_its_own_reference() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let found = evaluate(&model, Some(&model), &windows(5, 9), u64::MAX, 2);
    let kl = found.kl.unwrap();
    assert_eq!((kl.mean, kl.max), (0.0, 0.0));
    assert_eq!((found.same_top, found.flips), (Some(1.0), Some(0.0)));
    assert_eq!(found.perplexity_ratio, Some(1.0));
}

#[test]
fn neither_threads_nor_memory_change_a_result() {
    let reference = random_model(&tiny_llama(), 3, 0.0);
    let model = random_model(&tiny_llama(), 3, 0.1);
    let mut windows = windows(90, 16);
    windows.extend(self::windows(3, 30));
    let expected = evaluate(&model, Some(&reference), &windows, u64::MAX, 1);
    for (memory_bytes, threads) in [(u64::MAX, 3), (0, 1), (0, 3), (60_000, 2)] {
        let found = evaluate(&model, Some(&reference), &windows, memory_bytes, threads);
        assert_eq!(found, expected, "{memory_bytes} bytes, {threads} threads");
    }
}

#[test]
fn stopping_is_answered() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let windows = windows(200, 30);
    let slices: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    for memory_bytes in [0, u64::MAX] {
        let watch = Watch::new(5);
        let error = evaluate_decoder(&model, F32, None, &slices, memory_bytes, &watch).unwrap_err();
        assert!(matches!(error, EvaluateError::Stopped(_)), "{error}");
        let done = watch.done();
        assert!(
            done < 5 + 2 * rayon::current_num_threads() as u64,
            "went on to step {done}"
        );
    }
}

#[test]
fn what_cannot_work_says_so() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let mut other = tiny_llama();
    other["vocab_size"] = 40.into();
    let other = random_model(&other, 3, 0.0);
    let broken = random_model(&tiny_llama(), 3, f64::NAN);
    let watch = Watch::new(u64::MAX);
    let window: &[u32] = &[1, 2, 3];
    let rows = [
        (
            evaluate_decoder(&model, F32, None, &[&[1]], 0, &watch),
            "two tokens",
        ),
        (
            evaluate_decoder(&model, F32, None, &[], 0, &watch),
            "two tokens",
        ),
        (
            evaluate_decoder(&model, F32, Some(&other), &[window], 0, &watch),
            "vocabulary of 40",
        ),
        (
            evaluate_decoder(&broken, F32, None, &[window], 0, &watch),
            "window 0 are not finite",
        ),
    ];
    for (outcome, expected) in rows {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}

/// Mean negative log-likelihood of a text read token by token over caches.
fn token_by_token(model: &Model, ids: &[u32], kept: CacheKind) -> f64 {
    let ends = model.load_ends().unwrap();
    let blocks = 0..model.config().blocks;
    let blocks: Vec<_> = blocks
        .map(|index| model.load_block(index).unwrap())
        .collect();
    let mut caches: Vec<BlockCache> = blocks.iter().map(|_| BlockCache::new(kept)).collect();
    let mut loss = 0.0;
    for (position, pair) in ids.windows(2).enumerate() {
        let context = model.context_after(position, 1).unwrap();
        let mut hidden = ends.embed(&pair[..1], &context).unwrap();
        for (block, cache) in blocks.iter().zip(&mut caches) {
            hidden = block.forward(&hidden, &context, Some(cache)).unwrap();
        }
        let logits: Vec<f32> = ends
            .head(&hidden)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        loss += sum.ln() - f64::from(logits[pair[1] as usize]);
    }
    loss / (ids.len() - 1) as f64
}

#[test]
fn a_narrow_cache_costs_what_it_costs_token_by_token() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let windows = windows(3, 24);
    let slices: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let mut losses = Vec::new();
    for kept in CacheKind::ALL {
        let watch = Watch::new(u64::MAX);
        let found =
            evaluate_decoder(&model, kept, Some(&model), &slices, u64::MAX, &watch).unwrap();
        let expected: f64 = slices
            .iter()
            .map(|ids| token_by_token(&model, ids, kept))
            .sum::<f64>()
            / slices.len() as f64;
        let difference = (found.perplexity.ln() - expected).abs();
        assert!(difference < 1e-5, "{kept:?}: {difference}");
        assert_eq!(found.kv_cache, kept);
        losses.push(found.kl.unwrap().mean);
    }
    assert_eq!(losses[0], 0.0);
    assert!(losses[0] < losses[1] && losses[1] < losses[2], "{losses:?}");
}

//! Figures of the real models in `../shared/models`, as its README lists them, within 0.1 %. Skipped with a printed line
//! where that folder is absent.
#![allow(clippy::print_stdout)]

use pare_engine::checkpoint::Checkpoint;
use pare_engine::corpus::{Corpus, Tokenizer, read_sentence_pairs};
use pare_engine::evaluate::{EncoderTask, Pooling, evaluate_decoder, evaluate_encoder};
use pare_engine::generate::{GenerateConfig, Sampling, end_tokens, generate};
use pare_engine::model::{CacheKind, Model};
use pare_engine::monitor::{Monitor, Unwatched};
use pare_engine::report::{DecoderEvaluation, Notice, Observer};
use std::path::PathBuf;
use std::sync::Arc;

const MEMORY_BYTES: u64 = 1 << 30;

/// Nobody.
struct Silent;

impl Monitor for Silent {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for Silent {
    fn notice(&self, _notice: Notice<'_>) {}
}

/// A path under `../shared`, or `None` with a line that says so.
fn shared(path: &str) -> Option<PathBuf> {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if !full.exists() {
        println!("skipped: {} is absent", full.display());
        return None;
    }
    Some(full)
}

fn open(model: &str) -> Option<(Model, Tokenizer, serde_json::Value)> {
    let folder = shared(&format!("models/{model}"))?;
    let tokenizer = Tokenizer::open(&folder.join("tokenizer.json")).expect("the tokenizer");
    let checkpoint = Checkpoint::open(&folder).expect("the checkpoint");
    let config = checkpoint.config_json().expect("a config").clone();
    let model = Model::open(Arc::new(checkpoint), &config).expect("the model");
    Some((model, tokenizer, config))
}

/// Evaluates the first `most` windows of `length` tokens and prints what it found.
fn evaluate(
    name: &str,
    text: &str,
    length: usize,
    most: usize,
) -> Option<(usize, DecoderEvaluation)> {
    let (model, tokenizer, _) = open(name)?;
    let text = shared(&format!("text/{text}"))?;
    let vocabulary = model.config().vocabulary;
    let corpus = Corpus::open(&text, Some(&tokenizer), vocabulary).expect("the text");
    let mut windows = corpus.windows(length).expect("windows");
    windows.truncate(most);
    let found = evaluate_decoder(
        &model,
        CacheKind::F32,
        None,
        &windows,
        MEMORY_BYTES,
        &Silent,
    );
    let found = found.expect("an evaluation");
    println!(
        "{name}: {} tokens, {} windows, perplexity {:.6} +- {:.4}, {:.1} s",
        corpus.ids().len(),
        found.windows,
        found.perplexity,
        found.perplexity_stderr.unwrap_or_default(),
        found.seconds
    );
    Some((corpus.ids().len(), found))
}

fn assert_close(found: f64, listed: f64) {
    let error = (found / listed - 1.0).abs();
    assert!(
        error < 1e-3,
        "found {found}, listed {listed}: {error:.1e} apart"
    );
}

#[test]
fn perplexity_of_stories260k() {
    let Some((tokens, found)) = evaluate(
        "stories260K",
        "tinystories_valid_400kB.txt",
        512,
        usize::MAX,
    ) else {
        return;
    };
    assert_eq!((tokens, found.windows), (199_288, 389));
    assert_close(found.perplexity, 4.895490);
}

#[test]
fn perplexity_of_babyllama_361() {
    let Some((tokens, found)) = evaluate(
        "babyllama-361",
        "tinystories_valid_400kB.txt",
        256,
        usize::MAX,
    ) else {
        return;
    };
    assert_eq!((tokens, found.windows), (391_982, 1531));
    assert_close(found.perplexity, 2.349849);
}

#[test]
fn perplexity_of_gutenberg_5m() {
    let Some((tokens, found)) = evaluate("gutenberg-5M", "gutenberg_valid_1MB.txt", 256, 200)
    else {
        return;
    };
    assert_eq!((tokens, found.windows), (447_594, 200));
    assert_close(found.perplexity, 59.4565);
}

#[test]
fn perplexity_of_gutenberg_5m_over_all_windows() {
    let Some((_, found)) = evaluate("gutenberg-5M", "gutenberg_valid_1MB.txt", 256, usize::MAX)
    else {
        return;
    };
    assert_eq!(found.windows, 1748);
    assert_close(found.perplexity, 63.806766);
}

#[test]
fn spearman_of_minilm() {
    let (Some((model, tokenizer, _)), Some(pairs), Some(folder)) = (
        open("minilm"),
        shared("data/stsb/sts-test.tsv"),
        shared("models/minilm"),
    ) else {
        return;
    };
    let pairs = read_sentence_pairs(&pairs).expect("the pairs");
    let checkpoint = pare_engine::checkpoint::Checkpoint::open(&folder).expect("the model");
    let pooling = Pooling::read(&checkpoint).expect("the pooling");
    let task = EncoderTask {
        sentences: &[],
        pairs: &pairs,
        tokenizer: &tokenizer,
        length: 128,
        pooling: &pooling,
    };
    let found =
        evaluate_encoder(&model, None, &task, MEMORY_BYTES, &Silent).expect("an evaluation");
    let spearman = found.spearman.expect("a correlation");
    println!(
        "minilm: {} texts, Spearman {spearman:.6}, {:.1} s",
        found.texts, found.seconds
    );
    assert_eq!((pairs.len(), found.texts), (879, 1758));
    assert_close(spearman, 0.80988);
}

#[test]
fn a_story_goes_on() {
    let Some((model, tokenizer, config)) = open("stories260K") else {
        return;
    };
    let config = GenerateConfig {
        tokens: 60,
        sampling: Sampling::GREEDY,
        seed: 0,
        kv: CacheKind::F32,
        end_tokens: end_tokens(&config, None),
        memory_bytes: MEMORY_BYTES,
    };
    let prompt = "Once upon a time, there was a little girl named Lily. She";
    let mut streamed = String::new();
    let made = generate(
        &model,
        &tokenizer,
        prompt,
        &config,
        &Unwatched,
        &mut |piece| {
            streamed.push_str(piece);
        },
    )
    .expect("a text");
    println!("{prompt}|{}", made.text);
    println!(
        "prefill {:.0}, decode {:.0} tokens per second",
        made.prefill.tokens_per_second().unwrap_or_default(),
        made.decode.tokens_per_second().unwrap_or_default()
    );
    assert_eq!(streamed, made.text);
    assert_eq!(made.ids.len(), 60);
    // The pieces are the text that the whole sequence decodes to.
    let all = [tokenizer.encode(prompt).expect("ids"), made.ids].concat();
    assert_eq!(
        tokenizer.decode(&all).expect("text"),
        format!("{prompt}{}", made.text)
    );
}

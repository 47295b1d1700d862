//! Figures of the real models in `../shared/models`, as its README lists them. Skipped with a printed line where that
//! folder is absent.

#![allow(clippy::print_stdout)]
use pare_engine::corpus::{Corpus, Tokenizer};
use std::path::PathBuf;

/// A path under `../shared`, or `None` with a line that says so.
fn shared(path: &str) -> Option<PathBuf> {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if !full.exists() {
        println!("skipped: {} is absent", full.display());
        return None;
    }
    Some(full)
}

fn corpus(model: &str, text: &str, vocabulary: usize) -> Option<Corpus> {
    let tokenizer = shared(&format!("models/{model}/tokenizer.json"))?;
    let text = shared(&format!("text/{text}"))?;
    let tokenizer = Tokenizer::open(&tokenizer).expect("the model's tokenizer");
    Some(Corpus::open(&text, Some(&tokenizer), vocabulary).expect("the text"))
}

#[test]
fn token_counts_are_those_listed() {
    for (model, text, vocabulary, tokens, length, windows) in [
        (
            "stories260K",
            "tinystories_valid_400kB.txt",
            512,
            199_288,
            512,
            389,
        ),
        (
            "babyllama-361",
            "tinystories_valid_400kB.txt",
            361,
            391_982,
            256,
            1531,
        ),
        (
            "gutenberg-5M",
            "gutenberg_valid_1MB.txt",
            2048,
            447_594,
            256,
            1748,
        ),
    ] {
        let start = std::time::Instant::now();
        let Some(corpus) = corpus(model, text, vocabulary) else {
            return;
        };
        println!("{model}: tokenized in {:.2?}", start.elapsed());
        assert_eq!(corpus.ids().len(), tokens, "tokens of {model}");
        let cut = corpus.windows(length).expect("windows");
        assert_eq!(cut.len(), windows, "windows of {model}");
    }
}

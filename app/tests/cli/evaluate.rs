//! `pare evaluate`.

use crate::place::{Place, has_keys, shared};

#[test]
fn a_decoder_beside_itself_has_no_divergence() {
    let place = Place::new();
    let text = place.text();
    let words = [
        "evaluate",
        "sample",
        "--corpus",
        &text,
        "--length",
        "32",
        "--windows",
        "4",
    ];
    let alone = place.json(&words);
    has_keys(
        &alone,
        &[
            "tokens",
            "windows",
            "perplexity",
            "perplexity_stderr",
            "seconds",
        ],
    );
    assert_eq!(alone["windows"], 4);
    let beside = place.json(&[&words[..], &["--reference", "sample"]].concat());
    has_keys(
        &beside["kl"],
        &["mean", "stderr", "p50", "p90", "p99", "max"],
    );
    assert_eq!(beside["perplexity"], alone["perplexity"]);
    assert_eq!(beside["reference_perplexity"], alone["perplexity"]);
    assert_eq!(beside["same_top"], 1.0);
    assert_eq!(beside["flips"], 0.0);
}

#[test]
fn what_a_narrow_cache_costs_is_measured() {
    let place = Place::new();
    let words = ["evaluate", "sample", "--length", "32", "--windows", "2"];
    let narrow = ["--reference", "sample", "--kv", "int8"];
    let found = place.json(&[&words[..], &narrow].concat());
    assert_eq!(found["kv_cache"], "int8");
    let kl = found["kl"]["mean"].as_f64();
    assert!(kl.is_some_and(|kl| kl > 0.0), "{found}");
    assert_eq!(place.json(&words)["kv_cache"], "f32");
}

#[test]
fn the_page_says_perplexity() {
    let place = Place::new();
    let outcome = place.run(&["evaluate", "sample", "--length", "32", "--windows", "2"]);
    assert!(outcome.page().starts_with("perplexity"), "{outcome:?}");
}

#[test]
fn an_encoder_is_scored_on_sentence_pairs() {
    let (Some(model), Some(pairs)) = (shared("models/minilm"), shared("data/stsb/sts-test.tsv"))
    else {
        return;
    };
    let place = Place::new();
    let all = std::fs::read_to_string(pairs).unwrap();
    let few: String = all
        .lines()
        .take(12)
        .map(|line| format!("{line}\n"))
        .collect();
    let few = place.file("pairs.tsv", few);
    let document = place.json(&["evaluate", &model, "--sts", &few, "--reference", &model]);
    has_keys(&document, &["cosine", "spearman", "reference_spearman"]);
    has_keys(&document["cosine"], &["mean", "p01", "min"]);
    assert_eq!(document["spearman"], document["reference_spearman"]);
}

#[test]
fn nothing_to_score_is_a_wrong_command_line() {
    let Some(model) = shared("models/stories260K") else {
        return;
    };
    Place::new()
        .run(&["evaluate", &model])
        .refused(2, &["--corpus"]);
}

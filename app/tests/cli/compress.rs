//! `pare compress`: what is answered, and what is written.

use crate::place::{Place, QUICK, files, has_keys, names, same_bytes, same_layers, shared};
use std::fs;

fn written_bytes(place: &Place, out: &str) -> u64 {
    files(&place.path(out))
        .values()
        .map(|content| content.len() as u64)
        .sum()
}

#[test]
fn the_report_has_every_key() {
    let place = Place::new();
    let document = place.compress("out", &[]);
    has_keys(
        &document,
        &[
            "out",
            "format",
            "bytes_before",
            "bytes_after",
            "bits_per_weight",
            "seconds",
            "peak_rss_bytes",
            "recipe",
            "layers",
            "evaluation",
        ],
    );
    let keys = [
        "name",
        "method",
        "bits",
        "group",
        "sparsity",
        "bytes",
        "relative_output_error",
        "sqnr_db",
        "cosine",
        "seconds",
        "fallback",
    ];
    let layers = document["layers"].as_array().unwrap();
    assert!(!layers.is_empty());
    for layer in layers {
        has_keys(layer, &keys);
    }
    has_keys(
        &document["evaluation"],
        &[
            "tokens",
            "windows",
            "perplexity",
            "perplexity_stderr",
            "reference_perplexity",
            "kl",
            "same_top",
            "flips",
        ],
    );
    assert_eq!(document["bytes_after"], written_bytes(&place, "out"));
    assert_eq!(
        names(&place.path("."))
            .iter()
            .filter(|name| name.contains("partial"))
            .count(),
        0
    );
    for name in ["recipe.toml", "report.json", "layers"] {
        assert!(place.path("out/.pare").join(name).exists(), "{name}");
    }
}

#[test]
fn a_dry_run_tells_the_bytes_that_are_written() {
    let place = Place::new();
    for format in ["pare", "dense", "gptq", "awq", "compressed-tensors"] {
        for flags in [["--bits", "4"], ["--bits", "3"]] {
            let words = [&["--format", format, "--method", "rtn"][..], &flags].concat();
            let dry = [&["compress", "sample", "--dry-run"][..], &QUICK, &words].concat();
            let dry = place.json(&dry);
            let out = format!("{format}{}", flags[1]);
            let wet = place.compress(&out, &words);
            assert_eq!(dry["bytes_after"], wet["bytes_after"], "{out}");
            assert_eq!(dry["bytes_after"], written_bytes(&place, &out), "{out}");
            for layer in dry["layers"].as_array().unwrap() {
                has_keys(layer, &["name", "rule", "bytes", "fallback"]);
            }
        }
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let outcome = place.run(&["compress", "sample", "--out", "out", "--dry-run"]);
    assert!(outcome.page().contains("[default]"), "{outcome:?}");
    assert!(!place.path("out").exists() && !place.path("out.partial").exists());
}

#[test]
fn every_method_gives_a_model_that_opens_again() {
    let place = Place::new();
    for method in ["rtn", "gptq", "awq", "hqq", "nf4", "none"] {
        place.compress(method, &["--method", method]);
        let text = place.text();
        let words = ["evaluate", method, "--corpus", &text, "--length", "64"];
        let document = place.json(&words);
        assert!(
            document["perplexity"].as_f64().unwrap() > 1.0,
            "{method}: {document}"
        );
    }
}

#[test]
fn threads_and_memory_change_no_byte() {
    let place = Place::new();
    place.compress("one", &["--threads", "1"]);
    place.compress("two", &["--threads", "2"]);
    same_bytes(&place.path("one"), &place.path("two"));
    same_layers(&place.path("one"), &place.path("two"));
    place.compress("little", &["--memory", "1MB"]);
    same_bytes(&place.path("one"), &place.path("little"));
}

#[test]
fn flags_win_over_rules_and_rules_over_the_default() {
    let place = Place::new();
    let recipe = "version = 1\n[default]\nmethod = \"rtn\"\nbits = 4\n[[layer]]\nmatch = \"*down_proj\"\nbits = 6\n";
    let recipe = place.file("recipe.toml", recipe);
    let bits = |flags: &[&str]| {
        let words = [
            &["compress", "sample", "--dry-run", "--recipe", &recipe][..],
            flags,
        ]
        .concat();
        let document = place.json(&words);
        let mut bits: Vec<u64> = document["layers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|layer| layer["settings"]["method"] == "rtn")
            .map(|layer| layer["settings"]["bits"].as_u64().unwrap())
            .collect();
        bits.sort_unstable();
        bits.dedup();
        bits
    };
    assert_eq!(bits(&[]), [4, 6]);
    assert_eq!(bits(&["--bits", "3"]), [3]);
}

#[test]
fn paths_in_a_recipe_are_relative_to_it() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    fs::rename(place.text(), place.path("folder/near.txt")).unwrap();
    let recipe = "version = 1\n[calibration]\ncorpus = \"near.txt\"\nsequences = 4\nlength = 32\n";
    let recipe = place.file("folder/recipe.toml", recipe);
    let document = place.json(&["calibrate", "sample", "--recipe", &recipe]);
    assert_eq!(document["tokens"], 128);
}

#[test]
fn a_rule_that_hits_nothing_is_a_warning() {
    let place = Place::new();
    let recipe = place.file(
        "recipe.toml",
        "version = 1\n[[layer]]\nmatch = \"*.dwn_proj\"\nbits = 6\n",
    );
    let outcome = place.run(&["compress", "sample", "--dry-run", "--recipe", &recipe]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("dwn_proj"), "{outcome:?}");
}

#[test]
fn without_layers_kept_export_says_so() {
    let place = Place::new();
    place.compress("out", &["--method", "rtn", "--no-keep"]);
    place
        .run(&["export", "out", "--format", "dense", "--out", "dense"])
        .refused(1, &["out"]);
    assert!(!place.path("dense").exists());
}

#[test]
fn a_real_model_is_compressed_and_opens_again() {
    let Some(model) = shared("models/stories260K") else {
        return;
    };
    let place = Place::new();
    let text = place.text();
    let words = [
        "compress",
        &model,
        "--out",
        "out",
        "--corpus",
        &text,
        "--evaluate",
        &text,
    ];
    let document = place.json(&[&words[..], &QUICK].concat());
    assert!(document["evaluation"]["kl"]["mean"].as_f64().unwrap() >= 0.0);
    let again = place.json(&["evaluate", "out", "--reference", &model, "--corpus", &text]);
    assert_eq!(again["perplexity"], document["evaluation"]["perplexity"]);
}

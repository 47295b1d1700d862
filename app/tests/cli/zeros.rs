//! Zeros, factors and palettes through the program: what is written is as large as the dry run says, opens again, and
//! reports what was done.

use crate::interrupt::once;
use crate::place::{Place, files, same_bytes, same_layers, shared};
use serde_json::Value;
use std::fs;

const QUICK: [&str; 4] = ["--sequences", "4", "--length", "64"];

/// Every combination of what stays, zeros, and factors, in words of the command line.
const COMBINATIONS: [&[&str]; 12] = [
    &[
        "--method",
        "rtn",
        "--bits",
        "8",
        "--group",
        "0",
        "--prune",
        "magnitude",
        "--pattern",
        "2:4",
    ],
    &[
        "--method",
        "gptq",
        "--prune",
        "sparsegpt",
        "--sparsity",
        "0.6",
    ],
    &[
        "--method",
        "gptq",
        "--prune",
        "sparsegpt",
        "--pattern",
        "2:4",
        "--rank",
        "4",
    ],
    &["--method", "gptq", "--prune", "wanda", "--pattern", "4:8"],
    &[
        "--method",
        "float",
        "--prune",
        "wanda",
        "--sparsity",
        "0.7",
        "--scope",
        "layer",
    ],
    &[
        "--method",
        "float",
        "--prune",
        "sparsegpt",
        "--pattern",
        "1x4",
    ],
    &[
        "--method",
        "float",
        "--prune",
        "magnitude",
        "--sparsity",
        "0.5",
        "--scope",
        "model",
    ],
    &["--method", "float", "--rank", "25%"],
    &["--method", "float", "--rank", "energy:0.8"],
    &["--method", "rtn", "--rank", "8", "--bits", "3"],
    &["--palette", "4", "--palette-rows", "16"],
    &[
        "--method",
        "nf4",
        "--group",
        "64",
        "--prune",
        "magnitude",
        "--pattern",
        "1x4",
        "--sparsity",
        "0.8",
    ],
];

fn layers(document: &Value) -> Vec<&Value> {
    let all = document["layers"].as_array().unwrap();
    all.iter()
        .filter(|layer| layer["settings"]["method"] != "none")
        .collect()
}

#[test]
fn what_is_written_is_as_large_as_the_dry_run_says() {
    let place = Place::new();
    for (index, combination) in COMBINATIONS.iter().enumerate() {
        let out = format!("out{index}");
        let words = [&["compress", "sample"][..], combination, &QUICK].concat();
        let dry = place.json(&[&words[..], &["--dry-run"]].concat());
        let done = place.json(&[&words[..], &["--out", &out]].concat());
        assert_eq!(dry["bytes_after"], done["bytes_after"], "{combination:?}");
        for (dry, done) in layers(&dry).iter().zip(layers(&done)) {
            assert_eq!(
                dry["bytes"], done["bytes"],
                "{combination:?}: {}",
                dry["name"]
            );
        }
        let written: usize = files(&place.path(&out)).values().map(Vec::len).sum();
        let told = done["bytes_after"].as_u64().unwrap();
        assert_eq!(written as u64, told, "{combination:?}");
        assert!(
            told < done["bytes_before"].as_u64().unwrap(),
            "{combination:?}"
        );
        let kl = done["evaluation"]["kl"]["mean"].as_f64();
        assert!(
            kl.is_some_and(|kl| kl.is_finite() && kl >= 0.0),
            "{combination:?}: {kl:?}"
        );
    }
}

#[test]
fn reports_tell_what_became_zero() {
    let place = Place::new();
    let words = [
        "--method",
        "rtn",
        "--prune",
        "magnitude",
        "--pattern",
        "2:4",
        "--rank",
        "4",
    ];
    let document = place.compress("out", &words);
    for layer in layers(&document) {
        assert_eq!(layer["pattern"], "2:4");
        assert_eq!(layer["prune"], "magnitude");
        assert_eq!(layer["rank"], 4);
        assert_eq!(layer["sparsity"], 0.5, "{}", layer["name"]);
    }
    let recipe = fs::read_to_string(place.path("out/.pare/recipe.toml")).unwrap();
    assert!(recipe.contains("2:4"), "{recipe}");
}

#[test]
fn a_threshold_for_the_whole_model_is_written_into_the_recipe() {
    let place = Place::new();
    let words = [
        "--method",
        "float",
        "--prune",
        "magnitude",
        "--sparsity",
        "0.5",
        "--scope",
        "model",
    ];
    let document = place.compress("out", &words);
    let all = layers(&document);
    let shares: Vec<f64> = all
        .iter()
        .map(|layer| layer["sparsity"].as_f64().unwrap())
        .collect();
    let weights: Vec<f64> = all
        .iter()
        .map(|layer| layer["weights"].as_f64().unwrap())
        .collect();
    let zeros: f64 = shares
        .iter()
        .zip(&weights)
        .map(|(share, weights)| share * weights)
        .sum();
    let share = zeros / weights.iter().sum::<f64>();
    assert!((share - 0.5).abs() < 0.001, "{share}");
    let differ = shares.iter().any(|share| (share - 0.5).abs() > 0.01);
    assert!(
        differ,
        "one threshold takes more of smaller weights: {shares:?}"
    );
    let recipe = fs::read_to_string(place.path("out/.pare/recipe.toml")).unwrap();
    assert!(
        recipe.matches("scope = \"layer\"").count() >= all.len(),
        "{recipe}"
    );
}

#[test]
fn a_pruned_model_is_exported_and_pruned_again() {
    let place = Place::new();
    let words = [
        "--method",
        "gptq",
        "--prune",
        "magnitude",
        "--pattern",
        "2:4",
    ];
    place.compress("out", &words);
    for format in ["dense", "gptq"] {
        let exported = place.json(&["export", "out", "--format", format, "--out", format]);
        assert!(
            exported["verified"]["tensors"].as_u64().unwrap() > 0,
            "{exported}"
        );
        let kl = place.json(&[
            "evaluate",
            format,
            "--reference",
            "out",
            "--corpus",
            "sample",
        ]);
        let mean = kl["kl"]["mean"].as_f64().unwrap();
        assert!(mean < 1e-3, "{format}: {mean}");
    }
    let again = ["compress", "out", "--out", "again", "--method", "none"];
    let again = place.json(&again);
    assert_eq!(
        again["bytes_after"],
        place.json(&["compress", "out", "--dry-run", "--method", "none"])["bytes_after"]
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let place = Place::new();
    let cases: [(&[&str], &str); 7] = [
        (&["--pattern", "2:4"], "--prune"),
        (
            &["--prune", "wanda", "--pattern", "2:4", "--sparsity", "0.7"],
            "0.5",
        ),
        (&["--prune", "wanda", "--pattern", "4:2"], "2:4"),
        (&["--prune", "thin"], "magnitude"),
        (&["--rank", "half"], "energy"),
        (&["--palette", "9"], "8"),
        (&["--palette", "4", "--bits", "3"], "--bits"),
    ];
    for (words, expected) in cases {
        let words = [&["compress", "sample", "--dry-run"][..], words].concat();
        place.run(&words).refused(2, &[expected]);
    }
}

#[test]
fn inputs_that_are_needed_are_asked_for() {
    let Some(model) = shared("models/stories260K") else {
        return;
    };
    let place = Place::new();
    for (words, instead) in [
        (["--method", "float", "--prune", "wanda"], "prune magnitude"),
        (
            ["--method", "rtn", "--prune", "sparsegpt"],
            "prune magnitude",
        ),
    ] {
        let words = [&["compress", &model, "--out", "out"][..], &words].concat();
        place.run(&words).refused(2, &["--corpus", instead]);
    }
}

/// Recipes that between them ask for everything that a run settles, chooses or decomposes.
const EVERYTHING: [&str; 2] = [
    r#"version = 1
[default]
method = "gptq"
bits = 3
group = 32
prune = { method = "sparsegpt", pattern = "unstructured", sparsity = 0.4, scope = "layer" }
rank = 4
[structure]
heads = 0.5
neurons = 0.25
blocks = 1
[[layer]]
match = "*.o_proj"
method = "palette"
bits = 3
palette_rows = 16
[[layer]]
match = "*.up_proj"
prune = { method = "wanda", pattern = "2:4" }
"#,
    r#"version = 1
[default]
method = "float"
prune = { method = "wanda", pattern = "unstructured", sparsity = 0.5, scope = "model" }
[[layer]]
match = "*.down_proj"
method = "float"
prune = { method = "none" }
rank = { energy = 0.9 }
"#,
];

#[test]
fn threads_and_memory_change_no_byte_of_zeros_factors_palettes_and_smaller_networks() {
    for (index, text) in EVERYTHING.iter().enumerate() {
        let place = Place::new();
        let recipe = place.file("recipe.toml", text);
        let run = |out: &str, words: &[&str]| {
            let words = [&["--recipe", &recipe][..], words].concat();
            place.compress(out, &words)
        };
        run("one", &["--threads", "1"]);
        run("two", &["--threads", "2"]);
        run("little", &["--memory", "1MB"]);
        for other in ["two", "little"] {
            println!("recipe {index}, {other}");
            same_bytes(&place.path("one"), &place.path(other));
            same_layers(&place.path("one"), &place.path(other));
        }
    }
}

#[test]
fn a_stopped_run_with_zeros_goes_on_to_the_same_bytes() {
    for text in EVERYTHING {
        let place = Place::new();
        let (recipe, evaluation) = (place.file("recipe.toml", text), place.text());
        let words = |out: &'static str| {
            [
                "compress",
                "sample",
                "--out",
                out,
                "--recipe",
                &recipe,
                "--evaluate",
                &evaluation,
                "--sequences",
                "64",
                "--length",
                "64",
            ]
            .map(str::to_owned)
        };
        let (stopped, whole) = (words("out"), words("whole"));
        let stopped: Vec<&str> = stopped.iter().map(String::as_str).collect();
        let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
        let layers = place.path("out.partial/.pare/layers");
        let is_stored = || layers.is_dir() && !files(&layers).is_empty();
        let Some(outcome) = once(&place, &stopped, is_stored) else {
            println!("skipped: this machine is too quick to be interrupted");
            continue;
        };
        outcome.refused(130, &["--resume"]);
        place.json(&[&stopped[..], &["--resume"]].concat());
        place.json(&whole);
        same_bytes(&place.path("out"), &place.path("whole"));
        same_layers(&place.path("out"), &place.path("whole"));
    }
}

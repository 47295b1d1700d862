//! `pare compress` with parts of the network taken out first.

use crate::interrupt::once;
use crate::place::{Place, files, has_keys, same_bytes, same_layers};
use serde_json::Value;
use std::path::Path;

const CUT: [&str; 9] = [
    "--heads",
    "0.25",
    "--neurons",
    "0.25",
    "--neuron-multiple",
    "4",
    "--drop-blocks",
    "1",
    "--vocabulary",
];

fn config(place: &Place, out: &str) -> Value {
    serde_json::from_slice(&files(&place.path(out))[Path::new("config.json")]).unwrap()
}

#[test]
fn a_smaller_model_is_written_measured_and_opened() {
    let place = Place::new();
    // The sample's own text has every token.
    let words = [&CUT[..], &["--corpus", "text.txt"]].concat();
    let dry = place.compress("none", &[&words[..], &["--dry-run"]].concat());
    let document = place.compress("out", &words);
    let written: u64 = files(&place.path("out"))
        .iter()
        .filter(|(name, _)| !name.starts_with(".pare"))
        .map(|(_, content)| content.len() as u64)
        .sum();
    assert_eq!(document["bytes_after"], written);
    assert_eq!(dry["bytes_after"], written, "dry run");
    let structure = &document["structure"];
    has_keys(
        structure,
        &[
            "before",
            "after",
            "removed_blocks",
            "similarity",
            "cuts",
            "vocabulary",
            "seconds",
        ],
    );
    assert_eq!(structure["after"], dry["structure"]["after"]);
    let config = config(&place, "out");
    for (key, size) in [
        ("num_hidden_layers", "blocks"),
        ("num_attention_heads", "heads"),
        ("intermediate_size", "neurons"),
        ("vocab_size", "vocabulary"),
    ] {
        let (before, after) = (&structure["before"][size], &structure["after"][size]);
        assert_eq!(&config[key], after, "{key}");
        assert!(
            after.as_u64() < before.as_u64(),
            "{key}: {before} -> {after}"
        );
    }
    assert!(document["evaluation"]["kl"]["mean"].as_f64().is_some());
    assert!(!place.path("out/structure").exists());
    let inspected = place.json(&["inspect", "out"]);
    assert_eq!(inspected["parameters"], structure["after"]["parameters"]);
    let made = place.json(&[
        "generate",
        "out",
        "--prompt",
        "Once upon a time",
        "--tokens",
        "5",
    ]);
    assert!(made["text"].is_string());
}

#[test]
fn repair_loses_less() {
    let place = Place::new();
    let kl = |out: &str, words: &[&str]| {
        let document = place.compress(
            out,
            &[words, &["--method", "none", "--neurons", "0.25"]].concat(),
        );
        document["evaluation"]["kl"]["mean"].as_f64().unwrap()
    };
    let (repaired, cut) = (kl("repaired", &[]), kl("cut", &["--no-repair"]));
    assert!(repaired < cut, "{repaired} repaired, {cut} cut");
}

#[test]
fn what_cannot_be_cut_is_refused_before_the_run() {
    let place = Place::new();
    let refusals: [(&[&str], &str); 4] = [
        (&["--heads", "1"], "at least one must stay"),
        (&["--drop-blocks", "99"], "at most"),
        (&["--drop-blocks", "99,"], "counted from 0"),
        (&["--neurons", "1"], "neurons"),
    ];
    for (words, expected) in refusals {
        let all = [&["compress", "sample", "--out", "out"], words].concat();
        place.run(&all).refused(1, &[expected]);
        assert!(!place.path("out.partial").exists(), "{words:?}");
    }
    place
        .run(&["compress", "sample", "--out", "out", "--heads", "25%"])
        .refused(2, &["share from 0 to 1"]);
}

#[test]
fn a_stopped_cut_goes_on_to_the_same_bytes() {
    let place = Place::new();
    let text = place.text();
    for folder in ["structure.tmp", "structure"] {
        let out = format!("out-{folder}");
        let words = |out: &str| -> Vec<String> {
            let words = ["compress", "sample", "--out", out, "--evaluate", &text];
            let words = words.iter().chain(&CUT);
            let quick = [
                "--sequences",
                "64",
                "--length",
                "64",
                "--group",
                "32",
                "--bits",
                "3",
            ];
            words.chain(&quick).map(|word| (*word).to_owned()).collect()
        };
        let all = words(&out);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let reached = place.path(&format!("{out}.partial/{folder}"));
        let Some(outcome) = once(&place, &all, || reached.is_dir()) else {
            println!("skipped: this machine is too quick to be interrupted");
            continue;
        };
        outcome.refused(130, &["--resume"]);
        place.json(&[&all[..], &["--resume"]].concat());
        let whole = format!("whole-{folder}");
        place.json(&words(&whole));
        same_bytes(&place.path(&out), &place.path(&whole));
        same_layers(&place.path(&out), &place.path(&whole));
    }
}

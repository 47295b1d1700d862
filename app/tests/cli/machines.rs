//! `pare devices`, `pare estimate`, and budgets of time in `pare allocate`.

use crate::place::{Place, QUICK, has_keys};
use serde_json::Value;

/// A table with one device of a person's own.
const BOARD: &str = r#"
[[device]]
name = "Kitchen board"
memory_gb = { value = 0.001, basis = "datasheet", source = "a test" }
[[device.engine]]
name = "cpu"
kind = "cpu"
threads = 4
instructions = "neon"
f32_gops = { value = 10.0, basis = "datasheet", source = "a test" }
gemm_fraction = { value = 0.5, basis = "inferred", source = "a test" }
stream_fraction = { value = 0.8, basis = "inferred", source = "a test" }
bandwidth_gb_per_s = { value = 4.0, basis = "datasheet", source = "a test" }
cache_mb = { value = 0.0, basis = "datasheet", source = "a test" }
cache_gb_per_s = { value = 0.0, basis = "inferred", source = "a test" }
launch_us = { value = 5.0, basis = "inferred", source = "a test" }
fixed_us = { value = 50.0, basis = "inferred", source = "a test" }
"#;

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

fn refused(place: &Place, words: &[&str], code: i32, expected: &str) {
    let outcome = place.run(words);
    assert_eq!(outcome.code, Some(code), "{words:?}: {outcome:?}");
    assert!(
        outcome.stderr.contains(expected),
        "{words:?}: {}",
        outcome.stderr
    );
    assert!(outcome.stdout.is_empty(), "{words:?}: {}", outcome.stdout);
}

#[test]
fn devices_are_listed_with_bands_and_sources_and_ones_own_among_them() {
    let place = Place::new();
    let table = place.file("mine.toml", BOARD);
    let document = place.json(&["devices", "--devices", &table]);
    let devices = document["devices"].as_array().unwrap();
    assert!(devices.len() > 15, "{}", devices.len());
    assert_eq!(devices[0]["name"], "Kitchen board");
    for device in devices {
        has_keys(device, &["name", "memory_gb", "engines"]);
        for engine in device["engines"].as_array().unwrap() {
            let bandwidth = &engine["bandwidth_gb_per_s"];
            has_keys(bandwidth, &["value", "low", "high", "basis", "source"]);
            assert!(number(&bandwidth["low"]) <= number(&bandwidth["value"]));
        }
    }
    let broken = place.file("broken.toml", BOARD.replace("4.0", "-4.0"));
    refused(&place, &["devices", "--devices", &broken], 1, "is no value");
    refused(
        &place,
        &["devices", "--devices", "none.toml"],
        1,
        "could not be read",
    );
}

#[test]
fn an_estimate_has_the_keys_that_scripts_hold_on_to() {
    let place = Place::new();
    let words = ["estimate", "sample", "--device", "raspberry pi 5"];
    let document = place.json(&words);
    has_keys(
        &document,
        &[
            "device",
            "bytes",
            "memory_bytes",
            "fits",
            "prefill",
            "decode",
            "layers",
            "basis",
        ],
    );
    has_keys(
        &document["memory_bytes"],
        &["weights", "kv_cache", "activations", "total"],
    );
    has_keys(&document["prefill"], &["milliseconds", "low", "high"]);
    has_keys(&document["decode"], &["tokens_per_second", "low", "high"]);
    assert_eq!(
        (&document["basis"], &document["fits"]),
        (&"datasheet".into(), &true.into())
    );
    let decode = &document["decode"];
    assert!(number(&decode["low"]) < number(&decode["tokens_per_second"]));
    let layers = document["layers"].as_array().unwrap();
    let sum: f64 = layers
        .iter()
        .map(|layer| number(&layer["decode"]["milliseconds"]))
        .sum();
    assert!(
        (sum - number(&decode["milliseconds"])).abs() < 1e-6,
        "{sum}"
    );
    // Fewer bits are smaller and no slower; a longer context is no faster and takes more memory.
    let recipe = place.file(
        "r.toml",
        "version = 1\n[default]\nmethod = \"rtn\"\nbits = 4\ngroup = 32\n",
    );
    let small = place.json(&[&words[..], &["--recipe", &recipe]].concat());
    assert!(number(&small["bytes"]) < number(&document["bytes"]));
    assert!(number(&small["decode"]["tokens_per_second"]) > number(&decode["tokens_per_second"]));
    let short = place.json(&[&words[..], &["--context", "16"]].concat());
    assert!(number(&short["decode"]["tokens_per_second"]) >= number(&decode["tokens_per_second"]));
    assert!(
        number(&short["memory_bytes"]["kv_cache"]) < number(&document["memory_bytes"]["kv_cache"])
    );
    let table = place.file("mine.toml", BOARD);
    let tiny = place.json(&[
        "estimate",
        "sample",
        "--devices",
        &table,
        "--device",
        "Kitchen board",
    ]);
    assert_eq!(tiny["fits"], false);
}

#[test]
fn devices_that_are_not_known_are_asked_back() {
    let place = Place::new();
    refused(&place, &["estimate", "sample"], 1, "pare devices --measure");
    refused(
        &place,
        &["estimate", "sample", "--device", "Rasberry Pi 5"],
        2,
        "Is it \"Raspberry Pi 5, 8 GB\"?",
    );
    refused(
        &place,
        &[
            "estimate", "sample", "--device", "RTX 4090", "--engine", "npu",
        ],
        1,
        "it has gpu",
    );
    refused(
        &place,
        &[
            "estimate",
            "sample",
            "--device",
            "RTX 4090",
            "--context",
            "999999",
        ],
        1,
        "it takes 1 to",
    );
}

#[test]
fn a_budget_of_time_is_kept_and_buys_quality() {
    let place = Place::new();
    let words = |time: &str| -> Vec<String> {
        let judging = [
            "--solver",
            "rtn",
            "--options",
            "2,3,4,6,8",
            "--gain",
            "gradient",
            "--anchors",
            "4",
            "--slice-sequences",
            "4",
            "--slice-length",
            "64",
            "--method",
            "rtn",
        ];
        let asked = [
            "--latency-ms",
            time,
            "--device",
            "Raspberry Pi Zero 2 W",
            "--context",
            "64",
        ];
        let all = [
            &["allocate", "sample", "--out", "chosen.toml"][..],
            &QUICK,
            &judging,
            &asked,
        ]
        .concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let run = |time: f64| {
        let words = words(&time.to_string());
        place.json(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let dense = run(1e6);
    let slowest = number(&dense["predicted_milliseconds"]);
    let refused = place.run(&words("0.0001"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let least = refused.stderr.split("takes ").nth(1).unwrap();
    let least: f64 = least.split(' ').next().unwrap().parse().unwrap();
    assert!(least < slowest, "{}", refused.stderr);
    let mut losses = Vec::new();
    for share in [0.05, 0.3, 0.7] {
        let asked = least + share * (slowest - least);
        let found = run(asked);
        assert!(
            number(&found["predicted_milliseconds"]) <= asked * (1.0 + 1e-9),
            "{asked}: {found:#}"
        );
        assert!(
            number(&found["uniform"]["predicted_milliseconds"]) <= asked * (1.0 + 1e-9),
            "{asked}"
        );
        let front = found["front"].as_array().unwrap();
        assert!(
            front.len() > 2 && number(&front[0]["milliseconds"]) > 0.0,
            "{found:#}"
        );
        losses.push(number(&found["predicted_kl"]));
        // What was written takes what was said.
        let again = place.json(&[
            "estimate",
            "sample",
            "--recipe",
            "chosen.toml",
            "--device",
            "Raspberry Pi Zero 2 W",
            "--context",
            "64",
        ]);
        let said = number(&found["predicted_milliseconds"]);
        assert!(
            (number(&again["decode"]["milliseconds"]) / said - 1.0).abs() < 1e-9,
            "{said}: {again}"
        );
    }
    assert!(losses.is_sorted_by(|more, less| more >= less), "{losses:?}");
}

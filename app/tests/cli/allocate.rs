//! `pare allocate`: budgets, rules, what is written, and what is said about it.

use crate::place::{Outcome, Place, QUICK, has_keys, names};
use serde_json::Value;
use std::fs;

/// Quick judging: plain rounding, few options.
const JUDGING: [&str; 14] = [
    "--solver",
    "rtn",
    "--options",
    "2,3,4,5,6,8",
    "--probes",
    "3",
    "--anchors",
    "2,4",
    "--slice-sequences",
    "4",
    "--slice-length",
    "64",
    "--method",
    "rtn",
];

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [
        &["allocate", "sample", "--out", "chosen.toml"][..],
        &QUICK,
        &JUDGING,
        more,
    ]
    .concat()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// A dry run of the recipe that was written.
fn dry_run(place: &Place, more: &[&str]) -> Value {
    let words = ["compress", "sample", "--recipe", "chosen.toml", "--dry-run"];
    place.json(&[&words[..], more].concat())
}

/// Bits of the layers whose names end so, as the written recipe has them; 16 where left as they are.
fn bits(dry: &Value, ending: &str) -> Vec<u64> {
    let layers = dry["layers"].as_array().unwrap().iter();
    let hit = layers.filter(|layer| layer["name"].as_str().unwrap().ends_with(ending));
    hit.map(|layer| match layer["settings"]["method"].as_str() {
        Some("none") => 16,
        _ => layer["settings"]["bits"].as_u64().unwrap(),
    })
    .collect()
}

#[test]
fn the_budget_is_met_and_never_exceeded() {
    let place = Place::new();
    let keys = [
        "recipe",
        "bytes",
        "bits_per_weight",
        "predicted_kl",
        "measured_kl",
        "uniform",
        "ends_higher",
        "best",
        "front",
        "budget_bytes",
        "measure",
        "warnings",
    ];
    let mut losses = Vec::new();
    for bits in ["3", "3.7", "4.5", "6"] {
        let document = place.json(&words(&["--bits-per-weight", bits]));
        has_keys(&document, &keys);
        assert_eq!(document["best"], "allocated");
        assert!(document["measured_kl"].is_null());
        assert!(
            document["reason"]
                .as_str()
                .unwrap()
                .contains("measured_kl: ")
        );
        let bytes = document["bytes"].as_u64().unwrap();
        assert!(
            bytes <= document["budget_bytes"].as_u64().unwrap(),
            "{document:#}"
        );
        assert!(number(&document["bits_per_weight"]) <= bits.parse().unwrap());
        assert_eq!(dry_run(&place, &[])["bytes_after"], bytes, "{bits}");
        assert_eq!(
            fs::read_to_string(place.path("chosen.toml")).unwrap(),
            document["recipe"]
        );
        losses.push(number(&document["predicted_kl"]));
        front_is_sound(&document);
        // The same in bytes, to the byte; and with one byte less something else, that fits.
        let exact = place.json(&words(&["--bytes", &bytes.to_string()]));
        assert!(exact["bytes"].as_u64().unwrap() <= bytes, "{bits}");
        let less = place.json(&words(&["--bytes", &(bytes - 1).to_string()]));
        assert!(less["bytes"].as_u64().unwrap() < bytes, "{bits}");
    }
    assert!(losses.is_sorted_by(|more, less| more >= less), "{losses:?}");
}

fn front_is_sound(document: &Value) {
    let front = document["front"].as_array().unwrap();
    assert!(front.len() > 2);
    for pair in front.windows(2) {
        assert!(number(&pair[0]["bytes"]) < number(&pair[1]["bytes"]));
        assert!(number(&pair[0]["predicted_kl"]) > number(&pair[1]["predicted_kl"]));
    }
}

#[test]
fn rules_hold_in_what_is_written() {
    let place = Place::new();
    place.json(&words(&[
        "--bits-per-weight",
        "4.6",
        "--lock",
        "*.0.*.o_proj",
        "--allow",
        "*.down_proj=3,6",
        "--fused",
    ]));
    let dry = dry_run(&place, &[]);
    assert_eq!(
        bits(&dry, "layers.0.self_attn.o_proj"),
        [4],
        "as the recipe has it"
    );
    for down in bits(&dry, "down_proj") {
        assert!([3, 6].contains(&down), "{down}");
    }
    for block in 0..3 {
        let of = |name: &str| bits(&dry, &format!("layers.{block}.{name}"));
        assert_eq!(of("self_attn.q_proj"), of("self_attn.k_proj"));
        assert_eq!(of("self_attn.q_proj"), of("self_attn.v_proj"));
        assert_eq!(of("mlp.gate_proj"), of("mlp.up_proj"));
    }
    assert_eq!(bits(&dry, "embed_tokens"), [16], "ends stay as they are");

    place.json(&words(&[
        "--bits-per-weight",
        "4",
        "--embeddings",
        "--minimum-end-bits",
        "5",
    ]));
    let ends = bits(&dry_run(&place, &[]), "embed_tokens");
    assert!(ends.iter().all(|bits| *bits >= 5), "{ends:?}");
}

#[test]
fn the_same_words_write_the_same_bytes() {
    let recipe = |threads: &str| {
        let place = Place::new();
        place.json(&words(&["--bits-per-weight", "4.2", "--threads", threads]));
        fs::read(place.path("chosen.toml")).unwrap()
    };
    assert!(recipe("1") == recipe("2"));
}

#[test]
fn what_is_verified_is_the_best() {
    let place = Place::new();
    let document = place.json(&words(&["--bits-per-weight", "4.2", "--verify"]));
    let measured = |name: &str| number(&document[name]["measured_kl"]);
    let best = document["best"].as_str().unwrap();
    assert_eq!(document[best]["measured_kl"], document["measured_kl"]);
    for name in ["allocated", "uniform", "ends_higher"] {
        if !document[name].is_null() {
            assert!(measured(best) <= measured(name), "{document:#}");
            let bytes = document[name]["bytes"].as_u64().unwrap();
            assert!(
                bytes <= document["budget_bytes"].as_u64().unwrap(),
                "{name}"
            );
        }
    }
    let own = [
        "--verify",
        "--verify-corpus",
        "sample",
        "--verify-windows",
        "2",
        "--verify-length",
        "64",
    ];
    let outcome = place.run(&words(
        &[&["--bits-per-weight", "4.2", "--quiet"], &own[..]].concat(),
    ));
    assert_eq!(outcome.stderr, "");
    let page = outcome.page();
    for expected in [
        "layer by layer",
        "uniform",
        "% measured",
        "bits/weight",
        "next        pare compress sample --recipe chosen.toml",
    ] {
        assert!(page.contains(expected), "{expected:?}: {page}");
    }
    assert!(
        names(&place.path("cache/pare/scratch")).is_empty(),
        "measured runs are gone"
    );
}

#[test]
fn a_recipe_is_found_its_text_from_anywhere() {
    let place = Place::new();
    let text = place.text();
    fs::create_dir(place.path("deep")).unwrap();
    let mut words = words(&["--bits-per-weight", "4", "--corpus", "text.txt"]);
    words[3] = "deep/chosen.toml";
    place.json(&words);
    let recipe = fs::read_to_string(place.path("deep/chosen.toml")).unwrap();
    assert!(recipe.contains(&text), "{recipe}");
    place.compress("out", &["--recipe", "deep/chosen.toml"]);
}

#[test]
fn wishes_that_cannot_be_met() {
    let place = Place::new();
    let cases: [(i32, &[&str], &[&str]); 11] = [
        (2, &[], &["--bits-per-weight", "--bytes"]),
        (
            2,
            &["--bits-per-weight", "4", "--bytes", "1MB"],
            &["--bits-per-weight", "--bytes"],
        ),
        (
            2,
            &["--bits-per-weight", "nan"],
            &["--bits-per-weight", "4.25"],
        ),
        (2, &["--bytes", "lots"], &["--bytes", "2GB"]),
        (
            2,
            &["--latency-ms", "20", "--bytes", "1MB"],
            &["--latency-ms", "--bytes"],
        ),
        (
            2,
            &["--bytes", "1MB", "--allow", "down_proj"],
            &["--allow", "4/64"],
        ),
        (
            2,
            &["--bytes", "1MB", "--allow", "*=4/x"],
            &["4/x", "dense"],
        ),
        (
            2,
            &["--bytes", "1MB", "--verify-windows", "2"],
            &["--verify"],
        ),
        (
            2,
            &["--bytes", "1MB", "--minimum-end-bits", "5"],
            &["--embeddings"],
        ),
        (1, &["--bytes", "1000"], &["smallest"]),
        (1, &["--bits-per-weight", "1"], &["smallest"]),
    ];
    for (code, flags, expected) in cases {
        place.run(&words(flags)).refused(code, expected);
        assert!(!place.path("chosen.toml").exists(), "{flags:?}");
    }
    // The smallest that is named does fit.
    let outcome = place.run(&words(&["--bytes", "1000"]));
    let named = outcome.stderr.rsplit_once(" bytes)").unwrap().0;
    let smallest = named.rsplit_once('(').unwrap().1;
    let document = place.json(&words(&["--bytes", smallest]));
    assert_eq!(document["bytes"].to_string(), smallest);
    let mut nowhere = words(&["--bytes", "1MB"]);
    nowhere[3] = "no/such/chosen.toml";
    place.run(&nowhere).refused(1, &["no/such/chosen.toml"]);
}

#[test]
fn a_lock_that_hits_nothing_is_told() {
    let place = Place::new();
    let outcome: Outcome = place.run(&words(&["--bits-per-weight", "4", "--lock", "*.dwn_proj"]));
    assert!(outcome.stderr.contains("dwn_proj"), "{outcome:?}");
}

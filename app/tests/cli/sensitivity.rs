//! `pare sensitivity`: what is answered, what is kept, and how it goes on.

#[cfg(unix)]
use crate::interrupt;
#[cfg(unix)]
use crate::place::names;
use crate::place::{Place, QUICK, has_keys};
use serde_json::Value;
use std::fs;
#[cfg(unix)]
use std::path::Path;

/// Little calibration and a small slice.
const SMALL: [&str; 4] = ["--slice-sequences", "4", "--slice-length", "64"];

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["sensitivity", "sample"][..], &QUICK, &SMALL, more].concat()
}

/// A document without what differs from run to run.
fn lasting(mut document: Value) -> Value {
    for key in ["seconds", "reused", "cache"] {
        document.as_object_mut().unwrap().remove(key);
    }
    document
}

/// Checks that two documents agree, and says where they do not.
fn same(left: &Value, right: &Value) {
    match (left, right) {
        (Value::Object(some), Value::Object(others)) => {
            assert!(
                some.keys().eq(others.keys()),
                "{left} has other keys than {right}"
            );
            some.iter()
                .for_each(|(key, value)| same(value, &others[key]));
        }
        (Value::Array(some), Value::Array(others)) => {
            assert_eq!(some.len(), others.len());
            some.iter()
                .zip(others)
                .for_each(|(some, other)| same(some, other));
        }
        // Numbers that were read back from the cache may differ in their last digit.
        (Value::Number(_), Value::Number(_)) => {
            let (left, right) = (number(left), number(right));
            assert!(
                (left - right).abs() <= 1e-12 * left.abs(),
                "{left} against {right}"
            );
        }
        _ => assert_eq!(left, right),
    }
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn every_layer_has_a_number_at_every_option() {
    let place = Place::new();
    let document = place.json(&words(&[]));
    let keys = [
        "options",
        "layers",
        "measure",
        "agreement",
        "anchors",
        "cache",
        "seconds",
        "reused",
    ];
    has_keys(&document, &keys);
    assert_eq!(document["measure"], "kl");
    assert_eq!(document["missing"], 0);
    assert!(document.get("reason").is_none(), "{}", document["reason"]);
    let options = document["options"].as_array().unwrap();
    assert_eq!(options.len(), 19, "{options:?}");
    assert_eq!(options.last().unwrap(), "dense");
    let layers = document["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 21);
    for layer in layers {
        let errors = layer["errors"].as_object().unwrap();
        assert_eq!(errors.len(), options.len(), "{layer:#}");
        for (option, error) in errors {
            for key in [
                "output_error",
                "relative_output_error",
                "predicted_kl",
                "gradient_loss",
                "bytes",
            ] {
                let found = &error[key];
                assert!(number(found) >= 0.0, "{key} at {option}: {error}");
            }
        }
        assert_eq!(number(&errors["dense"]["predicted_kl"]), 0.0);
        let (two, eight) = (&errors["2/32"], &errors["8/32"]);
        assert!(
            number(&two["predicted_kl"]) > number(&eight["predicted_kl"]),
            "{layer:#}"
        );
        assert!(number(&two["bytes"]) < number(&eight["bytes"]), "{layer:#}");
        let probes = layer["probes"].as_array().unwrap();
        let probed: Vec<&str> = probes
            .iter()
            .map(|probe| probe["option"].as_str().unwrap())
            .collect();
        assert_eq!(probed, ["2/32", "3/32", "4/32"]);
        probes
            .iter()
            .for_each(|probe| assert!(number(&probe["measured_kl"]).is_finite()));
    }
    let anchors = document["anchors"].as_array().unwrap();
    assert_eq!(anchors.len(), 4);
    for anchor in anchors {
        assert!(number(&anchor["measured_kl"]) > 0.0 && number(&anchor["predicted_kl"]) > 0.0);
    }
    has_keys(
        &document["agreement"],
        &["pairs", "rank_correlation", "median_ratio"],
    );
    its_bytes_are_those_of_a_dry_run(&place, layers);
    what_is_known_is_not_asked_again(&place, document);
}

fn its_bytes_are_those_of_a_dry_run(place: &Place, layers: &[Value]) {
    let words = [
        "compress",
        "sample",
        "--dry-run",
        "--bits",
        "3",
        "--group",
        "32",
    ];
    let dry = place.json(&words);
    for layer in layers {
        let of_dry = dry["layers"].as_array().unwrap().iter();
        let found = of_dry
            .clone()
            .find(|dry| dry["name"] == layer["name"])
            .unwrap();
        assert_eq!(
            found["bytes"], layer["errors"]["3/32"]["bytes"],
            "{}",
            layer["name"]
        );
    }
}

fn what_is_known_is_not_asked_again(place: &Place, first: Value) {
    assert_eq!(first["reused"], 0);
    let again = place.json(&words(&["--threads", "1", "--out", "table.json"]));
    assert!(
        number(&again["reused"]) >= 21.0 * 18.0,
        "{}",
        again["reused"]
    );
    let written: Value =
        serde_json::from_slice(&fs::read(place.path("table.json")).unwrap()).unwrap();
    assert!(written == again, "the file is not what was answered");
    same(&lasting(again), &lasting(first));
    let outcome = place.run(&words(&["--quiet"]));
    assert_eq!(outcome.stderr, "");
    let page = outcome.page();
    for expected in ["down_proj", "4/32", "agreement", "kept"] {
        assert!(page.contains(expected), "{expected:?}: {page}");
    }
}

#[test]
fn threads_change_no_number() {
    let of = |threads: &str| {
        let place = Place::new();
        lasting(place.json(&words(&[
            "--threads",
            threads,
            "--options",
            "2,4,dense",
            "--anchors",
            "4",
        ])))
    };
    same(&of("1"), &of("2"));
}

#[test]
fn only_what_is_asked_is_done() {
    let place = Place::new();
    let cheap = words(&[
        "--solver",
        "rtn",
        "--gain",
        "none",
        "--options",
        "3,4/64",
        "--anchors",
        "4/64",
    ]);
    let document = place.json(&cheap);
    assert_eq!(
        document["options"],
        serde_json::json!(["3/32", "4/64", "dense"])
    );
    assert!(document["agreement"].is_null());
    let reason = document["reason"].as_str().unwrap();
    assert!(reason.contains("agreement: "), "{reason}");
    assert_eq!(document["anchors"].as_array().unwrap().len(), 1);
    let layer = &document["layers"][0];
    assert_eq!(layer["probes"], serde_json::json!([]));
    let cell = &layer["errors"]["3/32"];
    assert_eq!(cell["method"], "rtn");
    assert!(cell["gradient_loss"].is_null(), "{cell}");
    assert!(
        cell["reason"].as_str().unwrap().contains("gradient_loss: "),
        "{cell}"
    );
    assert!(
        cell["predicted_kl"].is_null(),
        "nothing ties it to a loss: {cell}"
    );
    let page = place.run(&cheap);
    assert!(page.page().contains("rank layers"), "{page:?}");

    let ends = place.json(&[&cheap[..], &["--embeddings"]].concat());
    let names: Vec<&str> = ends["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"model.embed_tokens"), "{names:?}");
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let place = Place::new();
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--options", "4/64,five"], &["five", "4/64", "dense"]),
        (&["--options", "9"], &["`9`", "2 to 8"]),
        (&["--probes", "1/64"], &["1/64"]),
        (
            &["--gain", "magic"],
            &["magic", "measured", "gradient", "none"],
        ),
        (&["--gain", "none,gradient"], &["--gain"]),
        (
            &["--gain", "gradient", "--probes", "4"],
            &["--probes", "--gain"],
        ),
        (&["--solver", "gptq"], &["own", "rtn"]),
        (&["--slice-sequences", "0"], &["--slice-sequences"]),
    ];
    for (flags, expected) in cases {
        place.run(&words(flags)).refused(2, expected);
    }
    place
        .run(&words(&["--out", "no/such/t.json"]))
        .refused(1, &["no/such/t.json"]);
    place
        .run(&words(&["--slice-corpus", "absent.txt"]))
        .refused(1, &["absent.txt"]);
}

#[test]
fn without_a_text_nothing_is_told() {
    let place = Place::new();
    let model = place.json(&["inspect", "sample"])["model"].clone();
    let model = model.as_str().unwrap();
    for words in [
        &["sensitivity", model][..],
        &[
            "allocate",
            model,
            "--bits-per-weight",
            "4",
            "--out",
            "r.toml",
        ],
    ] {
        place.run(words).refused(2, &["--corpus"]);
    }
    assert!(!place.path("r.toml").exists());
}

#[cfg(unix)]
#[test]
fn a_stopped_run_goes_on_from_the_layers_it_has() {
    let place = Place::new();
    // A machine that is through before the signal arrives gets more to do.
    for length in ["64", "128", "256"] {
        let words = [
            &["sensitivity", "sample", "--slice-length", length][..],
            &QUICK,
        ]
        .concat();
        let words = &words[..];
        let is_judging = || judged_layers(&place) > 2;
        let Some(outcome) = interrupt::once(&place, words, is_judging) else {
            fs::remove_dir_all(place.path("cache")).unwrap();
            continue;
        };
        outcome.refused(130, &["the same command goes on", "cache"]);
        let document = place.json(words);
        let reused = document["reused"].as_u64().unwrap();
        assert!((1..21 * 18).contains(&reused), "{reused} cells were there");
        assert_eq!(document["missing"], 0);
        let fresh = Place::new();
        same(&lasting(fresh.json(words)), &lasting(document));
        return;
    }
    println!("skipped: this machine is too quick to be interrupted");
}

/// Layers whose errors by the recipe's method are kept in the cache.
#[cfg(unix)]
fn judged_layers(place: &Place) -> usize {
    let moments = place.path("cache/pare/moments");
    let is_judged = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("sensitivity-")
            && name.ends_with(".json")
            && fs::read_to_string(path).is_ok_and(|row| row.contains("gptq"))
    };
    let entries = names(&moments).into_iter().map(|entry| moments.join(entry));
    let files = entries.flat_map(|entry| {
        let names = names(&entry).into_iter();
        names.map(move |name| entry.join(name)).collect::<Vec<_>>()
    });
    files.filter(|path| is_judged(path)).count()
}

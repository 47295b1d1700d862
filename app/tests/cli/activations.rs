//! `pare compress --activations`: what is told, what is kept, and what containers refuse.

use crate::place::{Place, QUICK};
use serde_json::Value;

const W8: [&str; 4] = ["--method", "rtn", "--bits", "8"];

/// What a run of the sample with these words says of its first quantized layer.
fn first_layer(place: &Place, out: &str, words: &[&str]) -> Value {
    let document = place.compress(out, &[&W8[..], words].concat());
    let layers = document["layers"].as_array().unwrap();
    let quantized = layers.iter().find(|layer| layer["method"] != "none");
    quantized.unwrap().clone()
}

#[test]
fn inputs_are_rounded_as_asked_and_the_model_opens_again() {
    let place = Place::new();
    let cases: [(&str, &[&str], &str, u64, bool); 4] = [
        ("floats", &[], "none", 0, false),
        (
            "token",
            &["--activations", "dynamic8"],
            "dynamic8",
            0,
            false,
        ),
        (
            "block",
            &["--activations", "dynamic8", "--activation-block", "32"],
            "dynamic8",
            32,
            false,
        ),
        (
            "static",
            &["--activations", "static8", "--smooth", "0.5"],
            "static8",
            0,
            true,
        ),
    ];
    for (out, words, mode, block, has_step) in cases {
        let layer = first_layer(&place, out, words);
        let found = &layer["activations"];
        assert_eq!(found["mode"], mode, "{out}");
        assert_eq!(found["block"], block, "{out}");
        let step = found["static_step"].as_f64();
        assert_eq!(step.is_some_and(|step| step > 0.0), has_step, "{out}");
        let recipe = std::fs::read_to_string(place.path(out).join(".pare/recipe.toml")).unwrap();
        assert!(
            recipe.contains(&format!("activations = \"{mode}\"")),
            "{recipe}"
        );
        let text = place.text();
        let words = ["evaluate", out, "--corpus", &text, "--length", "64"];
        assert!(place.json(&words)["perplexity"].as_f64().unwrap() > 1.0);
    }
}

#[test]
fn a_dry_run_shows_how_inputs_are_rounded_in_the_bytes_that_are_written() {
    let place = Place::new();
    let asked = ["--activations", "static8"];
    let words = [
        &["compress", "sample", "--dry-run"][..],
        &QUICK,
        &W8,
        &asked,
    ]
    .concat();
    let page = place.run(&words);
    assert!(page.page().contains("static8"), "{page:?}");
    let dry = place.json(&words);
    let wet = place.compress("out", &[&W8[..], &asked].concat());
    assert_eq!(dry["bytes_after"], wet["bytes_after"]);
}

#[test]
fn containers_of_weights_alone_say_so() {
    let place = Place::new();
    let asked = ["--activations", "dynamic8", "--format", "gptq"];
    let layer = first_layer(&place, "out", &asked);
    assert_eq!(layer["activations"]["mode"], "none");
    assert_eq!(layer["fallback"]["from"], "activations dynamic8");
    let strict = [
        &["compress", "sample", "--out", "strict"][..],
        &QUICK,
        &W8,
        &asked,
    ]
    .concat();
    let strict = [&strict[..], &["--strict"]].concat();
    place
        .run(&strict)
        .refused(1, &["gptq has no place for rounded inputs"]);
}

#[test]
fn wrong_words_are_refused_by_name() {
    let place = Place::new();
    for (flag, word) in [
        ("--activations", "int8"),
        ("--activation-block", "64"),
        ("--smooth", "1.5"),
    ] {
        let outcome = place.run(&["compress", "sample", "--dry-run", flag, word]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(flag), "{outcome:?}");
    }
}

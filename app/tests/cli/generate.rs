//! `pare generate`.

use crate::place::{Place, has_keys};

const WORDS: [&str; 6] = [
    "generate",
    "sample",
    "--prompt",
    "Once upon a time",
    "--tokens",
    "8",
];

#[test]
fn greedy_text_is_the_same_each_time() {
    let place = Place::new();
    let document = place.json(&WORDS);
    has_keys(
        &document,
        &[
            "text",
            "prompt_tokens",
            "new_tokens",
            "prefill_tokens_per_second",
            "decode_tokens_per_second",
            "kv",
            "kv_bytes",
        ],
    );
    let text = document["text"].as_str().unwrap();
    let page = place.run(&WORDS);
    assert_eq!(
        page.page().trim_end(),
        text.trim_end(),
        "what is shown is what is answered"
    );
    assert!(document["new_tokens"].as_u64().unwrap() <= 8);
}

#[test]
fn a_seed_decides_what_is_drawn() {
    let place = Place::new();
    let draw = |seed| {
        let words = [&WORDS[..], &["--temperature", "1.5", "--seed", seed]].concat();
        place.json(&words)["text"].clone()
    };
    assert_eq!(draw("3"), draw("3"));
    let seeds = ["1", "2", "3", "4"].map(draw);
    assert!(seeds.iter().any(|text| *text != seeds[0]), "{seeds:?}");
}

#[test]
fn a_draw_among_one_token_is_the_likeliest() {
    let place = Place::new();
    let greedy = place.json(&WORDS)["text"].clone();
    for bound in [["--top-k", "1"], ["--top-p", "0.000001"]] {
        let words = [&WORDS[..], &["--temperature", "1.5", "--seed", "9"], &bound].concat();
        assert_eq!(place.json(&words)["text"], greedy, "{bound:?}");
    }
    for (bound, expected) in [(["--top-k", "0"], "--top-k"), (["--top-p", "0"], "--top-p")] {
        let words = [&WORDS[..], &bound].concat();
        place.run(&words).refused(2, &[expected]);
    }
}

#[test]
fn threads_change_no_text() {
    let place = Place::new();
    let draw = |threads| {
        let words = [
            "--temperature",
            "0.9",
            "--top-p",
            "0.9",
            "--threads",
            threads,
        ];
        place.json(&[&WORDS[..], &words].concat())["text"].clone()
    };
    assert_eq!(draw("1"), draw("2"));
}

#[test]
fn narrow_caches_take_fewer_bytes() {
    let place = Place::new();
    let bytes = ["f32", "f16", "int8"].map(|kind| {
        let document = place.json(&[&WORDS[..], &["--kv", kind]].concat());
        assert_eq!(document["kv"], kind);
        document["kv_bytes"].as_u64().unwrap()
    });
    assert_eq!(bytes[1] * 2, bytes[0], "{bytes:?}");
    assert!(bytes[2] > bytes[0] / 4 && bytes[2] < bytes[1], "{bytes:?}");
}

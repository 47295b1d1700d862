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

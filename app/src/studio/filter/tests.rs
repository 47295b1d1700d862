//! Filters over one layer whose facts are known.

#![allow(clippy::unwrap_used)]
use super::*;

const DOWN: Facts<'_> = Facts {
    name: "model.layers.3.mlp.down_proj",
    role: "down",
    block: Some(3),
    method: "gptq",
    bits: Some(4),
    group: 64,
    sparsity: 0.5,
    prune: "wanda",
    pattern: "2:4",
    bits_per_weight: 4.25,
    bytes: 2_000_000,
    parameters: 4_000_000,
    error: Some(0.02),
    locked: false,
    selected: true,
};

#[test]
fn filters_do_what_they_say() {
    let cases = [
        ("", true),
        ("DOWN", true),
        ("gate", false),
        ("-gate", true),
        ("re:mlp\\.(up|down)_proj$", true),
        ("re:^down", false),
        ("bits<4", false),
        ("bits<=4 error>1e-2 role:mlp", true),
        ("bits=4 error>1e-1", false),
        ("role:attn", false),
        ("role:down", true),
        ("block:3", true),
        ("block:0-2", false),
        ("size>1MB size<3mb", true),
        ("bpw>=4.25", true),
        ("bits!=4", false),
        ("method:gptq selected", true),
        ("prune:wanda pattern:2:4 sparsity>=0.5", true),
        ("prune:none", false),
        ("zeros>50", false),
        ("locked", false),
        ("-dense", true),
    ];
    for (text, expected) in cases {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(filter.passes(&DOWN), expected, "{text:?}");
    }
}

#[test]
fn unknown_numbers_pass_no_comparison() {
    let dense = Facts {
        bits: None,
        error: None,
        ..DOWN
    };
    for text in ["bits<9", "bits>0", "error<1", "error>0"] {
        assert!(!Filter::parse(text).unwrap().passes(&dense), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    let cases = [
        ("re:(", "unclosed group"),
        ("bits<x", "Not a number after bits<"),
        ("colour=3", "Unknown field colour"),
        ("block:a", "Not a block"),
    ];
    for (text, expected) in cases {
        let error = Filter::parse(text).unwrap_err().problem;
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn chips_come_off_one_by_one() {
    let filter = Filter::parse("bits<4  -locked re:a b").unwrap();
    assert_eq!(
        filter.chips().collect::<Vec<_>>(),
        ["bits<4", "-locked", "re:a b"]
    );
    assert_eq!(filter.without(1), "bits<4 re:a b");
}

#[test]
fn hits_are_where_the_words_are() {
    let filter = Filter::parse("down -up").unwrap();
    let hits = filter.hits("mlp.down_proj down");
    let hits: Vec<_> = hits.iter().map(|hit| (hit.start, hit.end)).collect();
    assert_eq!(hits, [(4, 8)], "the first place of a word");
}

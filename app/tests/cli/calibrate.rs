//! `pare calibrate`.

use crate::place::{Place, has_keys};
use std::path::Path;

#[test]
fn statistics_are_gathered_once() {
    let place = Place::new();
    let words = ["calibrate", "sample", "--sequences", "4", "--length", "32"];
    let first = place.json(&words);
    has_keys(
        &first,
        &["sequences", "tokens", "cache", "bytes", "seconds", "reused"],
    );
    assert_eq!(
        (&first["sequences"], &first["tokens"]),
        (&4.into(), &128.into())
    );
    assert_eq!(first["reused"], false);
    assert!(Path::new(first["cache"].as_str().unwrap()).exists());
    let second = place.json(&words);
    assert_eq!(second["reused"], true);
    assert_eq!(second["bytes"], first["bytes"]);
    let other_seed = place.json(&[&words[..], &["--seed", "1"]].concat());
    assert_eq!(other_seed["reused"], false);
}

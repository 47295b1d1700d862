//! `pare export`.

use crate::place::{Place, files, has_keys, same_bytes};

#[test]
fn a_run_is_exported_without_solving_again() {
    let place = Place::new();
    place.compress("run", &["--method", "rtn"]);
    for format in ["dense", "gptq", "pare"] {
        let document = place.json(&["export", "run", "--format", format, "--out", format]);
        has_keys(&document, &["out", "format", "bytes", "verified"]);
        has_keys(&document["verified"], &["tensors", "max_abs_difference"]);
        let written: u64 = files(&place.path(format))
            .values()
            .map(|content| content.len() as u64)
            .sum();
        assert_eq!(document["bytes"], written, "{format}");
        place.json(&["inspect", format]);
    }
}

#[test]
fn an_export_equals_a_run_in_that_format() {
    let place = Place::new();
    place.compress("run", &["--method", "rtn"]);
    for format in ["dense", "gptq"] {
        let direct = format!("{format}-direct");
        place.compress(&direct, &["--method", "rtn", "--format", format]);
        let exported = format!("{format}-exported");
        place.json(&["export", "run", "--format", format, "--out", &exported]);
        same_bytes(&place.path(&direct), &place.path(&exported));
    }
}

#[test]
fn only_a_run_can_be_exported() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    place
        .run(&["export", "empty", "--format", "dense", "--out", "out"])
        .refused(1, &["empty"]);
    assert!(!place.path("out").exists());
}

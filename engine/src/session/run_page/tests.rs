//! Runs, exports and what is neither.

#![allow(clippy::unwrap_used)]
#![expect(
    clippy::disallowed_methods,
    reason = "runs are made by hand here, damaged ones too"
)]

use super::*;
use crate::monitor::Unwatched;
use std::fs;

const REPORT: &str = r#"{"out":"run","format":"pare","bytes_before":100,"bytes_after":30,"bits_per_weight":4.25,
"seconds":1.5,"peak_rss_bytes":1000,"recipe":"version = 1\n","stages":[],"layers":[],"verified":{"tensors":1,
"max_abs_difference":0.0},"evaluation":null,"warnings":["a rule hits no layer"]}"#;

const EXPORT: &str = r#"{"out":"run","format":"gptq","bytes":30,"verified":{"tensors":1,"max_abs_difference":0.0},
"fallbacks":[{"name":"lm_head","fallback":{"from":"gptq","to":"dense","reason":"loaders expect it"}}]}"#;

/// A run with these files in `.pare`.
fn run_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let own = place.path().join("run/.pare");
    fs::create_dir_all(&own).unwrap();
    fs::write(place.path().join("run/model.safetensors"), b"abc").unwrap();
    for (name, content) in files {
        fs::write(own.join(name), content).unwrap();
    }
    place
}

fn asked(place: &tempfile::TempDir, run: &str) -> ReportRequest {
    ReportRequest {
        run: place.path().join(run),
        out: place.path().join("page.html"),
        csv: None,
        allocation: None,
    }
}

#[test]
fn a_run_is_reported_with_the_hash_of_every_file() {
    let place = run_with(&[("report.json", REPORT), ("recipe.toml", "version = 1\n")]);
    let request = asked(&place, "run");
    let written = write_report(&request, &Unwatched).unwrap();
    let html = fs::read_to_string(&request.out).unwrap();
    assert_eq!(written.bytes, html.len() as u64);
    // SHA-256 of `abc`, FIPS 180-2.
    assert!(html.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    for text in [
        "a rule hits no layer",
        ".pare/recipe.toml",
        ".pare/report.json",
        "version = 1",
    ] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn the_same_run_gives_the_same_bytes_wherever_the_page_lies() {
    let place = run_with(&[("report.json", REPORT)]);
    let outside = asked(&place, "run");
    write_report(&outside, &Unwatched).unwrap();
    let inside = ReportRequest {
        out: place.path().join("run/page.html"),
        ..outside.clone()
    };
    for _ in 0..2 {
        write_report(&inside, &Unwatched).unwrap();
        assert_eq!(
            fs::read(&outside.out).unwrap(),
            fs::read(&inside.out).unwrap()
        );
    }
}

#[test]
fn an_export_is_reported_by_what_it_found() {
    let place = run_with(&[("export.json", EXPORT)]);
    write_report(&asked(&place, "run"), &Unwatched).unwrap();
    let html = fs::read_to_string(place.path().join("page.html")).unwrap();
    for text in ["in format gptq", "lm_head", "loaders expect it"] {
        assert!(html.contains(text), "{text}");
    }
    // With the report of the run that it was made of, it tells that run's figures too.
    let place = run_with(&[("export.json", EXPORT), ("origin.json", REPORT)]);
    write_report(&asked(&place, "run"), &Unwatched).unwrap();
    let html = fs::read_to_string(place.path().join("page.html")).unwrap();
    for text in [
        "in format gptq",
        "100\u{202f}B → 30\u{202f}B",
        "that this was exported from",
    ] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn a_front_is_drawn_where_an_allocation_is_named() {
    let place = run_with(&[("report.json", REPORT)]);
    let allocation = place.path().join("allocation.json");
    fs::write(&allocation, r#"{"front":[{"bytes":20,"predicted_kl":0.5},{"bytes":10,"predicted_kl":1.0},{"bytes":5,"predicted_kl":null}]}"#).unwrap();
    let request = ReportRequest {
        allocation: Some(allocation.clone()),
        ..asked(&place, "run")
    };
    write_report(&request, &Unwatched).unwrap();
    let html = fs::read_to_string(&request.out).unwrap();
    assert!(html.contains("Size and loss that were possible"));
    fs::write(&allocation, "[]").unwrap();
    let error = write_report(&request, &Unwatched).unwrap_err().to_string();
    assert!(error.contains("pare allocate --json"), "{error}");
}

#[test]
fn what_is_no_finished_run_is_told_plainly() {
    let place = run_with(&[("report.json", "{\"layers\": [1"), ("recipe.toml", "")]);
    fs::create_dir_all(place.path().join("half.partial/.pare")).unwrap();
    fs::create_dir_all(place.path().join("plain")).unwrap();
    fs::create_dir_all(place.path().join("kept/.pare")).unwrap();
    fs::create_dir_all(place.path().join("other/.pare")).unwrap();
    fs::write(place.path().join("other/.pare/report.json"), "{}").unwrap();
    let cases = [
        ("run", "damaged"),
        ("half", "--resume"),
        ("half.partial", "--resume"),
        ("plain", "no run"),
        ("kept", "no report"),
        ("other", "no kind"),
        ("nowhere", "could not be found"),
        ("run/model.safetensors", "this is a file"),
    ];
    for (run, expected) in cases {
        let error = write_report(&asked(&place, run), &Unwatched)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected),
            "expected {expected:?} of {run}: {error}"
        );
        assert!(!place.path().join("page.html").exists(), "{run}");
    }
}

#[test]
fn without_layers_there_is_no_table_of_them() {
    let place = run_with(&[("report.json", REPORT)]);
    let request = ReportRequest {
        csv: Some(place.path().join("layers.csv")),
        ..asked(&place, "run")
    };
    let error = write_report(&request, &Unwatched).unwrap_err().to_string();
    assert!(error.contains("--csv"), "{error}");
    assert!(!place.path().join("layers.csv").exists() && !request.out.exists());
}

#[cfg(unix)]
#[test]
fn links_are_told_and_not_followed() {
    let place = run_with(&[("report.json", REPORT)]);
    std::os::unix::fs::symlink("/etc", place.path().join("run/there")).unwrap();
    write_report(&asked(&place, "run"), &Unwatched).unwrap();
    let html = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(html.contains("there") && html.contains("not followed") && !html.contains("passwd"));
}

//! `pare report`: the page of a run, and what is no run.

use crate::place::{Place, has_keys};
use std::fs;

/// A page that a browser takes: closed in order, nothing from elsewhere, no script.
fn check_page(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>\n") && html.ends_with("</html>\n"));
    for word in ["<script", "src=\"", "href=", "url(", "@import"] {
        assert!(!html.contains(word), "{word} in the page");
    }
    for element in ["svg", "table", "section", "figure", "pre"] {
        let open = html.matches(&format!("<{element}")).count();
        let closed = html.matches(&format!("</{element}>")).count();
        assert_eq!(open, closed, "{element}");
    }
}

#[test]
fn the_run_of_the_sample_is_reported() {
    let place = Place::new();
    place.compress("run", &["--method", "rtn"]);
    let document = place.json(&["report", "run", "--out", "a.html", "--csv", "layers.csv"]);
    has_keys(&document, &["out", "bytes", "csv", "csv_bytes"]);
    let html = fs::read_to_string(place.path("a.html")).unwrap();
    assert_eq!(document["bytes"], html.len() as u64);
    check_page(&html);
    for text in [
        "±",
        "SHA-256",
        ".pare/recipe.toml",
        "text.txt",
        "model.layers.0.mlp.up_proj",
        "[calibration]",
    ] {
        assert!(html.contains(text), "{text}");
    }
    let csv = fs::read_to_string(place.path("layers.csv")).unwrap();
    assert!(csv.starts_with("layer,method,bits_per_code,"), "{csv}");
    // The same run, and so the same bytes; beside the run where no place is named.
    let document = place.json(&["report", "run"]);
    assert!(
        document["out"].as_str().unwrap().ends_with("run.html"),
        "{document}"
    );
    assert!(
        document["reason"].as_str().unwrap().contains("--csv"),
        "{document}"
    );
    assert_eq!(fs::read_to_string(place.path("run.html")).unwrap(), html);
    place.json(&["export", "run", "--format", "gptq", "--out", "exported"]);
    place.json(&["report", "exported"]);
    let html = fs::read_to_string(place.path("exported.html")).unwrap();
    check_page(&html);
    assert!(
        html.contains("exported in format gptq"),
        "an export says what it is"
    );
}

#[test]
fn names_of_layers_are_text() {
    let place = Place::new();
    place.compress("run", &["--method", "rtn"]);
    let report = place.path("run/.pare/report.json");
    let text = fs::read_to_string(&report).unwrap();
    let hostile = "</td><script src='//x'>1</script>";
    fs::write(&report, text.replace("model.layers.0.mlp.up_proj", hostile)).unwrap();
    place.json(&["report", "run", "--csv", "layers.csv"]);
    let html = fs::read_to_string(place.path("run.html")).unwrap();
    check_page(&html);
    assert!(html.contains("&lt;/td&gt;&lt;script src=&#39;//x&#39;&gt;"));
}

#[test]
fn what_was_not_measured_says_so() {
    let place = Place::new();
    place.json(&[
        "compress",
        "sample",
        "--method",
        "none",
        "--neurons",
        "0.25",
        "--format",
        "dense",
        "--out",
        "smaller",
        "--sequences",
        "4",
        "--length",
        "32",
    ]);
    place.json(&["report", "smaller"]);
    let html = fs::read_to_string(place.path("smaller.html")).unwrap();
    check_page(&html);
    assert!(html.contains("The smaller network"));
    let report = place.path("smaller/.pare/report.json");
    let mut document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
    document["evaluation"] = serde_json::Value::Null;
    fs::write(&report, document.to_string()).unwrap();
    place.json(&["report", "smaller"]);
    let html = fs::read_to_string(place.path("smaller.html")).unwrap();
    check_page(&html);
    assert!(html.contains("not measured: no text to evaluate on was named"));
}

#[test]
fn what_is_no_run_is_refused() {
    let place = Place::new();
    fs::create_dir_all(place.path("half.partial/.pare")).unwrap();
    fs::create_dir_all(place.path("damaged/.pare")).unwrap();
    fs::write(place.path("damaged/.pare/report.json"), "{\"layers\": [").unwrap();
    fs::create_dir(place.path("plain")).unwrap();
    let cases = [
        ("half", "--resume"),
        ("damaged", "damaged"),
        ("plain", "no run"),
        ("nowhere", "nowhere"),
    ];
    for (run, word) in cases {
        place
            .run(&["report", run, "--out", "page.html"])
            .refused(1, &[word]);
        assert!(!place.path("page.html").exists(), "{run}");
    }
    place
        .run(&["report", "plain", "--out", "model.safetensors"])
        .refused(2, &[".html"]);
}

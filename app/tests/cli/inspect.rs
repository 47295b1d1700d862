//! `pare inspect`.

use crate::place::{Place, has_keys, shared};

#[test]
fn the_sample_from_headers_alone() {
    let document = Place::new().json(&["inspect", "sample"]);
    has_keys(
        &document,
        &[
            "model",
            "family",
            "parameters",
            "bytes",
            "dtypes",
            "context_length",
            "layers",
        ],
    );
    let layers = document["layers"].as_array().unwrap();
    let keys = [
        "name",
        "role",
        "block",
        "shape",
        "dtype",
        "parameters",
        "bytes",
        "compressible",
    ];
    for layer in layers {
        has_keys(layer, &keys);
    }
    assert!(layers.iter().any(|layer| layer["compressible"] == true));
}

#[test]
fn the_page_names_every_layer() {
    let place = Place::new();
    let document = place.json(&["inspect", "sample"]);
    let outcome = place.run(&["inspect", "sample"]);
    for layer in document["layers"].as_array().unwrap() {
        let name = layer["name"].as_str().unwrap();
        assert!(outcome.page().contains(name), "{name}");
    }
}

#[test]
fn every_golden_family_is_known() {
    for family in [
        "llama", "qwen3", "gpt2", "bert", "phi3", "gemma3", "opt", "gpt_neox",
    ] {
        if let Some(model) = shared(&format!("golden/{family}")) {
            let document = Place::new().json(&["inspect", &model]);
            assert!(document["family"].is_string(), "{family}: {document:#}");
        }
    }
}

#[test]
fn an_unpacked_sample_is_used_again_and_mended() {
    let place = Place::new();
    let first = place.json(&["inspect", "sample"]);
    let folder = std::path::PathBuf::from(first["model"].as_str().unwrap());
    std::fs::write(folder.join("config.json"), "damaged").unwrap();
    assert_eq!(place.json(&["inspect", "sample"]), first);
}

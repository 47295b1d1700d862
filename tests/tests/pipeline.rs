//! Whole runs on small models: every golden family, every method and format, networks that nobody knows, bad input.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use pare_engine::formats::Format;
use pare_engine::moments::Prefix;
use pare_engine::recipe::Overrides;
use pare_engine::report::LayerReport;
use pare_engine::session::{CalibrationRequest, CompressReport, CompressRequest, SessionError};
use pare_engine::solved::Method;
use pare_tests::checkpoint::write_ids;
use pare_tests::sessions::{Quiet, Workshop, differing, files_of, shared};
use safetensors::SafeTensors;
use serde_json::json;
use std::path::{Path, PathBuf};

fn compress(
    workshop: &Workshop,
    request: &CompressRequest,
) -> Result<CompressReport, SessionError> {
    workshop
        .open(&workshop.model())?
        .compress(request, &Quiet::default())
}

/// What a bad request is answered with.
fn failure(answer: Result<CompressReport, SessionError>) -> String {
    match answer {
        Ok(_) => panic!("a bad request was served"),
        Err(error) => error.to_string(),
    }
}

/// Bytes of a run's files outside `.pare`.
fn model_bytes(out: &Path) -> u64 {
    files_of(out)
        .iter()
        .filter(|(name, _)| !name.starts_with(".pare"))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

fn golden_families() -> Vec<PathBuf> {
    let Some(folder) = shared("golden") else {
        return Vec::new();
    };
    let mut families: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("golden.safetensors").exists())
        .collect();
    families.sort();
    families
}

#[test]
fn every_golden_family_is_compressed_and_runs_when_reopened() {
    for family in golden_families() {
        let workshop = Workshop::new();
        let session = workshop.open(&family).unwrap();
        let vocabulary = session.model().unwrap().config().vocabulary;
        write_ids(&workshop.ids(), vocabulary, 512, 3).unwrap();
        for method in [Method::Rtn, Method::Gptq] {
            let place = format!("{} {}", family.display(), method.word());
            let request =
                workshop.request(workshop.recipe(method, 4, 32), method.word(), Format::Pare);
            let report = session
                .compress(&request, &Quiet::default())
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(
                report.layers.iter().any(|layer| layer.method == method),
                "{place}"
            );
            assert_eq!(report.verified.max_abs_difference, 0.0, "{place}");
            for layer in &report.layers {
                let error = layer.relative_output_error.unwrap_or(0.0);
                assert!(error < 0.5, "{place}: {} has the error {error}", layer.name);
            }
            assert_outputs_are_finite(
                &workshop,
                &request.out,
                &family.join("golden.safetensors"),
                &place,
            );
        }
    }
}

fn assert_outputs_are_finite(workshop: &Workshop, model: &Path, ids: &Path, place: &str) {
    let out = workshop.path("outputs.safetensors");
    let session = workshop.open(model).unwrap();
    session
        .logits(ids, &out, &Quiet::default())
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    let bytes = std::fs::read(&out).unwrap();
    let outputs = SafeTensors::deserialize(&bytes).unwrap();
    for (name, view) in outputs.tensors() {
        let finite = view
            .data()
            .chunks_exact(4)
            .all(|value| f32::from_le_bytes(value.try_into().unwrap()).is_finite());
        assert!(finite, "{place}: {name} is not finite");
    }
}

#[test]
fn every_method_and_format_writes_what_its_dry_run_said() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    for method in [
        Method::Rtn,
        Method::Gptq,
        Method::Awq,
        Method::Hqq,
        Method::Nf4,
        Method::None,
    ] {
        for format in [Format::Pare, Format::Dense, Format::Gptq] {
            let place = format!("{} as {}", method.word(), format.word());
            let out = format!("{}-{}", method.word(), format.word());
            let request = workshop.request(workshop.recipe(method, 4, 32), &out, format);
            let planned = session
                .dry_run(&request)
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(!request.out.exists(), "{place}: a dry run wrote something");
            let report = session
                .compress(&request, &Quiet::default())
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(planned.bytes_after, report.bytes_after, "{place}");
            assert_eq!(model_bytes(&request.out), report.bytes_after, "{place}");
            workshop.open(&request.out).unwrap().model().unwrap();
        }
    }
}

#[test]
fn scales_of_whole_rows_are_written_as_planned_by_every_method() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    for method in Method::ALL {
        let place = format!("{} of whole rows", method.word());
        let request = workshop.request(workshop.recipe(method, 4, 0), method.word(), Format::Pare);
        let planned = session.dry_run(&request).unwrap();
        let report = session
            .compress(&request, &Quiet::default())
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(planned.bytes_after, report.bytes_after, "{place}");
    }
}

#[test]
fn calibrated_methods_beat_plain_rounding_on_what_layers_put_out() {
    let workshop = Workshop::new();
    let error = |method| {
        let request = workshop.request(workshop.recipe(method, 3, 32), method.word(), Format::Pare);
        let layers = compress(&workshop, &request).unwrap().layers;
        let total: f64 = layers
            .iter()
            .filter_map(|layer| layer.relative_output_error)
            .sum();
        total / layers.len() as f64
    };
    let (plain, gptq) = (error(Method::Rtn), error(Method::Gptq));
    assert!(gptq < 0.95 * plain, "GPTQ {gptq}, RTN {plain}");
}

#[test]
fn embeddings_and_head_are_quantized_when_the_recipe_says_so() {
    let workshop = Workshop::new();
    let methods = |bits: Option<u8>, out: &str| -> Vec<Method> {
        let mut recipe = workshop.recipe(Method::Rtn, 4, 32);
        recipe.embeddings = bits.map(|bits| Overrides {
            bits: Some(bits),
            ..Overrides::default()
        });
        let request = workshop.request(recipe, out, Format::Pare);
        let is_end =
            |layer: &&LayerReport| layer.name.contains("embed") || layer.name.contains("lm_head");
        let layers = compress(&workshop, &request).unwrap().layers;
        layers
            .iter()
            .filter(is_end)
            .map(|layer| layer.method)
            .collect()
    };
    assert!(
        methods(None, "left")
            .iter()
            .all(|method| *method == Method::None)
    );
    for bits in [8, 6, 4] {
        let found = methods(Some(bits), &format!("ends-{bits}"));
        assert_eq!(found, [Method::Rtn, Method::Rtn], "{bits} bits");
    }
}

#[test]
fn original_prefix_moments_are_cached_and_a_hit_gives_the_same_bytes() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let run = |out: &str| {
        let mut recipe = workshop.recipe(Method::Gptq, 4, 32);
        recipe.default.prefix = Prefix::Original;
        let request = workshop.request(recipe, out, Format::Pare);
        session.compress(&request, &Quiet::default()).unwrap();
        files_of(&request.out)
    };
    let miss = run("miss");
    let settings = workshop.recipe(Method::Gptq, 4, 32).calibration;
    let report = session
        .calibrate(&CalibrationRequest { settings }, &Quiet::default())
        .unwrap();
    assert!(report.reused && report.bytes > 0, "{report:?}");
    let differing = differing(&miss, &run("hit"));
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn a_network_nobody_knows_is_compressed_without_data_and_only_so() {
    let workshop = Workshop::new();
    change_config(&workshop, |config| config["model_type"] = json!("mystery"));
    let session = workshop.open(&workshop.model()).unwrap();
    assert!(session.inspect().family.is_none());
    for method in [Method::Rtn, Method::Hqq, Method::Nf4] {
        let mut recipe = workshop.recipe(method, 4, 32);
        recipe.calibration.corpus = None;
        let request = workshop.request(recipe, method.word(), Format::Dense);
        let report = session.compress(&request, &Quiet::default()).unwrap();
        assert!(
            report.layers.iter().all(|layer| layer.fallback.is_none()),
            "{}",
            method.word()
        );
    }
    let request = workshop.request(workshop.recipe(Method::Gptq, 4, 32), "gptq", Format::Pare);
    let error = failure(session.compress(&request, &Quiet::default()));
    assert!(error.contains("mystery"), "{error}");
    assert!(!request.out.exists());
}

fn change_config(workshop: &Workshop, change: impl FnOnce(&mut serde_json::Value)) {
    let path = workshop.model().join("config.json");
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

/// Runs GPTQ and expects an error that names each of `words`; nothing finished may be left.
fn assert_fails(workshop: &Workshop, request: &CompressRequest, words: &[&str]) {
    let error = failure(compress(workshop, request));
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
    assert!(
        !request.out.join("model.safetensors").exists(),
        "{error}: something was written"
    );
}

fn gptq_request(workshop: &Workshop) -> CompressRequest {
    workshop.request(workshop.recipe(Method::Gptq, 4, 32), "out", Format::Pare)
}

#[test]
fn weights_that_are_no_numbers_are_an_error_that_names_the_layer() {
    for bad in [f32::NAN, f32::INFINITY] {
        let workshop = Workshop::new();
        let path = workshop.model().join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value =
            serde_json::from_slice(&bytes[8..8 + header_bytes]).unwrap();
        let name = "model.layers.1.mlp.down_proj.weight";
        let start = 8 + header_bytes + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
        bytes[start + 40..start + 44].copy_from_slice(&bad.to_le_bytes());
        std::fs::write(path, bytes).unwrap();
        assert_fails(
            &workshop,
            &gptq_request(&workshop),
            &["model.layers.1.mlp.down_proj", "row 0", "column 10"],
        );
    }
}

#[test]
fn groups_that_do_not_divide_fall_back_or_are_refused() {
    let workshop = Workshop::new();
    let mut request = workshop.request(workshop.recipe(Method::Rtn, 4, 64), "out", Format::Gptq);
    let report = compress(&workshop, &request).unwrap();
    let down = report
        .layers
        .iter()
        .find(|layer| layer.name.ends_with("1.mlp.down_proj"))
        .unwrap();
    assert!(
        down.fallback.is_some() && 96 % down.group.max(1) == 0,
        "{down:?}"
    );
    request.recipe.strict = true;
    request.out = workshop.path("strict");
    assert_fails(&workshop, &request, &["down_proj"]);
    let tail = workshop.request(workshop.recipe(Method::Rtn, 4, 64), "tail", Format::Pare);
    let report = compress(&workshop, &tail).unwrap();
    assert!(report.layers.iter().all(|layer| layer.fallback.is_none()));
}

#[test]
fn configs_that_do_not_fit_the_weights_say_what_does_not() {
    let workshop = Workshop::new();
    change_config(&workshop, |config| config["intermediate_size"] = json!(97));
    assert_fails(&workshop, &gptq_request(&workshop), &["mlp", "97"]);
    change_config(&workshop, |config| {
        config.as_object_mut().unwrap().remove("num_hidden_layers");
    });
    assert_fails(&workshop, &gptq_request(&workshop), &["num_hidden_layers"]);
}

#[test]
fn corpora_that_cannot_serve_say_why() {
    let workshop = Workshop::new();
    let mut request = gptq_request(&workshop);
    request.recipe.calibration.length = 60;
    request.recipe.calibration.sequences = 1_000_000;
    assert_fails(&workshop, &request, &["1024"]);
    request.recipe.calibration.sequences = 4;
    write_ids(&workshop.ids(), 60_000, 1024, 1).unwrap();
    assert_fails(&workshop, &request, &["50"]);
    request.recipe.calibration.corpus =
        Some(workshop.path("absent.txt").to_string_lossy().into_owned());
    assert_fails(&workshop, &request, &["absent.txt"]);
    let text = workshop.path("text.txt");
    std::fs::write(&text, "A text for a model without a tokenizer.").unwrap();
    request.recipe.calibration.corpus = Some(text.to_string_lossy().into_owned());
    assert_fails(&workshop, &request, &["tokenizer"]);
    request.recipe.calibration.corpus = None;
    assert_fails(&workshop, &request, &["corpus"]);
}

#[test]
fn outputs_are_never_written_over_or_into_the_input() {
    let workshop = Workshop::new();
    let before = files_of(&workshop.model());
    let mut request = gptq_request(&workshop);
    request.out = workshop.model().join("inside");
    assert_fails(&workshop, &request, &["inside"]);
    request.out = workshop.path("taken");
    std::fs::create_dir(&request.out).unwrap();
    std::fs::write(request.out.join("precious.txt"), "mine").unwrap();
    assert_fails(&workshop, &request, &["taken"]);
    assert_eq!(
        std::fs::read(request.out.join("precious.txt")).unwrap(),
        b"mine"
    );
    assert!(differing(&before, &files_of(&workshop.model())).is_empty());
}

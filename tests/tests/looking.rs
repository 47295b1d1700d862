//! What a window asks of an open model besides jobs: layers and rows, cached statistics, facts, the report of a run.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use pare_engine::formats::Format;
use pare_engine::model::LayerKind;
use pare_engine::report::LayerReport;
use pare_engine::session::{CalibrationRequest, Session, read_report};
use pare_engine::solved::Method;
use pare_engine::tensor::Dtype;
use pare_tests::checkpoint::RandomCheckpoint;
use pare_tests::sessions::{Quiet, Stopper, TINY_VOCABULARY, Workshop, tiny_config};
use serde_json::{Value, json};
use std::path::Path;

/// A GPT-2 of one block: its linear layers are stored `[in, out]`.
fn tiny_gpt2() -> Value {
    json!({"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64,
        "vocab_size": TINY_VOCABULARY, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"})
}

/// The whole layer and some rows of it agree for every layer of `model`; gives how many were compared.
fn assert_rows_are_those_of_layers(workshop: &Workshop, model: &Path) -> usize {
    let session = workshop.open(model).unwrap();
    for (index, layer) in session.layers().iter().enumerate() {
        let whole = session.read_layer(index).unwrap();
        assert_eq!(
            (whole.rows(), whole.columns()),
            (layer.rows, layer.columns),
            "{}",
            layer.name
        );
        let last = layer.rows - 1;
        let asked = [last, 0, layer.rows / 2, last];
        let rows = session.read_rows(index, &asked).unwrap();
        for (place, row) in asked.into_iter().enumerate() {
            assert_eq!(rows.row(place), whole.row(row), "{} row {row}", layer.name);
        }
    }
    session.layers().len()
}

#[test]
fn rows_are_those_of_the_layer_however_it_is_stored() {
    for (config, dtype) in [
        (tiny_config(), Dtype::F32),
        (tiny_config(), Dtype::BF16),
        (tiny_gpt2(), Dtype::F16),
    ] {
        let workshop = Workshop::new();
        let model = workshop.path("other");
        RandomCheckpoint {
            config,
            dtype,
            shard_bytes: 20_000,
            seed: 3,
        }
        .write(&model)
        .unwrap();
        assert!(assert_rows_are_those_of_layers(&workshop, &model) > 10);
    }
}

#[test]
fn rows_of_packed_layers_are_those_that_they_stand_for() {
    let workshop = Workshop::with_config(tiny_gpt2(), TINY_VOCABULARY);
    let session = workshop.open(&workshop.model()).unwrap();
    for format in [Format::Pare, Format::Gptq] {
        let recipe = workshop.recipe(Method::Rtn, 4, 32);
        let request = workshop.request(recipe, format.word(), format);
        session.compress(&request, &Quiet::default()).unwrap();
        assert!(assert_rows_are_those_of_layers(&workshop, &request.out) > 10);
    }
}

#[test]
fn a_layer_turned_for_reading_is_the_one_that_the_network_multiplies() {
    let workshop = Workshop::with_config(tiny_gpt2(), TINY_VOCABULARY);
    let session = workshop.open(&workshop.model()).unwrap();
    let block = session.model().unwrap().load_block(0).unwrap();
    for layer in block.stages().iter().flat_map(|stage| &stage.layers) {
        assert_eq!(
            session.read_layer(*layer).unwrap(),
            block.weights(*layer).unwrap()
        );
    }
}

#[test]
fn layers_and_rows_that_are_not_there_are_errors() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let count = session.layers().len();
    let error = session.read_layer(count).unwrap_err().to_string();
    assert!(
        error.contains(&format!("layer {count} was asked for")),
        "{error}"
    );
    let error = session.read_rows(0, &[0, 1 << 40]).unwrap_err().to_string();
    assert!(error.contains("was asked for"), "{error}");
    assert_eq!(session.read_rows(0, &[]).unwrap().rows(), 0);
}

#[test]
fn original_inputs_are_found_once_they_were_gathered() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let settings = workshop.recipe(Method::Gptq, 4, 32).calibration;
    let find = |session: &Session| session.find_original_inputs(&settings, &Quiet::default());
    assert!(find(&session).unwrap().is_none());
    let gathered = session
        .original_inputs(&settings, &Quiet::default())
        .unwrap();
    assert!(!gathered.reused());
    let found = find(&session).unwrap().unwrap();
    assert!(found.reused() && found.folder() == gathered.folder());
    let anew = find(&workshop.open(&workshop.model()).unwrap())
        .unwrap()
        .unwrap();
    for (index, layer) in session.layers().iter().enumerate() {
        let moments = gathered.of_layer(index).unwrap();
        let has_inputs = layer.kind == LayerKind::Linear;
        assert_eq!(moments.is_some(), has_inputs, "{}", layer.name);
        assert_eq!(
            found.stage_of(index).is_some(),
            has_inputs,
            "{}",
            layer.name
        );
        assert_eq!(moments, anew.of_layer(index).unwrap(), "{}", layer.name);
        if let Some(moments) = moments {
            assert_eq!(moments.width(), layer.columns, "{}", layer.name);
            assert_eq!(moments.count, 6 * 32, "{}", layer.name);
        }
    }
    assert!(gathered.of_layer(usize::MAX).unwrap().is_none());
    let request = CalibrationRequest {
        settings: settings.clone(),
    };
    assert!(
        session
            .calibrate(&request, &Quiet::default())
            .unwrap()
            .reused
    );
    session.options().moments_cache().clear().unwrap();
    assert!(find(&session).unwrap().is_none());
    let linear = (0..session.layers().len()).find(|&layer| found.stage_of(layer).is_some());
    let error = found.of_layer(linear.unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("cache of moments"),
        "cleared under its reader: {error}"
    );
}

#[test]
fn another_text_or_another_weight_has_other_inputs() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let settings = workshop.recipe(Method::Gptq, 4, 32).calibration;
    session
        .original_inputs(&settings, &Quiet::default())
        .unwrap();
    let mut other = settings.clone();
    other.seed = 1;
    let found = session.find_original_inputs(&other, &Quiet::default());
    assert!(found.unwrap().is_none(), "another seed draws another text");
    let path = workshop.model().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let changed = workshop.open(&workshop.model()).unwrap();
    let found = changed.find_original_inputs(&settings, &Quiet::default());
    assert!(found.unwrap().is_none(), "one bit of one weight differs");
}

#[test]
fn a_look_without_a_text_finds_nothing_and_a_stop_is_answered() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let mut settings = workshop.recipe(Method::Gptq, 4, 32).calibration;
    let stopped = session.find_original_inputs(&settings, &Stopper::new(3));
    assert!(stopped.unwrap_err().is_stopped());
    settings.corpus = None;
    let found = session.find_original_inputs(&settings, &Quiet::default());
    assert!(found.unwrap().is_none());
    assert!(
        session
            .original_inputs(&settings, &Quiet::default())
            .is_err()
    );
}

#[test]
fn facts_come_from_headers() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let shape = session.shape().unwrap();
    assert_eq!((shape.blocks, shape.hidden, shape.head_dim), (2, 64, 16));
    assert_eq!((shape.heads, shape.kv_heads), (4, 2));
    assert_eq!(shape.vocabulary, TINY_VOCABULARY);
    assert_eq!(session.context_length(), Some(64));
    assert!(!session.is_encoder());
    assert_eq!(session.options(), &workshop.options(2));
    let worker = session.install(|| std::thread::current().name().map(str::to_owned));
    assert!(worker.unwrap().starts_with("pare-worker-"));
    std::fs::remove_file(workshop.model().join("config.json")).unwrap();
    let unknown = workshop.open(&workshop.model()).unwrap();
    assert_eq!((unknown.shape(), unknown.context_length()), (None, None));
    assert!(!unknown.is_encoder());
}

#[test]
fn the_report_of_a_run_reads_back() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let mut request = workshop.request(workshop.recipe(Method::Gptq, 4, 32), "out", Format::Pare);
    request.evaluate = Some(workshop.ids());
    let report = session.compress(&request, &Quiet::default()).unwrap();
    let found = read_report(&request.out).unwrap();
    assert_eq!(found.recipe, report.recipe);
    assert_eq!(found.bytes_after, report.bytes_after);
    assert_eq!(found.evaluation.is_some(), report.evaluation.is_some());
    assert_eq!(found.layers.len(), report.layers.len());
    for (found, written) in found.layers.iter().zip(&report.layers) {
        let name = &written.name;
        assert_eq!(&found.name, name);
        assert!(found.histograms == written.histograms, "{name}");
        assert!(found.settings == written.settings, "{name}");
        // A figure may change in its last digit where JSON is read.
        let error = |layer: &LayerReport| layer.relative_output_error.unwrap_or(0.0);
        let difference = (error(found) - error(written)).abs();
        assert!(difference < 1e-12, "{name}: {}", error(found));
    }
}

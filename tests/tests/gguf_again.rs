//! GGUF files that are read and written again: the same bytes, files in series, pooling, pruned weights, networks that
//! llama.cpp would run otherwise.

#![allow(clippy::unwrap_used)]

use pare_engine::checkpoint::Checkpoint;
use pare_engine::formats::Format;
use pare_engine::formats::store::atomic::write_bytes;
use pare_engine::ggml::GgmlType;
use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::{PruneMethod, PruneScope, Recipe};
use pare_engine::report::ExportReport;
use pare_engine::score::{Pooling, PoolingMode};
use pare_engine::session::{GgufRequest, SessionError};
use pare_engine::settings::Pruning;
use pare_engine::solved::Method;
use pare_engine::tensor::WeightSource;
use pare_tests::sessions::{Quiet, TINY_VOCABULARY, Workshop, tiny_config};
use serde_json::{Value, json};
use std::path::Path;

fn export(
    workshop: &Workshop,
    model: &Path,
    request: GgufRequest,
) -> Result<ExportReport, SessionError> {
    let session = workshop.open(model)?;
    session.export_gguf(&request, &Quiet::default())
}

fn request(workshop: &Workshop, name: &str, kind: Option<GgmlType>) -> GgufRequest {
    GgufRequest {
        out: workshop.path(name),
        kind,
        ..GgufRequest::default()
    }
}

fn like_llama(model_type: &str, more: &Value) -> Value {
    let mut config = tiny_config();
    config["model_type"] = json!(model_type);
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn bert() -> Value {
    json!({ "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 64, "vocab_size": TINY_VOCABULARY, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12, "type_vocab_size": 2 })
}

#[test]
fn what_nobody_asked_to_change_stays_to_the_byte() {
    for config in [
        tiny_config(),
        like_llama("qwen2", &json!({})),
        like_llama(
            "gemma3_text",
            &json!({ "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16, "hidden_act": null,
                "sliding_window": 16, "rope_local_base_freq": 10000.0, "tie_word_embeddings": true }),
        ),
    ] {
        let workshop = Workshop::with_config(config.clone(), TINY_VOCABULARY);
        std::fs::create_dir(workshop.path("one")).unwrap();
        std::fs::create_dir(workshop.path("two")).unwrap();
        for kind in [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::F16] {
            let name = format!("{kind}.gguf");
            let (first, second) = (format!("one/{name}"), format!("two/{name}"));
            let wanted = request(&workshop, &first, Some(kind));
            export(&workshop, &workshop.model(), wanted).unwrap();
            let again = request(&workshop, &second, None);
            let report = export(&workshop, &workshop.path(&first), again).unwrap();
            assert!(report.fallbacks.is_empty(), "{:?}", report.fallbacks);
            let (before, after) = (
                Checkpoint::open(&workshop.path(&first)).unwrap(),
                Checkpoint::open(&workshop.path(&second)).unwrap(),
            );
            for tensor in before.names() {
                assert_eq!(after.block_type(&tensor), before.block_type(&tensor));
                assert!(
                    after.block_bytes(&tensor).unwrap() == before.block_bytes(&tensor).unwrap(),
                    "{} {kind}: {tensor}",
                    config["model_type"]
                );
            }
        }
        // Layers that a recipe leaves alone, too.
        let quantized = workshop.path("one/Q4_1.gguf");
        let recipe = workshop.recipe(Method::None, 4, 32);
        let session = workshop.open(&quantized).unwrap();
        let asked = workshop.request(recipe, "left", Format::Gguf);
        let report = session.compress(&asked, &Quiet::default()).unwrap();
        let bytes = std::fs::metadata(workshop.path("left/model.gguf")).unwrap();
        assert_eq!(bytes.len(), report.bytes_after);
        let (before, after) = (
            Checkpoint::open(&quantized).unwrap(),
            Checkpoint::open(&workshop.path("left")).unwrap(),
        );
        for tensor in before.names() {
            assert!(after.block_bytes(&tensor).unwrap() == before.block_bytes(&tensor).unwrap());
        }
    }
}

#[test]
fn a_series_of_files_is_one_model() {
    let workshop = Workshop::new();
    let whole = request(&workshop, "whole.gguf", Some(GgmlType::Q8_0));
    export(&workshop, &workshop.model(), whole).unwrap();
    let split = GgufRequest {
        split_bytes: Some(30_000),
        ..request(&workshop, "parts/model.gguf", Some(GgmlType::Q8_0))
    };
    let report = export(&workshop, &workshop.model(), split.clone()).unwrap();
    let files: Vec<_> = std::fs::read_dir(workshop.path("parts"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() > 2, "{files:?}");
    let sizes: Vec<u64> = files
        .iter()
        .map(|file| std::fs::metadata(file).unwrap().len())
        .collect();
    assert_eq!(sizes.iter().sum::<u64>(), report.bytes);
    assert!(sizes.iter().all(|&size| size <= 30_000), "{sizes:?}");
    let first = format!("model-00001-of-{:05}.gguf", files.len());
    assert!(report.out.ends_with(&first), "{}", report.out);
    let one = Checkpoint::open(&workshop.path("whole.gguf")).unwrap();
    for place in [Path::new(&report.out), &workshop.path("parts"), &files[1]] {
        let series = Checkpoint::open(place).unwrap();
        assert_eq!(series.config_json(), one.config_json());
        assert_eq!(series.names(), one.names());
        for tensor in one.names() {
            assert!(series.read_f32(&tensor).unwrap() == one.read_f32(&tensor).unwrap());
        }
    }
    let problem = export(&workshop, &workshop.model(), split).unwrap_err();
    assert!(problem.to_string().contains("empty"), "{problem}");
    let bytes = std::fs::read(&report.out).unwrap();
    write_bytes(&workshop.path("parts/other.gguf"), &bytes).unwrap();
    assert!(Checkpoint::open(&workshop.path("parts")).is_err());
}

#[test]
fn a_failure_leaves_no_folder() {
    let workshop = Workshop::with_config(bert(), TINY_VOCABULARY);
    pooling_files(&workshop, "max_tokens");
    let wanted = request(&workshop, "new/deeper/model.gguf", None);
    let problem = export(&workshop, &workshop.model(), wanted).unwrap_err();
    assert!(
        problem.to_string().contains("pools by the largest value"),
        "{problem}"
    );
    assert!(!workshop.path("new").exists());
}

fn pooling_files(workshop: &Workshop, mode: &str) {
    let folder = workshop.model().join("1_Pooling");
    std::fs::create_dir_all(&folder).unwrap();
    let config = json!({ format!("pooling_mode_{mode}"): true });
    write_bytes(&folder.join("config.json"), config.to_string().as_bytes()).unwrap();
}

#[test]
fn pooling_goes_along() {
    for (word, mode) in [
        ("cls_token", PoolingMode::First),
        ("mean_tokens", PoolingMode::Mean),
        ("lasttoken", PoolingMode::Last),
    ] {
        let workshop = Workshop::with_config(bert(), TINY_VOCABULARY);
        pooling_files(&workshop, word);
        let wanted = request(&workshop, "model.gguf", None);
        export(&workshop, &workshop.model(), wanted).unwrap();
        // A file as well as a folder with nothing else in it, and once more from there.
        let again = request(&workshop, "again/model.gguf", None);
        export(&workshop, &workshop.path("model.gguf"), again).unwrap();
        for place in ["model.gguf", "again", "again/model.gguf"] {
            let opened = Checkpoint::open(&workshop.path(place)).unwrap();
            assert_eq!(Pooling::read(&opened).unwrap().modes, [mode], "{place}");
        }
    }
}

#[test]
fn pruned_weights_stay_zero() {
    for method in [Method::Rtn, Method::Hqq, Method::Gptq] {
        let workshop = Workshop::new();
        let mut recipe = workshop.recipe(method, 4, 32);
        recipe.default.symmetric = false;
        recipe.default.prune = Pruning {
            method: PruneMethod::Magnitude,
            pattern: SparsityPattern::NOfM { kept: 2, of: 4 },
            sparsity: 0.5,
            scope: PruneScope::Row,
        };
        let session = workshop.open(&workshop.model()).unwrap();
        let zeros = |place: &str| {
            let model = Checkpoint::open(&workshop.path(place)).unwrap();
            let values = model.read_f32("model.layers.0.mlp.up_proj.weight").unwrap();
            values
                .chunks(4)
                .all(|four| four.iter().filter(|&&value| value == 0.0).count() >= 2)
        };
        // In the container itself, where a symmetric grid is chosen, and from codes with zeros of another container.
        let asked = workshop.request(recipe.clone(), "gguf", Format::Gguf);
        let report = session.compress(&asked, &Quiet::default()).unwrap();
        let told = report
            .layers
            .iter()
            .find_map(|layer| layer.fallback.clone());
        assert!(
            told.is_some_and(|told| told.reason.contains("pruned")),
            "{method:?}"
        );
        assert!(zeros("gguf"), "{method:?} in gguf");
        let asked = workshop.request(recipe, "pare", Format::Pare);
        session.compress(&asked, &Quiet::default()).unwrap();
        let wanted = request(&workshop, "exported.gguf", None);
        let report = export(&workshop, &workshop.path("pare"), wanted).unwrap();
        assert!(!report.fallbacks.is_empty());
        assert!(zeros("exported.gguf"), "{method:?} exported");
        let wanted = request(&workshop, "asked.gguf", Some(GgmlType::Q4_1));
        let report = export(&workshop, &workshop.path("pare"), wanted).unwrap();
        assert!(
            report.fallbacks[0].fallback.reason.contains("hold 0"),
            "zeros that go are told"
        );
    }
}

#[test]
fn what_llama_cpp_runs_otherwise_is_refused_or_cut() {
    let window = like_llama("mistral", &json!({ "sliding_window": 20 }));
    let workshop = Workshop::with_config(window, TINY_VOCABULARY);
    let wanted = request(&workshop, "model.gguf", None);
    export(&workshop, &workshop.model(), wanted).unwrap();
    let opened = Checkpoint::open(&workshop.path("model.gguf")).unwrap();
    let config = opened.config_json().unwrap();
    assert_eq!(config["max_position_embeddings"], 20, "the window's tokens");
    let yarn = json!({ "rope_parameters": null, "rope_theta": 10000.0, "rope_scaling": { "rope_type": "yarn",
        "factor": 4.0, "beta_fast": 16.0, "original_max_position_embeddings": 16 } });
    let workshop = Workshop::with_config(like_llama("llama", &yarn), TINY_VOCABULARY);
    let wanted = request(&workshop, "model.gguf", None);
    let problem = export(&workshop, &workshop.model(), wanted).unwrap_err();
    assert!(
        problem.to_string().contains("beta_fast 16 instead of 32"),
        "{problem}"
    );
}

#[test]
fn an_imatrix_of_another_model_is_refused() {
    let workshop = Workshop::new();
    let calibration = workshop.recipe(Method::Rtn, 4, 32).calibration;
    let other = like_llama("llama", &json!({ "hidden_size": 32, "head_dim": 8 }));
    let elsewhere = Workshop::with_config(other, TINY_VOCABULARY);
    for name in ["imatrix.gguf", "imatrix.dat"] {
        let imatrix = elsewhere.path(name);
        let session = elsewhere.open(&elsewhere.model()).unwrap();
        session
            .export_imatrix(&calibration, &imatrix, &Quiet::default())
            .unwrap();
        let with = |workshop: &Workshop| GgufRequest {
            imatrix: Some(imatrix.clone()),
            ..request(workshop, &format!("{name}.out.gguf"), Some(GgmlType::Q4_0))
        };
        let problem = export(&workshop, &workshop.model(), with(&workshop)).unwrap_err();
        assert!(problem.to_string().contains("another model"), "{problem}");
        export(&elsewhere, &elsewhere.model(), with(&elsewhere)).unwrap();
    }
}

#[test]
fn a_recipe_may_mix_types() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(Method::Rtn, 4, 32);
    recipe.default.symmetric = true;
    let more = "version = 1\n[[layer]]\nmatch = \"*.down_proj\"\nbits = 8\n[[layer]]\nmatch = \"*.v_proj\"\nsymmetric = false\n";
    recipe.layers = Recipe::parse(more).unwrap().layers;
    let session = workshop.open(&workshop.model()).unwrap();
    let asked = workshop.request(recipe, "mixed", Format::Gguf);
    session.compress(&asked, &Quiet::default()).unwrap();
    let written = Checkpoint::open(&workshop.path("mixed")).unwrap();
    for (name, kind) in [
        ("mlp.down_proj", GgmlType::Q8_0),
        ("self_attn.v_proj", GgmlType::Q4_1),
        ("mlp.up_proj", GgmlType::Q4_0),
    ] {
        let tensor = format!("model.layers.1.{name}.weight");
        assert_eq!(written.block_type(&tensor), Some(kind), "{name}");
    }
}

//! GGUF end to end: every architecture there and back, solved codes as they were solved, what cannot be held told before.

#![allow(clippy::unwrap_used)]

use pare_engine::checkpoint::{Checkpoint, Container};
use pare_engine::formats::Format;
use pare_engine::formats::store::layer_of_run;
use pare_engine::ggml::GgmlType;
use pare_engine::recipe::CalibrationSettings;
use pare_engine::report::Evaluation;
use pare_engine::session::{EvaluateRequest, GgufRequest};
use pare_engine::solved::Method;
use pare_engine::tensor::{Dtype, WeightSource};
use pare_tests::checkpoint::RandomCheckpoint;
use pare_tests::sessions::{Quiet, TINY_VOCABULARY, Workshop, shared, tiny_config};
use serde_json::{Value, json};
use std::path::Path;

/// A tiny network of every family that llama.cpp has.
fn families() -> Vec<Value> {
    let like_llama = |model_type: &str, more: Value| {
        let mut config = tiny_config();
        config["model_type"] = json!(model_type);
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    };
    let neox = |more: Value| {
        let mut config = json!({ "model_type": "gpt_neox", "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64,
            "vocab_size": TINY_VOCABULARY, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_pct": 0.5,
            "rotary_emb_base": 10000, "use_parallel_residual": true, "tie_word_embeddings": false });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    };
    let llama3 = json!({ "rope_parameters": { "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32 } });
    let longrope = json!({ "rope_parameters": { "rope_type": "longrope", "rope_theta": 10000.0,
        "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        "original_max_position_embeddings": 32 }, "max_position_embeddings": 64 });
    vec![
        tiny_config(),
        like_llama("llama", json!({ "tie_word_embeddings": true })),
        like_llama("llama", llama3),
        like_llama(
            "llama",
            json!({ "rope_parameters": null, "rope_theta": 10000.0, "rope_scaling": { "rope_type": "yarn", "factor": 4.0,
                "original_max_position_embeddings": 16, "attention_factor": 1.3 } }),
        ),
        like_llama("mistral", json!({ "sliding_window": null })),
        like_llama("qwen2", json!({})),
        like_llama("qwen3", json!({ "tie_word_embeddings": true })),
        like_llama("phi3", json!({ "pad_token_id": 0 })),
        like_llama("phi3", longrope),
        like_llama(
            "gemma3_text",
            json!({ "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16,
            "sliding_window": 16, "rope_local_base_freq": 10000.0, "rope_parameters": null, "rope_theta": 1e6,
            "tie_word_embeddings": true, "hidden_act": null }),
        ),
        json!({ "model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64,
            "vocab_size": TINY_VOCABULARY, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new" }),
        neox(json!({})),
        neox(
            json!({ "rope_scaling": { "type": "linear", "factor": 4.0 }, "hidden_act": "gelu_new" }),
        ),
        neox(
            json!({ "tie_word_embeddings": true, "rope_scaling": { "rope_type": "yarn", "factor": 4.0,
            "original_max_position_embeddings": 16 } }),
        ),
        json!({ "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 64, "max_position_embeddings": 64, "vocab_size": TINY_VOCABULARY, "hidden_act": "gelu",
            "layer_norm_eps": 1e-12, "type_vocab_size": 2 }),
    ]
}

/// Writes `model` as `type.gguf`, every layer of `kind`.
fn export(
    workshop: &Workshop,
    model: &Path,
    kind: Option<GgmlType>,
    name: &str,
) -> std::path::PathBuf {
    let out = workshop.path(name);
    let request = GgufRequest {
        out: out.clone(),
        kind,
        ..GgufRequest::default()
    };
    let session = workshop.open(model).unwrap();
    session.export_gguf(&request, &Quiet::default()).unwrap();
    out
}

#[test]
fn every_family_comes_back_and_computes_the_same() {
    for config in families() {
        let workshop = Workshop::with_config(config.clone(), TINY_VOCABULARY);
        let path = export(
            &workshop,
            &workshop.model(),
            Some(GgmlType::F32),
            "model.gguf",
        );
        let (before, after) = (
            Checkpoint::open(&workshop.model()).unwrap(),
            Checkpoint::open(&path).unwrap(),
        );
        assert_eq!(after.container(), Container::Gguf);
        for name in before.names() {
            if name == "lm_head.weight" && config["tie_word_embeddings"] == true {
                continue;
            }
            let found = after.read_f32(&name).unwrap();
            let expected = before.read_f32(&name).unwrap();
            assert_eq!(
                found.len(),
                expected.len(),
                "{} {name}",
                config["model_type"]
            );
            let worst = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 1e-6, "{} {name}: {worst}", config["model_type"]);
        }
        let ids: Vec<u32> = (0..24).map(|id| id * 7 % 50).collect();
        let outputs = |model: &Path| {
            let session = workshop.open(model).unwrap();
            let outputs = session.model().unwrap().forward(&ids).unwrap();
            outputs.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let (expected, found) = (outputs(&workshop.model()), outputs(&path));
        let worst = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(
            worst < 1e-4,
            "{}: outputs differ by {worst}",
            config["model_type"]
        );
    }
}

#[test]
fn solved_codes_are_not_rounded_again() {
    let cases = [
        (4, 32, true, GgmlType::Q4_0),
        (4, 64, true, GgmlType::Q4_0),
        (5, 32, true, GgmlType::Q5_0),
        (8, 32, true, GgmlType::Q8_0),
        (4, 32, false, GgmlType::Q4_1),
        (5, 32, false, GgmlType::Q5_1),
    ];
    for (bits, group, symmetric, kind) in cases {
        let workshop = Workshop::new();
        let mut recipe = workshop.recipe(Method::Gptq, bits, group);
        recipe.default.symmetric = symmetric;
        let session = workshop.open(&workshop.model()).unwrap();
        let request = workshop.request(recipe, "run", Format::Gguf);
        let dry = session.dry_run(&request).unwrap();
        let report = session.compress(&request, &Quiet::default()).unwrap();
        assert_eq!(
            dry.bytes_after, report.bytes_after,
            "a dry run tells the bytes"
        );
        let run = workshop.path("run");
        let written = Checkpoint::open(&run).unwrap();
        let mut compared = 0;
        for layer in &report.layers {
            let Some(stored) = layer_of_run(&run, &layer.name).unwrap() else {
                continue;
            };
            let tensor = &stored.manifest.tensor.name;
            assert_eq!(written.block_type(tensor), Some(kind), "{}", layer.name);
            let (found, solved) = (
                written.read_f32(tensor).unwrap(),
                stored.solved.dequantize().into_data(),
            );
            let worst = found
                .iter()
                .zip(&solved)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            // Least values of grids with zeros are rounded to f16.
            let bound = if symmetric { 0.0 } else { 1e-4 };
            assert!(worst <= bound, "{} bits, {}: {worst}", bits, layer.name);
            compared += 1;
        }
        assert!(compared >= 14, "{compared} layers");
        let again = export(&workshop, &run, None, "again.gguf");
        let file = std::fs::read(run.join("model.gguf")).unwrap();
        assert_eq!(std::fs::metadata(again).unwrap().len(), file.len() as u64);
    }
}

#[test]
fn what_no_block_holds_is_told_before() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let told = |bits: u8, group: usize, symmetric: bool| {
        let mut recipe = workshop.recipe(Method::Rtn, bits, group);
        recipe.default.symmetric = symmetric;
        let dry = session
            .dry_run(&workshop.request(recipe, "run", Format::Gguf))
            .unwrap();
        let fallback = dry
            .layers
            .iter()
            .find_map(|layer| layer.fallback.clone())
            .unwrap();
        (fallback.to, fallback.reason)
    };
    assert_eq!(told(3, 32, true).0, "4 bits");
    assert_eq!(told(8, 32, false).0, "symmetric");
    assert_eq!(told(4, 40, true).0, "group 32");
}

#[test]
fn the_same_bytes_with_any_number_of_threads() {
    let workshop = Workshop::new();
    let bytes = |threads: usize| {
        let options = workshop.options(threads);
        let session = pare_engine::session::Session::open(&workshop.model(), options).unwrap();
        let out = workshop.path(&format!("{threads}.gguf"));
        let request = GgufRequest {
            out: out.clone(),
            kind: Some(GgmlType::Q4_1),
            calibration: Some(workshop.recipe(Method::Rtn, 4, 32).calibration),
            ..GgufRequest::default()
        };
        session.export_gguf(&request, &Quiet::default()).unwrap();
        std::fs::read(out).unwrap()
    };
    assert!(bytes(1) == bytes(2), "one thread and two");
}

#[test]
fn halves_stay_halves() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        let workshop = Workshop::new();
        let model = workshop.path("half");
        let checkpoint = RandomCheckpoint {
            config: tiny_config(),
            dtype,
            shard_bytes: u64::MAX,
            seed: 2,
        };
        checkpoint.write(&model).unwrap();
        let path = export(&workshop, &model, None, "half.gguf");
        let (before, after) = (
            Checkpoint::open(&model).unwrap(),
            Checkpoint::open(&path).unwrap(),
        );
        let name = "model.layers.1.mlp.down_proj.weight";
        assert_eq!(after.info(name).unwrap().dtype, dtype);
        let bytes = |source: &Checkpoint| {
            let mut bytes = vec![0; source.info(name).unwrap().size_bytes as usize];
            let (head, tail) = bytes.split_at_mut(101);
            source.read_bytes(name, 0, head).unwrap();
            source.read_bytes(name, 101, tail).unwrap();
            bytes
        };
        assert!(bytes(&before) == bytes(&after), "{dtype}");
    }
}

/// KL to the original on held-out text of `path`.
fn divergence(workshop: &Workshop, path: &Path, original: &Path, text: &Path) -> f64 {
    let request = EvaluateRequest {
        corpus: Some(text.to_owned()),
        reference: Some(original.to_owned()),
        length: Some(256),
        windows: Some(24),
        sts: None,
        kv: None,
    };
    let session = workshop.open(path).unwrap();
    match session.evaluate(&request, &Quiet::default()).unwrap() {
        Evaluation::Decoder(found) => found.kl.unwrap().mean,
        Evaluation::Encoder(_) => panic!("a decoder"),
    }
}

#[test]
fn codes_that_answer_to_all_moments_beat_importance_alone() {
    let (Some(model), Some(train), Some(held_out)) = (
        shared("models/gutenberg-5M"),
        shared("text/gutenberg_train_4MB.txt"),
        shared("text/gutenberg_valid_1MB.txt"),
    ) else {
        return;
    };
    let workshop = Workshop::new();
    let session = workshop.open(&model).unwrap();
    let calibration = CalibrationSettings {
        corpus: Some(train.to_string_lossy().into_owned()),
        sequences: 64,
        length: 256,
        seed: 0,
    };
    let imatrix = workshop.path("imatrix.gguf");
    let entries = session
        .export_imatrix(&calibration, &imatrix, &Quiet::default())
        .unwrap();
    assert_eq!(entries, 42, "seven layers in six blocks");
    for kind in [GgmlType::Q4_K, GgmlType::Q6_K] {
        let written = |name: &str, calibration, imatrix| {
            let out = workshop.path(name);
            let request = GgufRequest {
                out: out.clone(),
                kind: Some(kind),
                calibration,
                imatrix,
                split_bytes: None,
            };
            session.export_gguf(&request, &Quiet::default()).unwrap();
            let found = divergence(&workshop, &out, &model, &held_out);
            std::fs::remove_file(&out).unwrap();
            found
        };
        let all = written("all.gguf", Some(calibration.clone()), None);
        let alone = written("alone.gguf", None, Some(imatrix.clone()));
        assert!(
            all < alone,
            "{kind}: KL {all} with all moments, {alone} with importance alone"
        );
    }
}

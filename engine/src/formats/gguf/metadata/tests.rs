#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;

/// The configuration of `model_type` with `more`, described.
fn described(model_type: &str, more: &Json) -> Result<Described, String> {
    let mut json = match model_type {
        "gpt2" => {
            json!({ "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 50,
            "layer_norm_epsilon": 1e-5 })
        }
        _ => {
            json!({ "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "max_position_embeddings": 64, "vocab_size": 50, "rms_norm_eps": 1e-6, "layer_norm_eps": 1e-5 })
        }
    };
    json["model_type"] = json!(model_type);
    for (key, value) in more.as_object().unwrap() {
        json[key] = value.clone();
    }
    let config = ModelConfig::parse(&json).unwrap();
    let architecture = Architecture::of_family(config.family).unwrap();
    let pooling = Pooling {
        modes: vec![PoolingMode::Mean],
        normalize: false,
    };
    describe(architecture, &config, &json, &pooling)
}

fn key(described: &Described, key: &str) -> Option<Value> {
    let mut keys = described.keys.iter();
    let found = keys.find(|(name, _)| name == key)?;
    Some(found.1.clone())
}

#[test]
fn how_gpt_neox_stretches_positions_goes_along() {
    let plain = described(
        "gpt_neox",
        &json!({ "rotary_pct": 0.5, "rotary_emb_base": 500 }),
    )
    .unwrap();
    assert_eq!(key(&plain, "gptneox.rope.scaling.type"), None);
    assert_eq!(
        key(&plain, "gptneox.rope.dimension_count"),
        Some(Value::u32(8))
    );
    assert_eq!(
        key(&plain, "gptneox.rope.freq_base"),
        Some(Value::f32(500.0))
    );
    let linear = json!({ "rope_scaling": { "type": "linear", "factor": 4.0 } });
    let newer = json!({ "rope_parameters": { "rope_type": "linear", "factor": 4.0, "rope_theta": 300.0,
        "partial_rotary_factor": 0.25 } });
    for (config, theta) in [(linear, 10_000.0), (newer, 300.0)] {
        let linear = described("gpt_neox", &config).unwrap();
        let (kind, factor) = ("gptneox.rope.scaling.type", "gptneox.rope.scaling.factor");
        assert_eq!(
            key(&linear, kind),
            Some(Value::Text("linear".to_owned())),
            "{config}"
        );
        assert_eq!(key(&linear, factor), Some(Value::f32(4.0)), "{config}");
        assert_eq!(
            key(&linear, "gptneox.rope.freq_base"),
            Some(Value::f32(theta)),
            "{config}"
        );
        assert_eq!(
            key(&linear, "gptneox.rope.dimension_count"),
            Some(Value::u32(4)),
            "{config}"
        );
    }
    let yarn = json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16 } });
    let yarn = described("gpt_neox", &yarn).unwrap();
    let original = "gptneox.rope.scaling.original_context_length";
    assert_eq!(key(&yarn, original), Some(Value::u32(16)));
}

#[test]
fn what_an_architecture_does_otherwise_is_refused() {
    let llama3 = json!({ "rope_parameters": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32 } });
    let ones = [1.0; 8];
    let longrope = json!({ "rope_scaling": { "rope_type": "longrope", "short_factor": ones, "long_factor": ones,
        "original_max_position_embeddings": 32 } });
    let yarn = json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16 } });
    let of_windows = json!({ "query_pre_attn_scalar": 16, "rope_parameters": {
        "full_attention": { "rope_type": "default", "rope_theta": 1e6 },
        "sliding_attention": { "rope_type": "linear", "factor": 2.0, "rope_theta": 1e4 } } });
    let whole = |mut config: Json| {
        config["rotary_pct"] = json!(1.0);
        config
    };
    let gemma = |more: Json| {
        let mut config = json!({ "query_pre_attn_scalar": 16 });
        let more = more.as_object().unwrap();
        config.as_object_mut().unwrap().extend(more.clone());
        config
    };
    let cases = [
        (
            "gpt2",
            json!({ "scale_attn_weights": false }),
            "scales the queries of block 0",
        ),
        (
            "gpt2",
            json!({ "scale_attn_by_inverse_layer_idx": true }),
            "scales the queries of block 1",
        ),
        (
            "gpt2",
            json!({ "activation_function": "gelu" }),
            "has the activation gelu",
        ),
        (
            "llama",
            json!({ "hidden_act": "gelu" }),
            "has the activation gelu",
        ),
        (
            "llama",
            json!({ "partial_rotary_factor": 0.5 }),
            "rotates 8 of 16 channels",
        ),
        (
            "llama",
            json!({ "attention_bias": true, "head_dim": 32 }),
            "has biases and heads of another width",
        ),
        (
            "qwen2",
            json!({ "head_dim": 32 }),
            "has heads of another width",
        ),
        ("qwen2", llama3.clone(), "stretches positions by llama3"),
        ("qwen2", longrope.clone(), "stretches positions by longrope"),
        (
            "qwen3",
            json!({ "attention_bias": true }),
            "has biases in attention",
        ),
        ("phi3", llama3.clone(), "stretches positions by llama3"),
        (
            "phi3",
            json!({ "head_dim": 32 }),
            "has heads of another width",
        ),
        (
            "gpt_neox",
            whole(longrope),
            "stretches positions by longrope",
        ),
        (
            "gpt_neox",
            json!({ "attention_bias": false }),
            "has no biases in attention",
        ),
        ("gemma3_text", json!({}), "scales the queries of block 0"),
        ("gemma3_text", gemma(yarn), "stretches positions by yarn"),
        (
            "gemma3_text",
            gemma(llama3),
            "stretches positions by llama3",
        ),
        (
            "gemma3_text",
            gemma(json!({ "attention_bias": true })),
            "has biases in attention",
        ),
        (
            "gemma3_text",
            gemma(json!({ "attn_logit_softcapping": 50.0 })),
            "caps attention's scores",
        ),
        (
            "gemma3_text",
            gemma(json!({ "sliding_window_pattern": 2 })),
            "another pattern of sliding windows",
        ),
        (
            "gemma3_text",
            of_windows,
            "stretches positions of sliding windows by linear",
        ),
        (
            "bert",
            json!({ "hidden_act": "relu" }),
            "has the activation relu",
        ),
    ];
    for (model_type, config, expected) in cases {
        match described(model_type, &config) {
            Ok(_) => panic!("{model_type} {config} was written"),
            Err(problem) => assert!(
                problem.contains(expected) && problem.contains("which llama.cpp's"),
                "{model_type} {config}: {problem}"
            ),
        }
    }
}

#[test]
fn what_every_architecture_does_is_written() {
    let gemma = json!({ "query_pre_attn_scalar": 16, "final_logit_softcapping": 30.0 });
    let cases = [
        (
            "llama",
            json!({}),
            "llama.rope.dimension_count",
            Value::u32(16),
        ),
        (
            "phi3",
            json!({ "partial_rotary_factor": 0.5 }),
            "phi3.rope.dimension_count",
            Value::u32(8),
        ),
        (
            "qwen3",
            json!({ "head_dim": 32 }),
            "qwen3.attention.key_length",
            Value::u32(32),
        ),
        (
            "gemma3_text",
            gemma.clone(),
            "gemma3.final_logit_softcapping",
            Value::f32(30.0),
        ),
        (
            "gemma3_text",
            gemma.clone(),
            "gemma3.rope.freq_base_swa",
            Value::f32(1e4),
        ),
        (
            "gemma3_text",
            gemma,
            "gemma3.attention.sliding_window",
            Value::u32(4096),
        ),
        (
            "bert",
            json!({ "hidden_act": "gelu_new" }),
            "bert.hidden_activation",
            Value::Text("gelu_pytorch_tanh".to_owned()),
        ),
    ];
    for (model_type, config, name, expected) in cases {
        let described = described(model_type, &config).unwrap();
        assert_eq!(key(&described, name), Some(expected), "{model_type} {name}");
    }
    let erf = described("bert", &json!({})).unwrap();
    assert_eq!(key(&erf, "bert.hidden_activation"), None);
}

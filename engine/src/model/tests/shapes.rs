//! Networks of every family in other shapes than the golden ones, with seeded random weights.

use super::memory::Memory;
use crate::model::{Model, ModelConfig};
use crate::rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;

/// A name for messages, and a `config.json`.
pub(in crate::model) type Shape = (&'static str, Value);

/// Odd vocabularies, grouped and ungrouped heads, head widths that hidden / heads does not give, every switch.
pub(in crate::model) fn shapes() -> Vec<Shape> {
    let mut all = llama_like();
    all.extend(older_decoders());
    all.extend(encoders());
    all
}

fn base(model_type: &str, changes: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 36, "vocab_size": 53, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "layer_norm_eps": 1e-5, "rope_theta": 500.0
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn llama_like() -> Vec<Shape> {
    let longrope =
        json!({"type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 5.0]});
    vec![
        (
            "llama, one key head, yarn, all biases",
            base(
                "llama",
                json!({
            "num_key_value_heads": 1, "head_dim": 8, "attention_bias": true, "mlp_bias": true,
            "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
            ),
        ),
        (
            "llama, as many key heads, tied",
            base(
                "llama",
                json!({
            "num_key_value_heads": 4, "head_dim": null, "tie_word_embeddings": true}),
            ),
        ),
        (
            "llama, llama3 rope",
            base(
                "llama",
                json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}),
            ),
        ),
        (
            "mistral, window 5",
            base("mistral", json!({"sliding_window": 5})),
        ),
        (
            "qwen2, upper block slides",
            base(
                "qwen2",
                json!({
            "sliding_window": 4, "use_sliding_window": true, "max_window_layers": 1}),
            ),
        ),
        (
            "qwen3",
            base("qwen3", json!({"head_dim": 10, "num_key_value_heads": 4})),
        ),
        (
            "phi3, partial rotary, short longrope",
            base(
                "phi3",
                json!({"head_dim": 8, "partial_rotary_factor": 0.5,
            "rope_scaling": longrope, "original_max_position_embeddings": 32}),
            ),
        ),
        (
            "phi3, long longrope",
            base(
                "phi3",
                json!({"head_dim": 8, "partial_rotary_factor": 0.5,
            "num_key_value_heads": 4, "rope_scaling": longrope, "original_max_position_embeddings": 8}),
            ),
        ),
        (
            "gemma3, soft caps",
            base(
                "gemma3_text",
                json!({
            "head_dim": 8, "sliding_window": 3, "sliding_window_pattern": 2, "query_pre_attn_scalar": 10,
            "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "rope_local_base_freq": 50.0}),
            ),
        ),
        (
            "gemma3, as many key heads",
            base(
                "gemma3_text",
                json!({
            "head_dim": 6, "sliding_window": 3, "num_key_value_heads": 4, "tie_word_embeddings": false}),
            ),
        ),
    ]
}

fn older_decoders() -> Vec<Shape> {
    vec![
        (
            "gpt2",
            json!({"model_type": "gpt2", "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32,
            "vocab_size": 53, "layer_norm_epsilon": 1e-5, "scale_attn_by_inverse_layer_idx": true}),
        ),
        (
            "gpt_neox, parallel",
            base(
                "gpt_neox",
                json!({"rotary_pct": 0.67, "rotary_emb_base": 300.0}),
            ),
        ),
        (
            "gpt_neox, one after the other",
            base(
                "gpt_neox",
                json!({
            "rotary_pct": 1.0, "use_parallel_residual": false, "tie_word_embeddings": true}),
            ),
        ),
        (
            "opt",
            base("opt", json!({"ffn_dim": 20, "num_attention_heads": 2})),
        ),
        (
            "opt, norms after, projected embedding",
            base(
                "opt",
                json!({
            "ffn_dim": 20, "word_embed_proj_dim": 10, "do_layer_norm_before": false}),
            ),
        ),
        (
            "opt, no bias, no final norm, untied",
            base(
                "opt",
                json!({
            "ffn_dim": 20, "enable_bias": false, "_remove_final_layer_norm": true,
            "tie_word_embeddings": false, "activation_function": "gelu"}),
            ),
        ),
    ]
}

fn encoders() -> Vec<Shape> {
    vec![
        (
            "bert",
            base(
                "bert",
                json!({"type_vocab_size": 3, "hidden_act": "gelu_new"}),
            ),
        ),
        (
            "roberta",
            base("roberta", json!({"pad_token_id": 1, "type_vocab_size": 1})),
        ),
        (
            "distilbert",
            json!({"model_type": "distilbert", "dim": 24, "n_layers": 2, "n_heads": 3,
            "hidden_dim": 20, "max_position_embeddings": 32, "vocab_size": 53, "activation": "relu"}),
        ),
    ]
}

/// Random weights for a config: norm weights around 1, all else large enough that every part matters.
pub(in crate::model) fn random_weights(config: &ModelConfig, seed: u64) -> Memory {
    let mut rng = Rng::new(seed, 7);
    let mut memory = Memory::default();
    for tensor in config.tensors() {
        let elements = tensor.shape.iter().product();
        let (mean, spread) = match tensor.role.as_str() {
            "norm" => (1.0, 0.3),
            "bias" => (0.0, 0.3),
            "embedding" | "position" => (0.0, 0.7),
            _ => (0.0, 0.25),
        };
        let values = (0..elements)
            .map(|_| (mean + spread * rng.normal()) as f32)
            .collect();
        memory.tensors.insert(tensor.name, (tensor.shape, values));
    }
    memory
}

/// Config, weights and the model over both.
pub(in crate::model) fn random_model(config: &Value) -> (ModelConfig, Arc<Memory>, Model) {
    let parsed = ModelConfig::parse(config).unwrap();
    let weights = Arc::new(random_weights(&parsed, 11));
    let model = Model::open(weights.clone(), config).unwrap();
    (parsed, weights, model)
}

/// Token ids that repeat now and then; padding (id 1) among them.
pub(in crate::model) fn some_ids(count: usize, vocabulary: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng::new(seed, 3);
    (0..count)
        .map(|_| rng.below(vocabulary as u64) as u32)
        .collect()
}

/// Largest difference, relative to the largest expected magnitude.
pub(in crate::model) fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0f32, |most, value| most.max(value.abs()));
    let differences = found
        .iter()
        .zip(expected)
        .map(|(one, other)| (one - other).abs());
    // `max` would drop a NaN; infinity is far from everything.
    let worse = |most: f32, next: f32| {
        if next.is_nan() {
            f32::INFINITY
        } else {
            most.max(next)
        }
    };
    differences.fold(0f32, worse) / largest
}

/// All values of a tensor.
pub(in crate::model) fn values(tensor: &candle_core::Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

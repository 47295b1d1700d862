//! The sample model's shape, and its folder as the transformers library would write it. Values are stored in f16.

use crate::memory::MemorySource;
use crate::tokenizer::END_OF_STORY_ID;
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::path::Path;

/// Entries of the vocabulary.
pub const VOCABULARY: usize = 768;

/// Tokens that the model was trained to look back over.
pub const CONTEXT: usize = 256;

/// `config.json`.
pub fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": END_OF_STORY_ID,
        "dtype": "float16",
        "eos_token_id": END_OF_STORY_ID,
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 192,
        "max_position_embeddings": CONTEXT,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "num_key_value_heads": 1,
        "pad_token_id": null,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": true,
        "transformers_version": "5.23.0",
        "use_cache": true,
        "vocab_size": VOCABULARY
    })
}

/// `generation_config.json`.
fn generation_config() -> Value {
    json!({
        "_from_model_config": true,
        "bos_token_id": END_OF_STORY_ID,
        "eos_token_id": END_OF_STORY_ID,
        "transformers_version": "5.23.0",
        "use_cache": true
    })
}

/// `tokenizer_config.json`.
fn tokenizer_config() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": crate::tokenizer::END_OF_STORY,
        "eos_token": crate::tokenizer::END_OF_STORY,
        "model_max_length": CONTEXT
    })
}

/// `weights` as f16 reads them back.
pub fn rounded_to_f16(weights: &MemorySource) -> MemorySource {
    weights.map(|_, _, values| {
        for value in values {
            *value = f16::from_f32(*value).to_f32();
        }
    })
}

/// Writes the model's files into `folder`.
pub fn write(folder: &Path, weights: &MemorySource, tokenizer: &Value) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let pretty = |value: &Value| format!("{value:#}\n");
    std::fs::write(folder.join("config.json"), pretty(&config()))?;
    std::fs::write(
        folder.join("generation_config.json"),
        pretty(&generation_config()),
    )?;
    std::fs::write(
        folder.join("tokenizer_config.json"),
        pretty(&tokenizer_config()),
    )?;
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string())?;
    std::fs::write(folder.join("model.safetensors"), container(weights)?)
}

/// All tensors in f16, as one safetensors file.
fn container(weights: &MemorySource) -> std::io::Result<Vec<u8>> {
    let halves: Vec<(&String, &Vec<usize>, Vec<u8>)> = weights
        .tensors()
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values
                .iter()
                .flat_map(|&value| f16::from_f32(value).to_le_bytes());
            (name, shape, bytes.collect())
        })
        .collect();
    let views = halves
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((
                name.as_str(),
                TensorView::new(Dtype::F16, shape.to_vec(), bytes)?,
            ))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(std::io::Error::other)?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata)).map_err(std::io::Error::other)
}

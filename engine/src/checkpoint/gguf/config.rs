//! The sizes in a GGUF file's metadata as the `config.json` that transformers would have for them.
//!
//! Only what `model` reads is made. Knows no tensors but their shapes.

use super::names::Architecture;
use super::value::Metadata;
use crate::score::PoolingMode;
use serde_json::{Map, Value, json};

/// Divisors of rotary frequencies: up to the original context, and beyond it.
pub(super) type Factors = (Vec<f32>, Vec<f32>);

/// What of a model's tensors its configuration depends on.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// Rows of the token embedding.
    pub(super) vocabulary: usize,
    /// Rows of the table of positions.
    pub(super) positions: Option<usize>,
    /// Rows of the table of token types.
    pub(super) token_types: Option<usize>,
    /// Whether there is an output head.
    pub(super) head: bool,
    /// Whether queries have a bias.
    pub(super) query_bias: bool,
    /// Whether attention's output has a bias.
    pub(super) output_bias: bool,
    /// Whether the feed-forward part has a bias.
    pub(super) mlp_bias: bool,
    /// Divisors of rotary frequencies: up to the original context, and beyond it.
    pub(super) factors: Option<Factors>,
}

/// The configuration; an error is the end of a sentence that begins with the file.
pub(super) fn config(
    architecture: Architecture,
    metadata: &Metadata,
    shapes: &Shapes,
) -> Result<Value, String> {
    let keys = Keys {
        word: architecture.word(),
        metadata,
    };
    if keys.count_or("expert_count", 0)? > 0 {
        return Err("holds a mixture of experts, which is not read".to_owned());
    }
    let mut config = Map::new();
    let mut put = |key: &str, value: Value| config.insert(key.to_owned(), value);
    put("vocab_size", json!(shapes.vocabulary));
    put("tie_word_embeddings", json!(!shapes.head));
    for (key, name) in [
        ("tokenizer.ggml.bos_token_id", "bos_token_id"),
        ("tokenizer.ggml.eos_token_id", "eos_token_id"),
        ("tokenizer.ggml.padding_token_id", "pad_token_id"),
    ] {
        if let Some(id) = metadata.count(key) {
            put(name, json!(id));
        }
    }
    match architecture {
        Architecture::Gpt2 => gpt2(&keys, &mut config)?,
        Architecture::GptNeox => gpt_neox(&keys, shapes, &mut config)?,
        Architecture::Bert => bert(&keys, shapes, &mut config)?,
        _ => like_llama(architecture, &keys, shapes, &mut config)?,
    }
    Ok(Value::Object(config))
}

/// Keys of one architecture.
pub(super) struct Keys<'a> {
    pub(super) word: &'static str,
    pub(super) metadata: &'a Metadata,
}

impl Keys<'_> {
    /// A number of 0 or more, also where every block has the same one in a list; `None` without the key.
    pub(super) fn count_if_any(&self, key: &str) -> Result<Option<u64>, String> {
        let name = self.name(key);
        match self.metadata.get(&name) {
            None => Ok(None),
            Some(_) => match self.metadata.same_count(&name) {
                Some(count) => Ok(Some(count)),
                None => Err(format!(
                    "has a {name} that is no single number of 0 or more, which is not read"
                )),
            },
        }
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.word)
    }

    fn count(&self, key: &str) -> Result<u64, String> {
        let found = self.count_if_any(key)?;
        found.ok_or_else(|| format!("lacks the key {}", self.name(key)))
    }

    fn count_or(&self, key: &str, default: u64) -> Result<u64, String> {
        Ok(self.count_if_any(key)?.unwrap_or(default))
    }

    fn float(&self, key: &str) -> Result<f64, String> {
        let name = self.name(key);
        let found = self.metadata.float(&name);
        found
            .filter(|value| value.is_finite())
            .ok_or_else(|| format!("lacks the number {name}"))
    }

    fn float_or(&self, key: &str, default: f64) -> f64 {
        self.float(key).unwrap_or(default)
    }
}

/// How an encoder pools, as llama.cpp numbers it; `None` where the file does not say.
pub(super) fn pooling(
    architecture: Architecture,
    metadata: &Metadata,
) -> Result<Option<PoolingMode>, String> {
    let keys = Keys {
        word: architecture.word(),
        metadata,
    };
    if architecture != Architecture::Bert {
        return Ok(None);
    }
    Ok(match keys.count_if_any("pooling_type")? {
        None | Some(0) => None,
        Some(1) => Some(PoolingMode::Mean),
        Some(2) => Some(PoolingMode::First),
        Some(3) => Some(PoolingMode::Last),
        Some(other) => return Err(format!("pools by number {other}, which is not read")),
    })
}

/// A float of 32 bits as the shortest decimal that means it: 1e-5 instead of 9.999999747378752e-6.
fn short(value: f64) -> Value {
    let text = (value as f32).to_string();
    json!(text.parse::<f64>().unwrap_or(value))
}

fn like_llama(
    architecture: Architecture,
    keys: &Keys<'_>,
    shapes: &Shapes,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    let (hidden, heads) = (
        keys.count("embedding_length")?,
        keys.count("attention.head_count")?,
    );
    let head_dim = keys.count_or("attention.key_length", hidden / heads.max(1))?;
    let model_type = match architecture {
        // Biases of queries, keys and values alone are what qwen2 has.
        Architecture::Llama if shapes.query_bias && !shapes.output_bias => "qwen2",
        Architecture::Gemma3 => "gemma3_text",
        other => other.word(),
    };
    let values = json!({
        "model_type": model_type,
        "architectures": [class_of(model_type)],
        "hidden_size": hidden,
        "num_hidden_layers": keys.count("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.count_or("attention.head_count_kv", heads)?,
        "head_dim": head_dim,
        "intermediate_size": keys.count("feed_forward_length")?,
        "max_position_embeddings": keys.count("context_length")?,
        "rms_norm_eps": short(keys.float("attention.layer_norm_rms_epsilon")?),
        "attention_bias": model_type != "qwen2" && shapes.query_bias,
        "mlp_bias": shapes.mlp_bias,
    });
    config.extend(values.as_object().cloned().unwrap_or_default());
    rope(keys, shapes, head_dim, config)?;
    match architecture {
        Architecture::Gemma3 => gemma3(keys, hidden, heads, head_dim, config)?,
        Architecture::Phi3 => {
            let window = keys.count_or("attention.sliding_window", 0)?;
            if window > 0 {
                config.insert("sliding_window".to_owned(), json!(window));
            }
        }
        _ => {}
    }
    Ok(())
}

fn class_of(model_type: &str) -> &'static str {
    match model_type {
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        "phi3" => "Phi3ForCausalLM",
        "gemma3_text" => "Gemma3ForCausalLM",
        _ => "LlamaForCausalLM",
    }
}

fn rope(
    keys: &Keys<'_>,
    shapes: &Shapes,
    head_dim: u64,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    config.insert(
        "rope_theta".to_owned(),
        short(keys.float_or("rope.freq_base", 10_000.0)),
    );
    let rotated = keys.count_or("rope.dimension_count", head_dim)?;
    if rotated != head_dim && head_dim > 0 {
        let share = rotated as f64 / head_dim as f64;
        config.insert("partial_rotary_factor".to_owned(), json!(share));
    }
    if let Some(scaling) = scaling(keys, shapes)? {
        config.insert("rope_scaling".to_owned(), scaling);
    }
    Ok(())
}

/// How positions are stretched; `None`: not at all.
fn scaling(keys: &Keys<'_>, shapes: &Shapes) -> Result<Option<Value>, String> {
    let original = keys.count_or(
        "rope.scaling.original_context_length",
        keys.count("context_length")?,
    )?;
    // The older key is still read by llama.cpp; without a type it stretches evenly.
    let factor = keys.float_or(
        "rope.scaling.factor",
        keys.float_or("rope.scale_linear", 1.0),
    );
    let kind = keys.metadata.text(&keys.name("rope.scaling.type"));
    let kind = kind.or((factor != 1.0 && factor != 0.0).then_some("linear"));
    let attention = keys.float_or("rope.scaling.attn_factor", 1.0);
    Ok(Some(match (&shapes.factors, kind) {
        (Some((short_list, long_list)), _) => json!({
            "rope_type": "longrope",
            "short_factor": short_list,
            "long_factor": long_list,
            "original_max_position_embeddings": original,
            "attention_factor": short(attention),
        }),
        (None, Some("linear")) => json!({ "rope_type": "linear", "factor": short(factor) }),
        (None, Some("yarn")) => yarn(factor, original, attention),
        (None, None | Some("none")) => return Ok(None),
        (None, Some(other)) => {
            return Err(format!("stretches positions by {other}, which is not read"));
        }
    }))
}

/// llama.cpp multiplies yarn's own magnitude with `attention`.
fn yarn(factor: f64, original: u64, attention: f64) -> Value {
    let mut scaling = json!({
        "rope_type": "yarn",
        "factor": short(factor),
        "original_max_position_embeddings": original,
    });
    if attention != 1.0 {
        scaling["attention_factor"] = short(attention * yarn_magnitude(factor));
    }
    scaling
}

/// What yarn multiplies cosine and sine with where nothing else is said (Peng et al. 2023, arXiv 2309.00071, section 3.4).
pub fn yarn_magnitude(factor: f64) -> f64 {
    0.1 * factor.max(1.0).ln() + 1.0
}

fn gemma3(
    keys: &Keys<'_>,
    hidden: u64,
    heads: u64,
    head_dim: u64,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    // llama.cpp knows the one size whose queries are scaled otherwise by its number of blocks.
    let scalar = match keys.count_or("block_count", 0)? {
        62 => hidden / heads.max(1),
        _ => head_dim,
    };
    config.insert("query_pre_attn_scalar".to_owned(), json!(scalar));
    config.insert(
        "sliding_window".to_owned(),
        json!(keys.count_or("attention.sliding_window", 4096)?.max(1)),
    );
    let pattern = match keys.count_or("attention.sliding_window", 0)? {
        0 => 1,
        _ => keys.count_or("attention.sliding_window_pattern", 6)?,
    };
    config.insert("sliding_window_pattern".to_owned(), json!(pattern));
    config.insert(
        "rope_local_base_freq".to_owned(),
        short(keys.float_or("rope.freq_base_swa", 10_000.0)),
    );
    if let Ok(cap) = keys.float("final_logit_softcapping") {
        config.insert("final_logit_softcapping".to_owned(), short(cap));
    }
    Ok(())
}

fn gpt2(keys: &Keys<'_>, config: &mut Map<String, Value>) -> Result<(), String> {
    let values = json!({
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": keys.count("embedding_length")?,
        "n_layer": keys.count("block_count")?,
        "n_head": keys.count("attention.head_count")?,
        "n_positions": keys.count("context_length")?,
        "n_inner": keys.count("feed_forward_length")?,
        "layer_norm_epsilon": short(keys.float("attention.layer_norm_epsilon")?),
    });
    config.extend(values.as_object().cloned().unwrap_or_default());
    Ok(())
}

fn gpt_neox(
    keys: &Keys<'_>,
    shapes: &Shapes,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    let (hidden, heads) = (
        keys.count("embedding_length")?,
        keys.count("attention.head_count")?,
    );
    let head_dim = hidden / heads.max(1);
    let rotated = keys.count_or("rope.dimension_count", head_dim)?;
    let parallel = keys
        .metadata
        .flag(&keys.name("use_parallel_residual"))
        .unwrap_or(true);
    let values = json!({
        "model_type": "gpt_neox",
        "architectures": ["GPTNeoXForCausalLM"],
        "hidden_size": hidden,
        "num_hidden_layers": keys.count("block_count")?,
        "num_attention_heads": heads,
        "intermediate_size": keys.count("feed_forward_length")?,
        "max_position_embeddings": keys.count("context_length")?,
        "layer_norm_eps": short(keys.float("attention.layer_norm_epsilon")?),
        "rotary_pct": rotated as f64 / head_dim.max(1) as f64,
        "rotary_emb_base": short(keys.float_or("rope.freq_base", 10_000.0)),
        "use_parallel_residual": parallel,
    });
    config.extend(values.as_object().cloned().unwrap_or_default());
    if let Some(scaling) = scaling(keys, shapes)? {
        config.insert("rope_scaling".to_owned(), scaling);
    }
    activation(keys, config);
    Ok(())
}

/// llama.cpp runs gelu with tanh in either case; a file may say which one the network was trained with.
fn activation(keys: &Keys<'_>, config: &mut Map<String, Value>) {
    let word = keys.metadata.text(&keys.name("hidden_activation"));
    let known = ["gelu", "gelu_new", "gelu_pytorch_tanh"];
    if let Some(word) = word.filter(|word| known.contains(word)) {
        config.insert("hidden_act".to_owned(), json!(word));
    }
}

fn bert(keys: &Keys<'_>, shapes: &Shapes, config: &mut Map<String, Value>) -> Result<(), String> {
    let values = json!({
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": keys.count("embedding_length")?,
        "num_hidden_layers": keys.count("block_count")?,
        "num_attention_heads": keys.count("attention.head_count")?,
        "intermediate_size": keys.count("feed_forward_length")?,
        "max_position_embeddings": shapes.positions.map_or_else(|| keys.count("context_length"), |rows| Ok(rows as u64))?,
        "type_vocab_size": shapes.token_types.unwrap_or(0),
        "layer_norm_eps": short(keys.float("attention.layer_norm_epsilon")?),
    });
    config.extend(values.as_object().cloned().unwrap_or_default());
    activation(keys, config);
    Ok(())
}

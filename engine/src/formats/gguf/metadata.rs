//! The keys that llama.cpp reads of each architecture, from a model's `config.json`, and the tables that go with them.
//!
//! What llama.cpp runs otherwise than the configuration says is an error: nothing is written that would load as another
//! model. Source: llama.cpp's converters and model loaders. Knows no tensors and no vocabulary.

use crate::checkpoint::gguf::names::Architecture;
use crate::checkpoint::gguf::value::Value;
use crate::model::ModelConfig;
use serde_json::Value as Json;

/// Keys, and tensors that no checkpoint has.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) keys: Vec<(String, Value)>,
    /// Divisors of rotary frequencies.
    pub(super) tables: Vec<(&'static str, Vec<f32>)>,
}

/// Describes a network; an error is the end of a sentence.
pub(super) fn describe(
    architecture: Architecture,
    config: &ModelConfig,
    json: &Json,
) -> Result<Described, String> {
    let mut writer = Writer {
        word: architecture.word(),
        json,
        described: Described::default(),
    };
    writer.refuse_activations(architecture)?;
    writer.sizes(architecture, config);
    match architecture {
        Architecture::Gpt2 => writer.refuse(
            json["scale_attn_by_inverse_layer_idx"] == true,
            "scales attention by the number of the block",
        )?,
        Architecture::GptNeox => writer.gpt_neox(config),
        Architecture::Bert => writer.bert(),
        _ => writer.like_llama(architecture, config)?,
    }
    Ok(writer.described)
}

struct Writer<'a> {
    word: &'static str,
    json: &'a Json,
    described: Described,
}

impl Writer<'_> {
    fn put(&mut self, key: &str, value: Value) {
        let key = format!("{}.{key}", self.word);
        self.described.keys.push((key, value));
    }

    fn count(&mut self, key: &str, value: usize) {
        self.put(key, Value::u32(u32::try_from(value).unwrap_or(u32::MAX)));
    }

    fn float(&mut self, key: &str, value: f64) {
        self.put(key, Value::f32(value as f32));
    }

    fn refuse(&self, wrong: bool, problem: &str) -> Result<(), String> {
        match wrong {
            true => Err(format!(
                "{problem}, which llama.cpp's {} does not do",
                self.word
            )),
            false => Ok(()),
        }
    }

    /// llama.cpp fixes the activation of each architecture.
    fn refuse_activations(&self, architecture: Architecture) -> Result<(), String> {
        let (key, known): (&str, &[&str]) = match architecture {
            Architecture::Gpt2 => (
                "activation_function",
                &["gelu_new", "gelu_pytorch_tanh", "gelu_fast"],
            ),
            Architecture::GptNeox | Architecture::Bert => (
                "hidden_act",
                &["gelu", "gelu_python", "gelu_fast", "gelu_new"],
            ),
            Architecture::Gemma3 => ("hidden_activation", &["gelu_pytorch_tanh"]),
            _ => ("hidden_act", &["silu", "swish"]),
        };
        let found = self.json[key].as_str();
        let other = found.filter(|found| !known.contains(found));
        self.refuse(
            other.is_some(),
            &format!("has the activation {}", other.unwrap_or_default()),
        )
    }

    fn sizes(&mut self, architecture: Architecture, config: &ModelConfig) {
        self.count("context_length", config.context_length);
        self.count("embedding_length", config.hidden);
        self.count("block_count", config.blocks);
        self.count("feed_forward_length", config.intermediate);
        self.count("attention.head_count", config.heads);
        self.count("vocab_size", config.vocabulary);
        let is_layer_norm = matches!(
            architecture,
            Architecture::Gpt2 | Architecture::GptNeox | Architecture::Bert
        );
        match is_layer_norm {
            true => self.float("attention.layer_norm_epsilon", config.norm_epsilon()),
            false => self.float("attention.layer_norm_rms_epsilon", config.norm_epsilon()),
        }
    }

    fn like_llama(
        &mut self,
        architecture: Architecture,
        config: &ModelConfig,
    ) -> Result<(), String> {
        self.count("attention.head_count_kv", config.kv_heads);
        self.count("attention.key_length", config.head_dim);
        self.count("attention.value_length", config.head_dim);
        self.rope(architecture, config)?;
        match architecture {
            Architecture::Gemma3 => self.gemma3(config)?,
            Architecture::Phi3 => {
                let window = self.json["sliding_window"].as_u64().unwrap_or(0);
                self.count("attention.sliding_window", window as usize);
            }
            Architecture::Llama => {
                let bias = self.json["attention_bias"] == true;
                self.refuse(
                    bias && config.head_dim * config.heads != config.hidden,
                    "has biases and heads of another width",
                )?;
            }
            Architecture::Qwen3 => self.refuse(
                self.json["attention_bias"] == true,
                "has biases in attention",
            )?,
            _ => {}
        }
        Ok(())
    }

    /// Plain, or stretched by `rope_parameters`, or by `rope_scaling` in older spelling.
    fn rope(&mut self, architecture: Architecture, config: &ModelConfig) -> Result<(), String> {
        let json = self.json;
        let new = &json["rope_parameters"];
        let new = if new["full_attention"].is_object() {
            &new["full_attention"]
        } else {
            new
        };
        let rope = if new.is_object() {
            new
        } else {
            &json["rope_scaling"]
        };
        let default = if architecture == Architecture::Gemma3 {
            1e6
        } else {
            1e4
        };
        let theta = new["rope_theta"]
            .as_f64()
            .or(json["rope_theta"].as_f64())
            .unwrap_or(default);
        let share = new["partial_rotary_factor"]
            .as_f64()
            .or(json["partial_rotary_factor"].as_f64());
        let rotated = (config.head_dim as f64 * share.unwrap_or(1.0)) as usize;
        self.count("rope.dimension_count", rotated);
        self.float("rope.freq_base", theta);
        let kind = rope["rope_type"]
            .as_str()
            .or(rope["type"].as_str())
            .unwrap_or("default");
        let original = rope["original_max_position_embeddings"]
            .as_u64()
            .or(json["original_max_position_embeddings"].as_u64());
        let original = original.map_or(config.context_length, |length| length as usize);
        match kind {
            "default" => {}
            "linear" => self.scaling("linear", rope["factor"].as_f64()),
            "yarn" => {
                self.scaling("yarn", rope["factor"].as_f64());
                self.count("rope.scaling.original_context_length", original);
            }
            "llama3" => self
                .described
                .tables
                .push(("rope_freqs.weight", llama3(rope, theta, rotated)?)),
            "longrope" | "su" => self.longrope(rope, original, config.context_length)?,
            other => {
                return Err(format!(
                    "stretches positions by {other}, which is not written"
                ));
            }
        }
        Ok(())
    }

    fn scaling(&mut self, kind: &str, factor: Option<f64>) {
        self.put("rope.scaling.type", Value::Text(kind.to_owned()));
        if let Some(factor) = factor {
            self.float("rope.scaling.factor", factor);
        }
    }

    fn longrope(
        &mut self,
        rope: &Json,
        original: usize,
        context_length: usize,
    ) -> Result<(), String> {
        self.scaling("longrope", None);
        self.count("rope.scaling.original_context_length", original);
        let stretch = context_length as f64 / original.max(1) as f64;
        let derived = match stretch > 1.0 && original > 1 {
            true => (1.0 + stretch.ln() / (original as f64).ln()).sqrt(),
            false => 1.0,
        };
        self.float(
            "rope.scaling.attn_factor",
            rope["attention_factor"].as_f64().unwrap_or(derived),
        );
        for (key, name) in [
            ("short_factor", "rope_factors_short.weight"),
            ("long_factor", "rope_factors_long.weight"),
        ] {
            let factors = rope[key]
                .as_array()
                .ok_or_else(|| format!("lacks the list {key}"))?;
            let factors = factors
                .iter()
                .map(|factor| factor.as_f64().unwrap_or(1.0) as f32);
            self.described.tables.push((name, factors.collect()));
        }
        Ok(())
    }

    fn gemma3(&mut self, config: &ModelConfig) -> Result<(), String> {
        let known = match config.blocks {
            62 => config.hidden / config.heads,
            _ => config.head_dim,
        };
        let scalar = self.json["query_pre_attn_scalar"].as_f64().unwrap_or(256.0);
        self.refuse(
            scalar != known as f64,
            &format!("scales queries by {scalar} instead of {known}"),
        )?;
        let windows: Vec<Option<usize>> = (0..config.blocks)
            .map(|block| config.window(block))
            .collect();
        let regular = (0..config.blocks)
            .all(|block| windows[block].is_some() != (block + 1).is_multiple_of(6));
        match windows.iter().flatten().next() {
            Some(&window) => {
                self.refuse(
                    !regular,
                    "has another pattern of sliding windows than five of six blocks",
                )?;
                self.count("attention.sliding_window", window);
            }
            None => self.count("attention.sliding_window", 0),
        }
        if let Some(local) = self.json["rope_local_base_freq"]
            .as_f64()
            .or(self.json["rope_parameters"]["sliding_attention"]["rope_theta"].as_f64())
        {
            self.float("rope.freq_base_swa", local);
        }
        self.refuse(
            self.json["attn_logit_softcapping"].is_number(),
            "caps attention's scores",
        )?;
        if let Some(cap) = self.json["final_logit_softcapping"].as_f64() {
            self.float("final_logit_softcapping", cap);
        }
        Ok(())
    }

    fn gpt_neox(&mut self, config: &ModelConfig) {
        let new = &self.json["rope_parameters"];
        let share = new["partial_rotary_factor"]
            .as_f64()
            .or(self.json["rotary_pct"].as_f64())
            .unwrap_or(0.25);
        let theta = new["rope_theta"]
            .as_f64()
            .or(self.json["rotary_emb_base"].as_f64())
            .unwrap_or(1e4);
        self.count(
            "rope.dimension_count",
            (config.head_dim as f64 * share) as usize,
        );
        self.float("rope.freq_base", theta);
        let parallel = self.json["use_parallel_residual"].as_bool().unwrap_or(true);
        self.put("use_parallel_residual", Value::flag(parallel));
    }

    fn bert(&mut self) {
        self.put("attention.causal", Value::flag(false));
        let types = self.json["type_vocab_size"].as_u64().unwrap_or(2) as u32;
        let key = "tokenizer.ggml.token_type_count".to_owned();
        self.described.keys.push((key, Value::u32(types)));
        // Mean pooling, which sentence encoders of this family use.
        self.count("pooling_type", 1);
    }
}

/// What each pair of channels is slowed down by.
fn llama3(rope: &Json, theta: f64, rotated: usize) -> Result<Vec<f32>, String> {
    let number = |key: &str| {
        rope[key]
            .as_f64()
            .ok_or_else(|| format!("lacks {key} in its rotary settings"))
    };
    let (factor, low, high) = (
        number("factor")?,
        number("low_freq_factor")?,
        number("high_freq_factor")?,
    );
    let original = number("original_max_position_embeddings")?;
    let slowed = (0..rotated / 2).map(|pair| {
        let frequency = theta.powf(-((2 * pair) as f64) / rotated as f64);
        let turns = original * frequency / std::f64::consts::TAU;
        let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 / ((1.0 - keep) / factor + keep)) as f32
    });
    Ok(slowed.collect())
}

//! The keys that llama.cpp reads of each architecture, from a model's `config.json`, and the tables that go with them.
//!
//! What llama.cpp runs otherwise than the configuration says is an error: nothing is written that would load as another
//! model. Source: llama.cpp's converters and model loaders. Knows no tensors and no vocabulary.

use crate::checkpoint::gguf::names::Architecture;
use crate::checkpoint::gguf::value::Value;
use crate::model::ModelConfig;
use crate::score::{Pooling, PoolingMode};
use serde_json::Value as Json;

mod fixed;
mod rope;

#[cfg(test)]
mod tests;

/// Keys, and tensors that no checkpoint has.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) keys: Vec<(String, Value)>,
    /// Divisors of rotary frequencies.
    pub(super) tables: Vec<(&'static str, Vec<f32>)>,
    /// What a reader of the report must know.
    pub(super) notes: Vec<String>,
}

/// Describes a network; an error is the end of a sentence.
pub(super) fn describe(
    architecture: Architecture,
    config: &ModelConfig,
    json: &Json,
    pooling: &Pooling,
) -> Result<Described, String> {
    let mut writer = Writer {
        word: architecture.word(),
        json,
        described: Described::default(),
    };
    writer.refuse_other_networks(architecture, config)?;
    writer.sizes(architecture, config);
    match architecture {
        Architecture::Gpt2 => {}
        Architecture::GptNeox => writer.gpt_neox(config)?,
        Architecture::Bert => writer.bert(pooling)?,
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

    fn sizes(&mut self, architecture: Architecture, config: &ModelConfig) {
        self.context_length(architecture, config);
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

    /// llama.cpp's windows slide in gemma3 only; elsewhere the file's context ends where a window would begin to matter.
    fn context_length(&mut self, architecture: Architecture, config: &ModelConfig) {
        let windows = (0..config.blocks).filter_map(|block| config.window(block));
        let narrowest = windows
            .min()
            .filter(|_| architecture != Architecture::Gemma3);
        let length = narrowest.map_or(config.context_length, |window| {
            window.min(config.context_length)
        });
        if length < config.context_length {
            self.described.notes.push(format!(
                "llama.cpp's {} has no sliding windows, so the file's context ends at the window's {length} tokens instead of {}: up to there it computes the same",
                self.word, config.context_length
            ));
        }
        self.count("context_length", length);
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
            _ => {}
        }
        Ok(())
    }

    fn gemma3(&mut self, config: &ModelConfig) -> Result<(), String> {
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
        self.rope_of_windows(config)?;
        if let Some(cap) = config.logit_softcap {
            self.float("final_logit_softcapping", cap);
        }
        Ok(())
    }

    fn gpt_neox(&mut self, config: &ModelConfig) -> Result<(), String> {
        self.rope(Architecture::GptNeox, config)?;
        let parallel = self.json["use_parallel_residual"].as_bool().unwrap_or(true);
        self.put("use_parallel_residual", Value::flag(parallel));
        Ok(())
    }

    fn bert(&mut self, pooling: &Pooling) -> Result<(), String> {
        self.put("attention.causal", Value::flag(false));
        let types = self.json["type_vocab_size"].as_u64().unwrap_or(2) as u32;
        let key = "tokenizer.ggml.token_type_count".to_owned();
        self.described.keys.push((key, Value::u32(types)));
        let number = match pooling.modes[..] {
            [PoolingMode::Mean] => 1,
            [PoolingMode::First] => 2,
            [PoolingMode::Last] => 3,
            [PoolingMode::Max] => {
                return Err("pools by the largest value, which llama.cpp does not do".to_owned());
            }
            [PoolingMode::MeanRoot] => {
                return Err("pools by the sum over the root of the number of tokens, which llama.cpp does not do".to_owned());
            }
            _ => {
                return Err("pools in several ways at once, which llama.cpp does not do".to_owned());
            }
        };
        self.count("pooling_type", number);
        Ok(())
    }
}

//! The `config.json` of a network with fewer blocks, heads, neurons or tokens, as the transformers library reads it.
//!
//! What a family's configuration cannot say is an error that names the family; nothing is written that would load as
//! something else. Knows no tensors and no scores.

use super::super::error::ModelError;
use super::super::family::Family;
use super::ModelConfig;
use serde_json::{Map, Value, json};

/// Sizes of a smaller network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallerSizes {
    /// Blocks that stay, rising.
    pub blocks: Vec<usize>,
    /// Groups of heads that stay in each.
    pub groups: usize,
    /// Neurons that stay in each.
    pub neurons: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
}

impl ModelConfig {
    /// The sizes as they are.
    pub fn sizes(&self) -> SmallerSizes {
        SmallerSizes {
            blocks: (0..self.blocks).collect(),
            groups: self.head_groups(),
            neurons: self.intermediate,
            vocabulary: self.vocabulary,
        }
    }

    /// `config`, which this was read from, with the sizes of a smaller network; notes say what else had to change.
    pub fn smaller_json(
        &self,
        config: &Value,
        sizes: &SmallerSizes,
    ) -> Result<(Value, Vec<String>), ModelError> {
        let mut smaller = config.as_object().cloned().unwrap_or_default();
        // Whatever was packed is dense now.
        smaller.remove("quantization_config");
        let mut notes = Vec::new();
        if sizes.blocks.len() < self.blocks {
            self.write_blocks(&mut smaller, &sizes.blocks)?;
        }
        if sizes.groups < self.head_groups() {
            self.write_heads(&mut smaller, sizes.groups, &mut notes)?;
        }
        if sizes.neurons < self.intermediate {
            let key = self.family.size_keys().intermediate;
            smaller.insert(key.to_owned(), sizes.neurons.into());
        }
        smaller.insert("vocab_size".to_owned(), sizes.vocabulary.into());
        Ok((Value::Object(smaller), notes))
    }

    fn write_blocks(
        &self,
        smaller: &mut Map<String, Value>,
        kept: &[usize],
    ) -> Result<(), ModelError> {
        if self.query_scale_falls {
            return Err(self.cannot(
                "blocks",
                "it scales attention by the number of the block (scale_attn_by_inverse_layer_idx), and numbers would change",
            ));
        }
        let key = self.family.size_keys().blocks;
        smaller.insert(key.to_owned(), kept.len().into());
        if let super::Window::Listed(_, sliding) = &self.window {
            // Older configurations count blocks instead of listing them.
            let kinds = kept.iter().map(|&block| match sliding[block] {
                true => json!("sliding_attention"),
                false => json!("full_attention"),
            });
            smaller.insert("layer_types".to_owned(), Value::Array(kinds.collect()));
        } else if let Some(Value::Array(kinds)) = smaller.get("layer_types") {
            let kinds = kept.iter().filter_map(|&block| kinds.get(block).cloned());
            let kinds = Value::Array(kinds.collect());
            smaller.insert("layer_types".to_owned(), kinds);
        }
        Ok(())
    }

    fn write_heads(
        &self,
        smaller: &mut Map<String, Value>,
        groups: usize,
        notes: &mut Vec<String>,
    ) -> Result<(), ModelError> {
        use Family::*;
        let (heads, key_heads) = self.heads_of(groups);
        match self.family {
            Gpt2 | GptNeox | Opt | Bert | Roberta | DistilBert => {
                return Err(self.cannot(
                    "heads",
                    "its config.json has no head_dim: the width of a head is the hidden size over the number of heads",
                ));
            }
            Llama | Gemma3 if !self.hidden.is_multiple_of(heads) => {
                if self.family == Gemma3 || self.qkv_bias || self.mlp_bias {
                    return Err(self.must_divide(heads));
                }
                write_as_mistral(smaller);
                notes.push(format!(
                    "config.json calls the network mistral: transformers refuses a llama whose hidden size of {} is no multiple of {heads} heads; without biases and with no window the two are one",
                    self.hidden
                ));
            }
            Phi3 if self.hidden / heads != self.head_dim && lists_factors(smaller) => {
                return Err(self.cannot(
                    "heads",
                    "its lists of rotary factors are checked against the hidden size over the number of heads",
                ));
            }
            _ => {}
        }
        let key = self.family.size_keys().heads;
        smaller.insert(key.to_owned(), heads.into());
        smaller.insert("num_key_value_heads".to_owned(), key_heads.into());
        smaller.insert("head_dim".to_owned(), self.head_dim.into());
        Ok(())
    }

    fn must_divide(&self, heads: usize) -> ModelError {
        let fitting = (1..self.head_groups()).map(|groups| self.heads_of(groups).0);
        let fitting: Vec<String> = fitting
            .filter(|&heads| self.hidden.is_multiple_of(heads))
            .map(|heads| heads.to_string())
            .collect();
        self.cannot(
            "heads",
            &format!(
                "transformers wants a hidden size ({}) that is a multiple of the number of heads, and {heads} would stay; these numbers fit: {}",
                self.hidden,
                match fitting.is_empty() {
                    true => "none".to_owned(),
                    false => fitting.join(", "),
                }
            ),
        )
    }

    fn cannot(&self, what: &'static str, reason: &str) -> ModelError {
        ModelError::CannotShrink {
            what,
            family: self.family.name(),
            reason: reason.to_owned(),
        }
    }
}

fn write_as_mistral(smaller: &mut Map<String, Value>) {
    smaller.insert("model_type".to_owned(), "mistral".into());
    smaller.insert("sliding_window".to_owned(), Value::Null);
    if let Some(Value::Array(names)) = smaller.get_mut("architectures") {
        for name in names {
            if let Some(rest) = name.as_str().and_then(|name| name.strip_prefix("Llama")) {
                *name = format!("Mistral{rest}").into();
            }
        }
    }
}

/// Whether rotary attention has a factor of its own for each pair of channels.
fn lists_factors(config: &Map<String, Value>) -> bool {
    ["rope_parameters", "rope_scaling"].iter().any(|key| {
        let rope = config.get(*key);
        rope.is_some_and(|rope| rope.get("short_factor").is_some())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::{tiny_bert, tiny_llama};

    fn smaller(config: &Value, change: impl Fn(&mut SmallerSizes)) -> Result<Value, String> {
        let parsed = ModelConfig::parse(config).unwrap();
        let mut sizes = parsed.sizes();
        change(&mut sizes);
        let made = parsed.smaller_json(config, &sizes);
        made.map(|(made, _)| made)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_same_sizes_are_the_same_config() {
        for config in [tiny_llama(), tiny_bert()] {
            assert_eq!(smaller(&config, |_| {}).unwrap(), config);
        }
    }

    #[test]
    fn heads_are_written_with_their_width() {
        let made = smaller(&tiny_llama(), |sizes| sizes.groups = 1).unwrap();
        let found: Vec<&Value> = ["num_attention_heads", "num_key_value_heads", "head_dim"]
            .iter()
            .map(|key| &made[*key])
            .collect();
        assert_eq!(found, [&json!(2), &json!(1), &json!(4)]);
        assert_eq!(made["model_type"], "llama", "16 is a multiple of 2");
    }

    #[test]
    fn of_heads_with_one_key_the_key_stays() {
        let mut config = tiny_llama();
        config["num_key_value_heads"] = json!(1);
        let made = smaller(&config, |sizes| sizes.groups = 2).unwrap();
        let found = (&made["num_attention_heads"], &made["num_key_value_heads"]);
        assert_eq!(found, (&json!(2), &json!(1)));
    }

    #[test]
    fn a_llama_whose_heads_do_not_divide_is_called_mistral() {
        let mut config = tiny_llama();
        config["num_key_value_heads"] = json!(4);
        config["architectures"] = json!(["LlamaForCausalLM"]);
        let made = smaller(&config, |sizes| sizes.groups = 3).unwrap();
        assert_eq!(made["model_type"], "mistral");
        assert_eq!(made["architectures"], json!(["MistralForCausalLM"]));
        config["attention_bias"] = json!(true);
        let error = smaller(&config, |sizes| sizes.groups = 3).unwrap_err();
        assert!(error.contains("these numbers fit: 1, 2"), "{error}");
    }

    #[test]
    fn families_without_a_width_of_heads_are_refused_by_name() {
        let error = smaller(&tiny_bert(), |sizes| sizes.groups = 3).unwrap_err();
        assert!(
            error.contains("bert") && error.contains("head_dim"),
            "{error}"
        );
    }

    #[test]
    fn blocks_keep_their_windows() {
        let mut config = tiny_llama();
        config["model_type"] = json!("qwen2");
        config["num_hidden_layers"] = json!(4);
        config["use_sliding_window"] = json!(true);
        config["sliding_window"] = json!(8);
        config["max_window_layers"] = json!(2);
        let made = smaller(&config, |sizes| sizes.blocks = vec![0, 2, 3]).unwrap();
        let expected = json!(["full_attention", "sliding_attention", "sliding_attention"]);
        assert_eq!(made["layer_types"], expected);
        let parsed = ModelConfig::parse(&made).unwrap();
        assert_eq!(parsed.window(0), None);
        assert_eq!(parsed.window(1), Some(8));
    }
}

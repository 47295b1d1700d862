//! What each of llama.cpp's architectures fixes in its code: a network that does otherwise is refused.
//!
//! Source: llama.cpp's model definitions (src/models). Knows the configuration only.

use super::Writer;
use crate::checkpoint::gguf::names::Architecture;
use crate::checkpoint::gguf::value::Value;
use crate::model::{Activation, ModelConfig};

impl Writer<'_> {
    /// Activation, scale of queries, widths and biases of every architecture.
    pub(super) fn refuse_other_networks(
        &mut self,
        architecture: Architecture,
        config: &ModelConfig,
    ) -> Result<(), String> {
        self.activation(architecture, config)?;
        self.query_scale(architecture, config)?;
        self.widths_and_biases(architecture, config)?;
        self.refuse(
            config.attention_softcap.is_some(),
            "caps attention's scores",
        )?;
        self.refuse(
            config.logit_softcap.is_some() && architecture != Architecture::Gemma3,
            "caps logits",
        )
    }

    /// Where llama.cpp runs one gelu for both, the file says under its own key which of them the network has.
    fn activation(
        &mut self,
        architecture: Architecture,
        config: &ModelConfig,
    ) -> Result<(), String> {
        let known: &[Activation] = match architecture {
            Architecture::Gpt2 | Architecture::Gemma3 => &[Activation::GeluTanh],
            Architecture::GptNeox | Architecture::Bert => {
                &[Activation::GeluErf, Activation::GeluTanh]
            }
            _ => &[Activation::Silu],
        };
        let word = word_of(config.activation);
        self.refuse(
            !known.contains(&config.activation),
            &format!("has the activation {word}"),
        )?;
        if known.len() > 1 && config.activation == Activation::GeluTanh {
            self.put("hidden_activation", Value::Text(word.to_owned()));
        }
        Ok(())
    }

    fn query_scale(
        &mut self,
        architecture: Architecture,
        config: &ModelConfig,
    ) -> Result<(), String> {
        let width = match (architecture, config.blocks) {
            // The one size whose queries are scaled otherwise is told by its number of blocks.
            (Architecture::Gemma3, 62) => config.hidden / config.heads,
            _ => config.head_dim,
        };
        let known = (width as f64).powf(-0.5);
        let other = (0..config.blocks).find(|&block| config.query_scale(block) != known);
        let Some(block) = other else {
            return Ok(());
        };
        let found = config.query_scale(block);
        self.refuse(
            true,
            &format!("scales the queries of block {block} by {found:.6} instead of {known:.6}"),
        )
    }

    fn widths_and_biases(
        &mut self,
        architecture: Architecture,
        config: &ModelConfig,
    ) -> Result<(), String> {
        let has_other_heads = config.query_width() != config.hidden;
        match architecture {
            Architecture::Qwen2 | Architecture::Phi3 => {
                self.refuse(has_other_heads, "has heads of another width")
            }
            Architecture::Llama => self.refuse(
                config.qkv_bias && has_other_heads,
                "has biases and heads of another width",
            ),
            Architecture::Qwen3 | Architecture::Gemma3 => {
                self.refuse(config.qkv_bias, "has biases in attention")
            }
            Architecture::GptNeox => self.refuse(!config.qkv_bias, "has no biases in attention"),
            Architecture::Gpt2 | Architecture::Bert => Ok(()),
        }
    }
}

/// As `config.json` spells it.
fn word_of(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => "silu",
        Activation::GeluErf => "gelu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
        Activation::Relu => "relu",
    }
}

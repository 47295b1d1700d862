//! The architectures of llama.cpp that are families here: what their tensors are called on both sides, and what lies otherwise.
//!
//! Names are without `.weight` and `.bias`, which both sides share; `{}` stands for the block's number. Source: the tensor
//! tables of llama.cpp (gguf-py constants.py, tensor_mapping.py) and its converters. Knows no sizes and no data.

use crate::model::Family;
pub use crate::packed::Change;

/// An architecture of llama.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Phi3,
    Gemma3,
    Gpt2,
    GptNeox,
    Bert,
}

/// One tensor on both sides.
#[derive(Debug)]
pub struct Name {
    /// In GGUF.
    pub gguf: &'static str,
    /// In transformers, without the model's prefix.
    pub plain: &'static str,
    /// On the way to GGUF.
    pub change: Change,
}

const fn same(gguf: &'static str, plain: &'static str) -> Name {
    changed(gguf, plain, Change::None)
}

const fn changed(gguf: &'static str, plain: &'static str, change: Change) -> Name {
    Name {
        gguf,
        plain,
        change,
    }
}

impl Architecture {
    /// All that are read and written.
    pub const ALL: [Self; 8] = [
        Self::Llama,
        Self::Qwen2,
        Self::Qwen3,
        Self::Phi3,
        Self::Gemma3,
        Self::Gpt2,
        Self::GptNeox,
        Self::Bert,
    ];

    /// The word in `general.architecture`, which also begins its keys.
    pub fn word(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Phi3 => "phi3",
            Self::Gemma3 => "gemma3",
            Self::Gpt2 => "gpt2",
            Self::GptNeox => "gptneox",
            Self::Bert => "bert",
        }
    }

    /// The architecture of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    /// The architecture of a family; `None` where llama.cpp has none.
    pub fn of_family(family: Family) -> Option<Self> {
        Some(match family {
            Family::Llama | Family::Mistral => Self::Llama,
            Family::Qwen2 => Self::Qwen2,
            Family::Qwen3 => Self::Qwen3,
            Family::Phi3 => Self::Phi3,
            Family::Gemma3 => Self::Gemma3,
            Family::Gpt2 => Self::Gpt2,
            Family::GptNeox => Self::GptNeox,
            Family::Bert => Self::Bert,
            Family::Opt | Family::Roberta | Family::DistilBert => return None,
        })
    }

    /// Prefixes of names in transformers; the first is the usual one.
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Gpt2 => &["transformer.", ""],
            Self::GptNeox => &["gpt_neox.", ""],
            Self::Bert => &["bert.", ""],
            _ => &["model.", ""],
        }
    }

    /// The output head in transformers, which has no prefix.
    pub fn head(self) -> &'static str {
        match self {
            Self::GptNeox => "embed_out",
            _ => "lm_head",
        }
    }

    /// All tensors but the output head.
    pub fn names(self) -> &'static [Name] {
        match self {
            Self::Llama => LLAMA,
            Self::Qwen2 | Self::Qwen3 => QWEN,
            Self::Phi3 => PHI3,
            Self::Gemma3 => GEMMA3,
            Self::Gpt2 => GPT2,
            Self::GptNeox => GPT_NEOX,
            Self::Bert => BERT,
        }
    }

    /// Name in transformers of a tensor of a GGUF file, with its suffix, and the change between.
    pub fn to_plain(self, gguf: &str) -> Option<(String, Change)> {
        let (stem, suffix) = split_suffix(gguf)?;
        if stem == "output" {
            return Some((format!("{}{suffix}", self.head()), Change::None));
        }
        let (name, block) = self.find(stem, |name| name.gguf)?;
        let plain = numbered(name.plain, block);
        Some((
            format!("{}{plain}{suffix}", self.prefixes()[0]),
            name.change,
        ))
    }

    /// Name in a GGUF file of a tensor of transformers, with its suffix, and the change between.
    pub fn to_gguf(self, plain: &str) -> Option<(String, Change)> {
        let (stem, suffix) = split_suffix(plain)?;
        if stem == self.head() {
            return Some((format!("output{suffix}"), Change::None));
        }
        self.prefixes().iter().find_map(|prefix| {
            let (name, block) = self.find(stem.strip_prefix(prefix)?, |name| name.plain)?;
            Some((
                format!("{}{suffix}", numbered(name.gguf, block)),
                name.change,
            ))
        })
    }

    fn find(
        self,
        stem: &str,
        side: impl Fn(&Name) -> &'static str,
    ) -> Option<(&'static Name, Option<usize>)> {
        self.names().iter().find_map(|name| {
            let pattern = side(name);
            let Some((before, after)) = pattern.split_once("{}") else {
                return (pattern == stem).then_some((name, None));
            };
            let number = stem.strip_prefix(before)?.strip_suffix(after)?;
            // `parse` alone would take a plus sign, and leading zeros would make two names one.
            let block: usize = number.parse().ok()?;
            (block.to_string() == number).then_some((name, Some(block)))
        })
    }
}

fn split_suffix(name: &str) -> Option<(&str, &str)> {
    [".weight", ".bias"].into_iter().find_map(|suffix| {
        let stem = name.strip_suffix(suffix)?;
        Some((stem, suffix))
    })
}

fn numbered(pattern: &str, block: Option<usize>) -> String {
    match block {
        Some(block) => pattern.replace("{}", &block.to_string()),
        None => pattern.to_owned(),
    }
}

const LLAMA: &[Name] = &[
    same("token_embd", "embed_tokens"),
    same("output_norm", "norm"),
    same("blk.{}.attn_norm", "layers.{}.input_layernorm"),
    changed(
        "blk.{}.attn_q",
        "layers.{}.self_attn.q_proj",
        Change::QueryRows,
    ),
    changed(
        "blk.{}.attn_k",
        "layers.{}.self_attn.k_proj",
        Change::KeyRows,
    ),
    same("blk.{}.attn_v", "layers.{}.self_attn.v_proj"),
    same("blk.{}.attn_output", "layers.{}.self_attn.o_proj"),
    same("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm"),
    same("blk.{}.ffn_gate", "layers.{}.mlp.gate_proj"),
    same("blk.{}.ffn_up", "layers.{}.mlp.up_proj"),
    same("blk.{}.ffn_down", "layers.{}.mlp.down_proj"),
];

const QWEN: &[Name] = &[
    same("token_embd", "embed_tokens"),
    same("output_norm", "norm"),
    same("blk.{}.attn_norm", "layers.{}.input_layernorm"),
    same("blk.{}.attn_q", "layers.{}.self_attn.q_proj"),
    same("blk.{}.attn_k", "layers.{}.self_attn.k_proj"),
    same("blk.{}.attn_v", "layers.{}.self_attn.v_proj"),
    same("blk.{}.attn_q_norm", "layers.{}.self_attn.q_norm"),
    same("blk.{}.attn_k_norm", "layers.{}.self_attn.k_norm"),
    same("blk.{}.attn_output", "layers.{}.self_attn.o_proj"),
    same("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm"),
    same("blk.{}.ffn_gate", "layers.{}.mlp.gate_proj"),
    same("blk.{}.ffn_up", "layers.{}.mlp.up_proj"),
    same("blk.{}.ffn_down", "layers.{}.mlp.down_proj"),
];

const PHI3: &[Name] = &[
    same("token_embd", "embed_tokens"),
    same("output_norm", "norm"),
    same("blk.{}.attn_norm", "layers.{}.input_layernorm"),
    same("blk.{}.attn_qkv", "layers.{}.self_attn.qkv_proj"),
    same("blk.{}.attn_output", "layers.{}.self_attn.o_proj"),
    same("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm"),
    same("blk.{}.ffn_up", "layers.{}.mlp.gate_up_proj"),
    same("blk.{}.ffn_down", "layers.{}.mlp.down_proj"),
];

const GEMMA3: &[Name] = &[
    same("token_embd", "embed_tokens"),
    changed("output_norm", "norm", Change::PlusOne),
    changed(
        "blk.{}.attn_norm",
        "layers.{}.input_layernorm",
        Change::PlusOne,
    ),
    same("blk.{}.attn_q", "layers.{}.self_attn.q_proj"),
    same("blk.{}.attn_k", "layers.{}.self_attn.k_proj"),
    same("blk.{}.attn_v", "layers.{}.self_attn.v_proj"),
    changed(
        "blk.{}.attn_q_norm",
        "layers.{}.self_attn.q_norm",
        Change::PlusOne,
    ),
    changed(
        "blk.{}.attn_k_norm",
        "layers.{}.self_attn.k_norm",
        Change::PlusOne,
    ),
    same("blk.{}.attn_output", "layers.{}.self_attn.o_proj"),
    changed(
        "blk.{}.post_attention_norm",
        "layers.{}.post_attention_layernorm",
        Change::PlusOne,
    ),
    changed(
        "blk.{}.ffn_norm",
        "layers.{}.pre_feedforward_layernorm",
        Change::PlusOne,
    ),
    same("blk.{}.ffn_gate", "layers.{}.mlp.gate_proj"),
    same("blk.{}.ffn_up", "layers.{}.mlp.up_proj"),
    same("blk.{}.ffn_down", "layers.{}.mlp.down_proj"),
    changed(
        "blk.{}.post_ffw_norm",
        "layers.{}.post_feedforward_layernorm",
        Change::PlusOne,
    ),
];

const GPT2: &[Name] = &[
    same("token_embd", "wte"),
    same("position_embd", "wpe"),
    same("output_norm", "ln_f"),
    same("blk.{}.attn_norm", "h.{}.ln_1"),
    changed("blk.{}.attn_qkv", "h.{}.attn.c_attn", Change::Transposed),
    changed("blk.{}.attn_output", "h.{}.attn.c_proj", Change::Transposed),
    same("blk.{}.ffn_norm", "h.{}.ln_2"),
    changed("blk.{}.ffn_up", "h.{}.mlp.c_fc", Change::Transposed),
    changed("blk.{}.ffn_down", "h.{}.mlp.c_proj", Change::Transposed),
];

const GPT_NEOX: &[Name] = &[
    same("token_embd", "embed_in"),
    same("output_norm", "final_layer_norm"),
    same("blk.{}.attn_norm", "layers.{}.input_layernorm"),
    changed(
        "blk.{}.attn_qkv",
        "layers.{}.attention.query_key_value",
        Change::StackedHeads,
    ),
    same("blk.{}.attn_output", "layers.{}.attention.dense"),
    same("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm"),
    same("blk.{}.ffn_up", "layers.{}.mlp.dense_h_to_4h"),
    same("blk.{}.ffn_down", "layers.{}.mlp.dense_4h_to_h"),
];

const BERT: &[Name] = &[
    same("token_embd", "embeddings.word_embeddings"),
    same("position_embd", "embeddings.position_embeddings"),
    same("token_types", "embeddings.token_type_embeddings"),
    same("token_embd_norm", "embeddings.LayerNorm"),
    same("blk.{}.attn_q", "encoder.layer.{}.attention.self.query"),
    same("blk.{}.attn_k", "encoder.layer.{}.attention.self.key"),
    same("blk.{}.attn_v", "encoder.layer.{}.attention.self.value"),
    same(
        "blk.{}.attn_output",
        "encoder.layer.{}.attention.output.dense",
    ),
    same(
        "blk.{}.attn_output_norm",
        "encoder.layer.{}.attention.output.LayerNorm",
    ),
    same("blk.{}.ffn_up", "encoder.layer.{}.intermediate.dense"),
    same("blk.{}.ffn_down", "encoder.layer.{}.output.dense"),
    same(
        "blk.{}.layer_output_norm",
        "encoder.layer.{}.output.LayerNorm",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for architecture in Architecture::ALL {
            for name in architecture.names() {
                let gguf = format!("{}.weight", numbered(name.gguf, Some(12)));
                let (plain, change) = architecture.to_plain(&gguf).unwrap();
                assert_eq!(change, name.change, "{gguf}");
                assert_eq!(
                    architecture.to_gguf(&plain),
                    Some((gguf, name.change)),
                    "{plain}"
                );
            }
        }
        let bare = Architecture::Bert.to_gguf("encoder.layer.3.output.dense.bias");
        assert_eq!(
            bare.map(|found| found.0).as_deref(),
            Some("blk.3.ffn_down.bias")
        );
        for hostile in [
            "blk.+1.attn_q.weight",
            "blk.01.attn_q.weight",
            "blk..attn_q.weight",
            "attn_q",
        ] {
            assert_eq!(Architecture::Llama.to_plain(hostile), None, "{hostile}");
        }
    }
}

//! Checkpoints of a Llama's shape: small ones with numbers in them, large ones that are mostly holes.

#![allow(clippy::disallowed_methods)] // Temporary files.

use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Sides of a network.
pub(crate) struct Shape {
    blocks: usize,
    hidden: usize,
    inner: usize,
    vocabulary: usize,
    heads: usize,
    /// Nothing but the header is written; the rest reads as zeros and takes no disk.
    sparse: bool,
}

impl Shape {
    /// Layers of a block that can be compressed.
    pub(crate) const LINEAR: usize = 7;

    /// Many small layers.
    pub(crate) fn small(blocks: usize) -> Self {
        Self {
            blocks,
            hidden: 64,
            inner: 128,
            vocabulary: 256,
            heads: 4,
            sparse: false,
        }
    }

    /// 13.5 GB in bf16.
    pub(crate) fn llama_7b() -> Self {
        Self {
            blocks: 32,
            hidden: 4096,
            inner: 11008,
            vocabulary: 32000,
            heads: 32,
            sparse: true,
        }
    }

    fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.blocks,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "head_dim": self.hidden / self.heads,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": false,
            "vocab_size": self.vocabulary
        })
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner, vocabulary) = (self.hidden, self.inner, self.vocabulary);
        let mut tensors = vec![(
            "model.embed_tokens.weight".to_owned(),
            vec![vocabulary, hidden],
        )];
        for block in 0..self.blocks {
            let parts = [
                ("input_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![hidden, hidden]),
                ("self_attn.k_proj", vec![hidden, hidden]),
                ("self_attn.v_proj", vec![hidden, hidden]),
                ("self_attn.o_proj", vec![hidden, hidden]),
                ("post_attention_layernorm", vec![hidden]),
                ("mlp.gate_proj", vec![inner, hidden]),
                ("mlp.up_proj", vec![inner, hidden]),
                ("mlp.down_proj", vec![hidden, inner]),
            ];
            tensors.extend(
                parts.map(|(part, shape)| (format!("model.layers.{block}.{part}.weight"), shape)),
            );
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
        tensors.push(("lm_head.weight".to_owned(), vec![vocabulary, hidden]));
        tensors
    }
}

/// Writes a model into `folder`/model; its path.
pub(crate) fn write(folder: &Path, shape: &Shape) -> PathBuf {
    let model = folder.join("model");
    fs::create_dir_all(&model).unwrap();
    fs::write(model.join("config.json"), shape.config().to_string()).unwrap();
    let mut header = Map::new();
    let mut end: u64 = 0;
    for (name, shape) in shape.tensors() {
        let begin = end;
        end += 2 * shape.iter().product::<usize>() as u64;
        header.insert(
            name,
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}),
        );
    }
    let header = Value::Object(header).to_string();
    let file = File::create(model.join("model.safetensors")).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
    let mut writer = BufWriter::new(file);
    writer
        .write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    writer.write_all(header.as_bytes()).unwrap();
    if !shape.sparse {
        for number in 0..end / 2 {
            writer.write_all(&value(number).to_le_bytes()).unwrap();
        }
    }
    writer.flush().unwrap();
    model
}

/// Some bf16 between -0.03 and 0.03, each number its own.
fn value(number: u64) -> u16 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let value = (mixed as f32 / (1 << 24) as f32 - 0.5) * 0.06;
    (value.to_bits() >> 16) as u16
}

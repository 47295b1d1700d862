//! Small networks with random weights in memory, for tests of the floors above.
#![allow(clippy::unwrap_used)]

mod codes;

pub(crate) use codes::{Pair, Stored};

use super::{Model, ModelConfig};
use crate::rng::Rng;
use crate::tensor::{Dtype, Matrix, SourceError, TensorInfo, WeightSource};
use serde_json::{Value, json};
use std::sync::Arc;

/// Named f32 tensors, in forward order.
struct Memory(Vec<(String, Vec<usize>, Vec<f32>)>);

/// The config of a Llama with 2 blocks and 37 tokens.
pub(crate) fn tiny_llama() -> Value {
    json!({"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 37, "max_position_embeddings": 32,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false, "hidden_act": "silu"})
}

/// The config of a BERT with 2 blocks and 37 tokens.
pub(crate) fn tiny_bert() -> Value {
    json!({"model_type": "bert", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 37, "max_position_embeddings": 32, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu"})
}

/// The config of a GPT-2 with 2 blocks and 37 tokens.
pub(crate) fn tiny_gpt2() -> Value {
    json!({"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 37,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"})
}

/// Matrices drawn by `seed`, `noise` of another draw added to them, norms one, biases zero.
pub(crate) fn random_model(config: &Value, seed: u64, noise: f64) -> Model {
    let tensors = ModelConfig::parse(config).unwrap().tensors();
    let (mut rng, mut noise_rng) = (Rng::new(seed, 0), Rng::new(seed, 1));
    let filled = tensors.into_iter().map(|tensor| {
        let mut value = || match tensor.shape.len() {
            1 if tensor.name.ends_with("bias") => 0.0,
            1 => 1.0,
            _ => (0.3 * rng.normal() + noise * noise_rng.normal()) as f32,
        };
        let values = (0..tensor.shape.iter().product())
            .map(|_| value())
            .collect();
        (tensor.name, tensor.shape, values)
    });
    Model::open(Arc::new(Memory(filled.collect())), config).unwrap()
}

impl Memory {
    fn find(&self, name: &str) -> Option<&(String, Vec<usize>, Vec<f32>)> {
        self.0.iter().find(|(own, ..)| own == name)
    }
}

impl WeightSource for Memory {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, ..)| name.clone()).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let (_, shape, values) = self.find(name)?;
        Some(TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
            size_bytes: 4 * values.len() as u64,
        })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        let found = self.find(name).map(|(_, _, values)| values.clone());
        found.ok_or_else(|| SourceError::Missing {
            name: name.to_owned(),
        })
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let values = self.read_f32(name)?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        buffer.copy_from_slice(&bytes[offset as usize..offset as usize + buffer.len()]);
        Ok(())
    }
}

/// `model` with some layers' weights replaced at their source.
pub(crate) fn with_weights(
    model: &Model,
    config: &Value,
    changed: &[(usize, Arc<Matrix>)],
) -> Model {
    let source = model.source();
    let stored = source.names().into_iter().map(|name| {
        let shape = source.info(&name).unwrap().shape;
        let place = model.layers().iter().position(|layer| layer.tensor == name);
        let replaced = changed.iter().find(|(layer, _)| Some(*layer) == place);
        let values = match replaced {
            Some((layer, weights)) if model.layers()[*layer].transposed => {
                weights.transposed().into_data()
            }
            Some((_, weights)) => weights.data().to_vec(),
            None => source.read_f32(&name).unwrap(),
        };
        (name, shape, values)
    });
    Model::open(Arc::new(Memory(stored.collect())), config).unwrap()
}

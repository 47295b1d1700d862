//! Adapters as the PEFT library lays them out: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Tensors are `base_model.model.<layer>.lora_A.weight` `[rank, in]` and `….lora_B.weight` `[out, rank]`, in f32. Layers
//! are called as in the checkpoint of the base. Knows no network: which layers there are, others say.

mod config;
mod read;
#[cfg(test)]
mod tests;

pub use config::PeftConfig;
pub use read::{PeftError, read_peft};

use super::StoreError;
use super::store::atomic::write_bytes;
use super::store::stream::{TensorSpec, file_bytes, write_tensors};
use crate::grid::ScaleDtype;
use crate::packed::floats;
use crate::tensor::{Dtype, Matrix};
use std::path::Path;

/// Name of the file of settings.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// Name of the file of tensors.
pub const TENSOR_FILE: &str = "adapter_model.safetensors";
/// What PEFT wraps a model in.
const PREFIX: &str = "base_model.model.";

/// One layer's matrices.
#[derive(Debug, Clone, PartialEq)]
pub struct PeftLayer {
    /// The layer's name, without `.weight`.
    pub name: String,
    /// `[rank, in]`.
    pub down: Matrix,
    /// `[out, rank]`.
    pub up: Matrix,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Peft {
    /// Its settings.
    pub config: PeftConfig,
    /// Its layers, in the order of their names.
    pub layers: Vec<PeftLayer>,
}

/// Writes `adapter` into the folder `out`, which exists; gives the bytes written.
pub fn write_peft(adapter: &Peft, out: &Path) -> Result<u64, StoreError> {
    let mut specs = Vec::new();
    let mut matrices = Vec::new();
    for layer in &adapter.layers {
        for (letter, matrix) in [("A", &layer.down), ("B", &layer.up)] {
            specs.push(TensorSpec {
                name: format!("{PREFIX}{}.lora_{letter}.weight", layer.name),
                dtype: Dtype::F32,
                shape: vec![matrix.rows(), matrix.columns()],
            });
            matrices.push(matrix);
        }
    }
    let path = out.join(TENSOR_FILE);
    let metadata = [("format".to_owned(), "pt".to_owned())];
    write_tensors(&path, &specs, &metadata, |index, output| {
        let bytes = floats::to_bytes(matrices[index].data(), ScaleDtype::F32);
        output
            .write_all(&bytes)
            .map_err(StoreError::io("could not be written", &path))
    })?;
    let text = format!("{:#}\n", adapter.config.to_json());
    write_bytes(&out.join(CONFIG_FILE), text.as_bytes())?;
    Ok(file_bytes(&specs, &metadata) + text.len() as u64)
}

/// The words by which PEFT finds `adapted` among `all` linear layers: last parts of names where these mean no other
/// layer, else whole names.
pub fn target_words(adapted: &[&str], all: &[&str]) -> Vec<String> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let mut words: Vec<String> = adapted.iter().map(|name| last(name)).collect();
    words.sort();
    words.dedup();
    let means_others = all
        .iter()
        .any(|name| words.contains(&last(name)) && !adapted.contains(name));
    if means_others {
        return adapted.iter().map(|&name| name.to_owned()).collect();
    }
    words
}

//! Adapters as the PEFT library lays them out: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Tensors are `base_model.model.<layer>.lora_A.weight` `[rank, in]` and `….lora_B.weight` `[out, rank]`, in f32. Layers
//! are called as in the class that transformers loads the base into. Knows no network: which layers there are, others say.

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

impl PeftLayer {
    /// What is added to the weight, `[out, in]`, where the product of both matrices counts `scaling`.
    pub fn product(&self, scaling: f64) -> Matrix {
        let mut sum = Matrix::zeros(self.up.rows(), self.down.columns());
        for row in 0..self.up.rows() {
            let output = sum.row_mut(row);
            for (rank, &share) in self.up.row(row).iter().enumerate() {
                let share = (f64::from(share) * scaling) as f32;
                for (value, inner) in output.iter_mut().zip(self.down.row(rank)) {
                    *value += share * inner;
                }
            }
        }
        sum
    }
}

/// What the product of both matrices is multiplied by: `alpha / rank`, or `alpha / sqrt(rank)` where `by_root`
/// (Kalajdzievski 2023, arXiv 2312.03732).
pub fn scaling(alpha: f64, rank: usize, by_root: bool) -> f64 {
    match by_root {
        true => alpha / (rank as f64).sqrt(),
        false => alpha / rank as f64,
    }
}

/// An adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Peft {
    /// Its settings.
    pub config: PeftConfig,
    /// Its layers, in the order of their names.
    pub layers: Vec<PeftLayer>,
}

/// Writes `adapter` into the folder `out`, which exists and which nobody reads yet: the tensors are there before the
/// settings. Gives the bytes written.
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

/// The words by which PEFT finds `adapted` among `all` modules: as many last parts of their names as it takes to mean no
/// other module, else whole names.
pub fn target_words(adapted: &[&str], all: &[&str]) -> Vec<String> {
    let others: Vec<&&str> = all.iter().filter(|name| !adapted.contains(name)).collect();
    for parts in 1..=MOST_PARTS {
        let mut words: Vec<&str> = adapted.iter().map(|name| last_parts(name, parts)).collect();
        words.sort_unstable();
        words.dedup();
        let means_others = others
            .iter()
            .any(|name| words.iter().any(|word| is_meant(name, word)));
        if !means_others {
            return words.into_iter().map(str::to_owned).collect();
        }
    }
    adapted.iter().map(|&name| name.to_owned()).collect()
}

/// More would soon take in the number of the block.
const MOST_PARTS: usize = 2;

fn last_parts(name: &str, parts: usize) -> &str {
    let dots = name.rmatch_indices('.');
    dots.map(|(place, _)| place + 1)
        .nth(parts - 1)
        .map_or(name, |start| &name[start..])
}

/// As PEFT asks: the name itself, or its end behind a dot.
fn is_meant(name: &str, word: &str) -> bool {
    let before = name.strip_suffix(word);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

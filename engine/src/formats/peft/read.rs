//! Reads an adapter's folder; any program may have written it, so everything is checked.

use super::{CONFIG_FILE, PREFIX, Peft, PeftConfig, PeftLayer, TENSOR_FILE};
use crate::tensor::Matrix;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Settings of adapters are short.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Adapters are thin; anything larger is none.
const MAX_TENSOR_BYTES: u64 = 8 << 30;

/// Why an adapter cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PeftError {
    #[error("the adapter cannot be read: {problem}; name a folder that PEFT or pare wrote; {path}")]
    Unreadable { problem: String, path: PathBuf },
    #[error("the adapter cannot be used: {problem}")]
    Config { problem: String },
    #[error("the adapter cannot be used: tensor {tensor} {problem}")]
    Tensor { tensor: String, problem: String },
}

/// The adapter in `folder`.
pub fn read_peft(folder: &Path) -> Result<Peft, PeftError> {
    let text = read_limited(&folder.join(CONFIG_FILE), MAX_CONFIG_BYTES)?;
    let json = serde_json::from_slice(&text).map_err(|error| PeftError::Unreadable {
        problem: format!("{CONFIG_FILE} is no JSON ({error})"),
        path: folder.to_owned(),
    })?;
    let config = PeftConfig::of_json(&json)?;
    let bytes = read_limited(&folder.join(TENSOR_FILE), MAX_TENSOR_BYTES)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| PeftError::Unreadable {
        problem: format!("{TENSOR_FILE} is no safetensors file ({error})"),
        path: folder.to_owned(),
    })?;
    let mut halves: BTreeMap<String, [Option<Matrix>; 2]> = BTreeMap::new();
    for (tensor, view) in file.iter() {
        let problem = |problem: &str| PeftError::Tensor {
            tensor: tensor.to_owned(),
            problem: problem.to_owned(),
        };
        let (layer, half) =
            place(tensor).ok_or_else(|| problem("is no matrix of LoRA on a linear layer"))?;
        let matrix = matrix(&view).map_err(problem)?;
        halves.entry(layer).or_default()[half] = Some(matrix);
    }
    let layers = halves
        .into_iter()
        .map(|(name, halves)| layer(name, halves, config.rank));
    let layers = layers.collect::<Result<Vec<PeftLayer>, PeftError>>()?;
    match layers.is_empty() {
        false => Ok(Peft { config, layers }),
        true => Err(PeftError::Config {
            problem: "it holds no matrices".to_owned(),
        }),
    }
}

/// Layer and half (0 = A, 1 = B) that a tensor is of.
fn place(tensor: &str) -> Option<(String, usize)> {
    let inner = tensor.strip_prefix(PREFIX)?;
    let ends = [".lora_A.weight", ".lora_B.weight"];
    let half = ends.iter().position(|end| inner.ends_with(end))?;
    Some((inner.strip_suffix(ends[half])?.to_owned(), half))
}

fn matrix(view: &TensorView<'_>) -> Result<Matrix, &'static str> {
    let &[rows, columns] = view.shape() else {
        return Err("is no matrix");
    };
    let half_words = || view.data().chunks_exact(2).map(|two| [two[0], two[1]]);
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            let words = view.data().chunks_exact(4);
            words
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect()
        }
        Dtype::F16 => half_words()
            .map(|two| half::f16::from_le_bytes(two).to_f32())
            .collect(),
        Dtype::BF16 => half_words()
            .map(|two| half::bf16::from_le_bytes(two).to_f32())
            .collect(),
        _ => return Err("is not of f32, f16 or bf16"),
    };
    match values.iter().all(|value| value.is_finite()) && rows * columns == values.len() {
        true => Ok(Matrix::new(rows, columns, values)),
        false => Err("holds values that are no finite numbers"),
    }
}

fn layer(name: String, halves: [Option<Matrix>; 2], rank: usize) -> Result<PeftLayer, PeftError> {
    let problem = |problem: &str| PeftError::Tensor {
        tensor: name.clone(),
        problem: problem.to_owned(),
    };
    let [Some(down), Some(up)] = halves else {
        return Err(problem("has one matrix of two"));
    };
    if down.rows() != rank || up.columns() != rank {
        return Err(problem("has another rank than the adapter's settings say"));
    }
    Ok(PeftLayer { name, down, up })
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, PeftError> {
    let problem = |problem: String| PeftError::Unreadable {
        problem,
        path: path.to_owned(),
    };
    let data = fs::metadata(path).map_err(|error| problem(error.to_string()))?;
    if !data.is_file() || data.len() > limit {
        return Err(problem("it is no file of such a size".to_owned()));
    }
    fs::read(path).map_err(|error| problem(error.to_string()))
}

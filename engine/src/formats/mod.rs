//! Containers that Pare writes: planned to the byte (`layout`), made into bytes (`emit`), written and opened again
//! (`assemble_run`, `verify_run`), kept as runs (`store`), turned into each other (`export`). Knows no solver and no network.

mod assemble;
pub mod cache;
pub mod emit;
mod export;
pub mod gguf;
mod held_values;
mod kept;
pub mod layout;
mod moments_file;
pub mod onnx;
pub mod peft;
pub mod programs;
pub mod store;

pub use assemble::{assemble_run, verify_run};
pub use export::export;
pub use held_values::preflight_of_solved;
pub use store::{RunFolder, StoreError};

use crate::packed::External;

/// The words for containers, as the command line spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Holds everything that solvers yield.
    Pare,
    /// Same names and dtypes as the source, weights rounded to the solved values.
    Dense,
    /// The layout of AutoGPTQ, GPTQModel, transformers and vLLM.
    Gptq,
    /// The layout of AutoAWQ, transformers and vLLM.
    Awq,
    /// compressed-tensors: vLLM and transformers.
    CompressedTensors,
    /// One file of llama.cpp.
    Gguf,
    /// Quantized safetensors of mlx-lm.
    Mlx,
    /// 4-bit layers of bitsandbytes, as transformers saves them.
    #[serde(rename = "bnb-nf4")]
    BnbNf4,
    /// A graph of operators for ONNX Runtime, and its weights.
    Onnx,
}

impl Format {
    /// All formats, in the order in which errors list them.
    pub const ALL: [Self; 9] = [
        Self::Pare,
        Self::Dense,
        Self::Gptq,
        Self::Awq,
        Self::CompressedTensors,
        Self::Gguf,
        Self::Mlx,
        Self::BnbNf4,
        Self::Onnx,
    ];

    /// Those that are folders of safetensors files under the source's own names.
    pub const SAFETENSORS: [Self; 7] = [
        Self::Pare,
        Self::Dense,
        Self::Gptq,
        Self::Awq,
        Self::CompressedTensors,
        Self::Mlx,
        Self::BnbNf4,
    ];

    /// The container of another program's safetensors that it is; `None` of our own, of GGUF and of ONNX.
    pub fn external(self) -> Option<External> {
        match self {
            Self::Gptq => Some(External::Gptq),
            Self::Mlx => Some(External::Mlx),
            Self::BnbNf4 => Some(External::Bnb),
            Self::CompressedTensors => Some(External::CompressedTensors),
            Self::Awq => Some(External::Awq),
            Self::Pare | Self::Dense | Self::Gguf | Self::Onnx => None,
        }
    }

    /// Whether its loaders fuse q/k/v and gate/up into one weight, so that those must be stored alike.
    pub fn fuses_peers(self) -> bool {
        self.external().is_some_and(External::fuses_peers)
    }

    /// The format's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pare => "pare",
            Self::Dense => "dense",
            Self::Gptq => "gptq",
            Self::CompressedTensors => "compressed-tensors",
            Self::Awq => "awq",
            Self::Gguf => "gguf",
            Self::Mlx => "mlx",
            Self::BnbNf4 => "bnb-nf4",
            Self::Onnx => "onnx",
        }
    }
}

/// A word that names no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no format {word:?}; use one of pare, dense, gptq, awq, compressed-tensors, gguf, mlx, bnb-nf4, onnx"
)]
pub struct UnknownFormat {
    /// The word.
    pub word: String,
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.word() == word)
            .ok_or_else(|| UnknownFormat {
                word: word.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests;

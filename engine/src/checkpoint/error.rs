//! What can be wrong with a model on disk, in words: what failed, why, what to do next, the path last.

use std::path::PathBuf;

use super::gguf::header::GgufError;
use super::header::HeaderError;

/// Why a path could not be opened as a model. One variant for each way of being wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckpointError {
    #[error("no model could be opened: nothing is there; check the path: {path}")]
    NotFound { path: PathBuf },
    #[error("{what} could not be read: {source}; check that the file is readable: {path}")]
    Io {
        what: &'static str,
        source: std::io::Error,
        path: PathBuf,
    },
    #[error(
        "no model could be opened: this is neither a folder nor a regular file; name a model folder, a .safetensors or a .gguf file: {path}"
    )]
    NotAFile { path: PathBuf },
    #[error(
        "no model could be opened: only folders, .safetensors and .gguf files are read; name the model's folder or convert the file to safetensors: {path}"
    )]
    UnknownFile { path: PathBuf },
    #[error(
        "no model could be opened: the folder is empty; name a folder that holds config.json and *.safetensors: {path}"
    )]
    EmptyFolder { path: PathBuf },
    #[error(
        "no model could be opened: the folder holds no .safetensors file; name a folder that holds config.json and *.safetensors: {path}"
    )]
    NoWeights { path: PathBuf },
    #[error(
        "no model could be opened: the folder holds an ONNX model, which is written and not read; name the model that it was made of, or its run in format pare: {path}"
    )]
    Onnx { path: PathBuf },
    #[error(
        "no model could be opened: the weights ({found}) are pickled, and loading them could run foreign code; convert them to safetensors first, for instance with transformers' save_pretrained: {path}"
    )]
    Pickled { found: String, path: PathBuf },
    #[error("{what} is not valid JSON ({problem}); fetch the file again: {path}")]
    NotJson {
        what: &'static str,
        problem: String,
        path: PathBuf,
    },
    #[error(
        "{what} has {bytes} bytes, more than the {limit} that are read; fetch it again: {path}"
    )]
    TooLarge {
        what: &'static str,
        bytes: u64,
        limit: u64,
        path: PathBuf,
    },
    #[error("the weights could not be opened: {source}; fetch or write the file again: {path}")]
    Header { source: HeaderError, path: PathBuf },
    #[error("the GGUF file could not be opened: {source}; fetch or write it again: {path}")]
    Gguf { source: GgufError, path: PathBuf },
    #[error("the GGUF file {problem}; use another file of this model: {path}")]
    GgufModel { problem: String, path: PathBuf },
    #[error("the shard index {problem}; fetch it again: {path}")]
    Index { problem: String, path: PathBuf },
    #[error(
        "the shard index names {shard:?}, which is no file name inside the folder; do not trust this model: {path}"
    )]
    ShardEscapes { shard: String, path: PathBuf },
    #[error("a shard is missing: {shard}; fetch it into the folder: {path}")]
    MissingShard { shard: String, path: PathBuf },
    #[error(
        "the shard index puts tensor {tensor} into {shard}, which does not hold it; fetch index and shards again: {path}"
    )]
    MissingTensor {
        tensor: String,
        shard: String,
        path: PathBuf,
    },
    #[error(
        "tensor {tensor} stands in two files, {first} and {second}; keep only one set of weights in the folder: {path}"
    )]
    TensorTwice {
        tensor: String,
        first: String,
        second: String,
        path: PathBuf,
    },
    #[error("the compressed layer {layer} {problem}; write or fetch the model again: {path}")]
    Packed {
        layer: String,
        problem: String,
        path: PathBuf,
    },
    #[error(
        "the model cannot be rewritten: tensor {tensor} and {others} others are stored as {dtype}, which cannot be read, and would be lost; convert the model to bf16 first: {path}"
    )]
    Unreadable {
        tensor: String,
        others: usize,
        dtype: String,
        path: PathBuf,
    },
    #[error(
        "the packed layers have a manifest of version {found}, newer than {known}; update the program: {path}"
    )]
    NewerManifest {
        found: u32,
        known: u32,
        path: PathBuf,
    },
    #[error(
        "the model is quantized with {method}, which cannot be read; open the original model instead: {path}"
    )]
    UnknownQuantization { method: String, path: PathBuf },
}

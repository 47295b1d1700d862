//! Why a model cannot be laid out in a container.

use std::path::PathBuf;

/// Why a layout cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The recipe is strict and the container cannot hold it.
    #[error(
        "format {format} cannot hold the recipe, and it is strict: {layers}; change these layers, choose format pare, or set strict = false"
    )]
    Strict {
        /// The container's word.
        format: &'static str,
        /// Layers with reasons.
        layers: String,
    },
    /// The container needs `config.json`.
    #[error(
        "format {format} writes its settings into config.json, and the model has none; choose format pare or dense; {path}"
    )]
    NoConfig {
        /// The container's word.
        format: &'static str,
        /// The model.
        path: PathBuf,
    },
    /// llama.cpp could not run it.
    #[error("the model cannot be written as GGUF: {problem}; choose another format; {path}")]
    Gguf {
        /// Why.
        problem: String,
        /// The model.
        path: PathBuf,
    },
    /// It cannot be written down as a graph.
    #[error("the model cannot be written as ONNX: {problem}; choose another format; {path}")]
    Onnx {
        /// Why.
        problem: String,
        /// The model.
        path: PathBuf,
    },
    /// A layer's tensor is not in the source.
    #[error("layer {layer} has no tensor {tensor} in the model; open the model again")]
    NoTensor {
        /// The layer.
        layer: String,
        /// Its tensor.
        tensor: String,
    },
    /// Two tensors of the written model would share a name.
    #[error("the written model would hold two tensors named {name}; choose another format")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A layer of an impossible size.
    #[error("layer {layer} is too large for any machine")]
    TooLarge {
        /// The layer.
        layer: String,
    },
    /// A side file cannot be read.
    #[error("a file beside the model could not be read: {source}; {path}")]
    SideFile {
        /// The operating system's word.
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
}

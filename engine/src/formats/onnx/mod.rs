//! ONNX, the format of ONNX Runtime: a network written down as a graph of operators, with its weights in a file beside it.
//!
//! `weight` says how a layer lies, `hold` what cannot lie so, `network` (with `block`, `attention`, `layers`, `products`) writes the graph, `plan`
//! lays out both files to the byte and `write` writes them and reads them again. `proto` and `wire` are the bytes of a graph.

mod attention;
mod block;
mod codes;
mod element;
mod graph;
mod hold;
mod layers;
mod network;
mod ops;
mod plan;
mod products;
mod proto;
mod read_back;
mod weight;
mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use element::Element;
pub use graph::StoredTensor;
pub(super) use hold::hold;
pub(super) use plan::files;
pub use plan::{OnnxPlan, plan};
pub use weight::{BlockZeros, OnnxForm, OnnxWeight};
pub(super) use write::{Materials, verify, write_data};

/// The graph's file in a run folder.
pub const MODEL_FILE: &str = "model.onnx";

/// The file of its tensors.
pub const DATA_FILE: &str = "model.onnx_data";

/// The set of operators that graphs are made of.
const OPERATORS: i64 = 21;

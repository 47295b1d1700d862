//! How good a model is: perplexity of a decoder, sentence embeddings of an encoder, each alone or beside a reference.
//!
//! Sequences stream through the network in groups: with all weights resident where memory allows, else one block at a
//! time. Neither memory nor threads change a result: sequences are independent, batches depend on lengths only, and
//! sums run in the order of the text. Knows no checkpoint and no command line.

mod changes;
mod decoder;
mod encoder;
mod error;
mod network;
mod plan;
mod pooling;
mod progress;
mod slice;

pub use crate::score::{Pooling, PoolingMode};
pub use decoder::evaluate_decoder;
pub(crate) use decoder::positions_at_once;
pub use encoder::{EncoderTask, evaluate_encoder};
pub use error::EvaluateError;
pub use slice::Slice;

#[cfg(test)]
mod tests;

//! Calibration: runs sequences through the model block by block and keeps moments of every layer's input.
//!
//! Peak memory: one block (two where original inputs are gathered beside the seen ones), its Gram matrices, and two
//! buffers of activations, spilled to disk when they exceed their share. Knows no recipe, solver or container.

mod activations;
mod gather;
mod original;
mod similarity;
mod stream;
#[cfg(test)]
mod tests;

pub use activations::{Activations, SpillPolicy};
pub use gather::{GatherPlan, Sides, gather_block, gather_stage};
pub use original::gather_original;
pub use similarity::block_similarity;
pub use stream::Stream;

use crate::model::ModelError;
use crate::monitor::Stopped;

/// Why calibration ended early.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The monitor asked for it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The network could not be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Activations could not be spilled.
    #[error("activations could not be spilled to disk: {0}; free some space or raise --memory")]
    Spill(#[from] std::io::Error),
    /// Activations are not finite: the model itself overflows.
    #[error(
        "the inputs of {layer} are not finite on the calibration text; the model overflows or holds NaN weights"
    )]
    NonFinite {
        /// A layer that receives them.
        layer: String,
    },
}

//! Where packed layers come from.
//!
//! Knows no file and no model: `checkpoint` gives layers, `model` asks for them.

use super::{ActivationPlan, Blocks, LayerManifest, Stored};
use crate::solved::Solved;
use crate::tensor::SourceError;

/// Gives layers as codes where they are stored so.
pub trait PackedSource: Send + Sync {
    /// Whether `tensor` is stored as codes; headers tell.
    fn is_packed(&self, tensor: &str) -> bool;

    /// The layer that stands for `tensor` (a dense name, as `WeightSource` spells it; its codes lie `[out, in]`
    /// whatever the stored order) and what it does to its inputs. `None` where the tensor is stored as plain values.
    fn solved(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError>;

    /// How `tensor` is stored, where headers or lists of groups tell.
    fn stored(&self, tensor: &str) -> Option<Stored> {
        let _ = tensor;
        None
    }

    /// How the blocks of `tensor` lie, where it is stored in blocks of ggml.
    fn blocks(&self, tensor: &str) -> Option<Blocks> {
        let _ = tensor;
        None
    }

    /// What the manifest of a `pare` file says of `tensor`. The parts that it names can be read as tensors of their own.
    fn manifest(&self, tensor: &str) -> Option<&LayerManifest> {
        let _ = tensor;
        None
    }
}

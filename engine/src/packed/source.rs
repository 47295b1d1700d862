//! Where packed layers come from.
//!
//! Knows no file and no model: `checkpoint` gives layers, `model` asks for them.

use super::{ActivationPlan, LayerManifest};
use crate::solved::Solved;
use crate::tensor::SourceError;

/// Gives layers as codes where they are stored so.
pub trait PackedSource: Send + Sync {
    /// Whether `tensor` is stored as codes; headers tell.
    fn is_packed(&self, tensor: &str) -> bool;

    /// The layer that stands for `tensor` (a dense name, as `WeightSource` spells it; its codes lie `[out, in]`
    /// whatever the stored order) and what it does to its inputs. `None` where the tensor is stored as plain values.
    fn solved(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError>;

    /// Whether it runs on its codes; what is stored in groups too short for the kernels is held as floats.
    fn stays_packed(&self, tensor: &str) -> bool {
        self.is_packed(tensor)
    }

    /// What the manifest of a `pare` file says of `tensor`. The parts that it names can be read as tensors of their own.
    fn manifest(&self, tensor: &str) -> Option<&LayerManifest> {
        let _ = tensor;
        None
    }
}

//! Where packed layers come from, and what they do to their inputs when they run.
//!
//! Knows no file and no model: `checkpoint` gives layers, `model` asks for them.

use crate::settings::Activations;
use crate::solved::Solved;
use crate::tensor::SourceError;

/// How a layer rounds its inputs when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ActivationPlan {
    /// Whether and when scales are made.
    pub mode: Activations,
    /// Inputs that share a scale under `Activations::Dynamic8`; 0 = those of a whole token.
    pub block: usize,
    /// The value of one step under `Activations::Static8`; nothing else has one.
    pub static_step: Option<f32>,
}

impl ActivationPlan {
    /// Inputs stay floats.
    pub const NONE: Self = Self {
        mode: Activations::None,
        block: 0,
        static_step: None,
    };
}

/// Gives layers as codes where they are stored so.
pub trait PackedSource: Send + Sync {
    /// Whether `tensor` is stored as codes; headers tell.
    fn is_packed(&self, tensor: &str) -> bool;

    /// The layer that stands for `tensor` (a dense name, as `WeightSource` spells it; its codes lie `[out, in]`
    /// whatever the stored order) and what it does to its inputs. `None` where the tensor is stored as plain values.
    fn solved(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError>;
}

//! A block's layer as a solver left it, so that what follows sees what it will really give.
//!
//! Knows no solver and no file.

use super::block::Block;
use super::error::ModelError;
use crate::packed::{ActivationPlan, PackedMatrix};
use crate::solved::Solved;
use std::sync::Arc;

impl Block {
    /// Replaces one layer's weight by what was solved: its values, or its codes where it rounds its inputs.
    pub fn set_solved(
        &mut self,
        layer: usize,
        solved: &Solved,
        activations: ActivationPlan,
    ) -> Result<(), ModelError> {
        if activations == ActivationPlan::NONE {
            return self.set_weights(layer, &solved.dequantize());
        }
        self.set_packed(layer, Arc::new(PackedMatrix::new(solved)), activations)
    }
}

//! How layers round their inputs in one session, in place of how the model is stored: as another program does that runs it.
//!
//! llama.cpp rounds the inputs of quantized layers to bytes that share a scale in blocks as long as those of the weights: 32
//! values, of K-quants 256 (ggml's `vec_dot_type`).

use super::{Session, SessionError};
use crate::model::{InputPlans, RoundedInputs};
use crate::packed::{ActivationKind, ActivationPlan};
use crate::settings::{ACTIVATION_BLOCKS, Activations};
use std::sync::Arc;

/// How inputs are to be rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputRounding {
    /// To bytes as they come, or not at all.
    pub mode: Activations,
    /// Inputs that share a scale, of `InputRounding::BLOCKS`; `None` = of a GGUF file as llama.cpp does, of others a token.
    pub block: Option<usize>,
}

impl InputRounding {
    /// What `block` may be; 0 = all inputs of a token.
    pub const BLOCKS: [usize; 4] = [0, 32, 128, 256];

    fn plan(self, usual: usize) -> ActivationPlan {
        let block = match self.mode {
            Activations::None => 0,
            _ => self.block.unwrap_or(usual),
        };
        ActivationPlan::new(
            ActivationKind {
                mode: self.mode,
                block,
            },
            None,
        )
    }
}

impl Session {
    /// From now on layers that hold codes or blocks of ggml round their inputs as `asked` when the model runs.
    pub fn round_inputs(&mut self, asked: InputRounding) -> Result<(), SessionError> {
        if asked.mode == Activations::Static8 {
            return Err(self.input_problem(
                "fixed scales of inputs come from calibration; choose dynamic8 or none, or compress with static8",
            ));
        }
        let mut inputs = InputPlans::default();
        for layer in &self.layers {
            let tensor = &layer.tensor;
            let blocks = self.checkpoint.block_type(tensor);
            if self.checkpoint.is_packed(tensor) {
                inputs.codes.insert(tensor.clone(), asked.plan(0));
            } else if let Some(kind) = blocks.filter(|kind| kind.is_quantized()) {
                let plan = asked.plan(kind.block_values());
                let rounded = RoundedInputs { plan, group: 0 };
                inputs.values.insert(tensor.clone(), rounded);
            }
        }
        if inputs == InputPlans::default() {
            return Err(self.input_problem(
                "no layer of the model is quantized, so there are no inputs that a program would round; name a compressed model",
            ));
        }
        let unknown = inputs
            .codes
            .values()
            .find(|plan| !ACTIVATION_BLOCKS.contains(&plan.block));
        if let Some(plan) = unknown {
            let problem = format!(
                "inputs are rounded in blocks of {} in GGUF files only; elsewhere in blocks of {ACTIVATION_BLOCKS:?}",
                plan.block
            );
            return Err(self.input_problem(&problem));
        }
        self.inputs = Some(Arc::new(inputs));
        Ok(())
    }
}

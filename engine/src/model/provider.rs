//! Where a block or the ends get their tensors: a checkpoint's weights, or a trainer's variables.
//!
//! Knows no file. Each tensor is asked for once, by its full name, in its stored shape.

use super::around::{Around, InputPlans};
use super::error::ModelError;
use crate::packed::{ActivationPlan, PackedMatrix, PackedSource};
use crate::solved::Solved;
use crate::tensor::WeightSource;
use candle_core::{Device, Tensor};
use std::sync::Arc;

/// Codes ready to multiply, and what they do to their inputs.
pub type Multiplied = (Arc<PackedMatrix>, ActivationPlan);

/// Gives named f32 tensors.
pub trait Provider {
    /// The tensor `name` of exactly this shape (as stored: Conv1D weights are `[in, out]`).
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError>;

    /// The codes that stand for a weight and what it does to its inputs; `None` where it has none, or must be dense.
    fn packed(&self, _name: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
        Ok(None)
    }

    /// The same ready to multiply, where it is held so.
    fn matrix(&self, _name: &str) -> Result<Option<Multiplied>, ModelError> {
        Ok(None)
    }

    /// What stands around the weight `name`; `None` = nothing.
    fn around(&self, _name: &str) -> Result<Option<Around>, ModelError> {
        Ok(None)
    }
}

/// Constant tensors from a `WeightSource`.
pub(super) struct Weights<'a>(pub(super) &'a dyn WeightSource);

impl Provider for Weights<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let values = self.0.read_f32(name)?;
        let elements: usize = shape.iter().product();
        if values.len() != elements {
            return Err(ModelError::WrongShape {
                name: name.to_owned(),
                found: vec![values.len()],
                expected: shape.to_vec(),
            });
        }
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// The same, with the codes of those weights that have some.
pub(super) struct OnKernels<'a> {
    pub(super) weights: Weights<'a>,
    pub(super) packed: &'a dyn PackedSource,
}

impl Provider for OnKernels<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        self.weights.tensor(name, shape)
    }

    fn packed(&self, name: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
        Ok(self.packed.solved(name)?)
    }
}

/// The same with other ways to round inputs.
pub(super) struct Rounding<'a> {
    pub(super) provider: &'a dyn Provider,
    pub(super) inputs: &'a InputPlans,
}

impl Provider for Rounding<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        self.provider.tensor(name, shape)
    }

    fn packed(&self, name: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
        let packed = self.provider.packed(name)?;
        let plan = self.inputs.codes.get(name);
        Ok(packed.map(|(solved, own)| (solved, plan.copied().unwrap_or(own))))
    }

    fn matrix(&self, name: &str) -> Result<Option<Multiplied>, ModelError> {
        let matrix = self.provider.matrix(name)?;
        let plan = self.inputs.codes.get(name);
        Ok(matrix.map(|(matrix, own)| (matrix, plan.copied().unwrap_or(own))))
    }

    fn around(&self, name: &str) -> Result<Option<Around>, ModelError> {
        match self.inputs.values.get(name) {
            Some(&rounded) => Ok(Some(Around::RoundedInputs(rounded))),
            None => self.provider.around(name),
        }
    }
}

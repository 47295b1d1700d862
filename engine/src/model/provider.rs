//! Where a block or the ends get their tensors: a checkpoint's weights, or a trainer's variables.
//!
//! Knows no file. Each tensor is asked for once, by its full name, in its stored shape.

use super::error::ModelError;
use crate::tensor::WeightSource;
use candle_core::{Device, Tensor};

/// Gives named f32 tensors.
pub trait Provider {
    /// The tensor `name` of exactly this shape (as stored: Conv1D weights are `[in, out]`).
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError>;
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

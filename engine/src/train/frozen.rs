//! Tensors that training leaves as they are: read once, kept as f32 constants.
//!
//! Knows nothing of what is trained.

use super::error::TrainError;
use super::values::constant;
use crate::model::{ModelError, Provider};
use crate::tensor::WeightSource;
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Constants from a source.
pub struct Frozen {
    source: Arc<dyn WeightSource>,
    held: Mutex<BTreeMap<String, Tensor>>,
}

impl Frozen {
    /// Nothing is read yet.
    pub fn new(source: Arc<dyn WeightSource>) -> Self {
        Self {
            source,
            held: Mutex::default(),
        }
    }

    /// The tensor `name` of exactly this shape.
    fn kept(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = held.get(name) {
            return Ok(tensor.clone());
        }
        drop(held);
        let tensor = self.read(name, shape)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(held.entry(name.to_owned()).or_insert(tensor).clone())
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let values = self.source.read_f32(name)?;
        let expected: usize = shape.iter().product();
        if values.len() != expected {
            return Err(ModelError::WrongShape {
                name: name.to_owned(),
                found: vec![values.len()],
                expected: shape.to_vec(),
            });
        }
        Ok(constant(values, shape)?)
    }

    /// The values of a whole tensor, not kept.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>, TrainError> {
        Ok(self.source.read_f32(name).map_err(ModelError::from)?)
    }
}

impl Provider for Frozen {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        self.kept(name, shape)
    }
}

impl fmt::Debug for Frozen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Frozen").finish_non_exhaustive()
    }
}

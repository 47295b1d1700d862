//! The table of token vectors: dense, or as the codes that it is stored in, of which only the rows asked for are turned
//! into values.
//!
//! Knows no positions, norms or scales of the network.

use super::around::Around;
use super::error::ModelError;
use super::linear::{Linear, matrix_of, packed_weight};
use super::plan::PlannedTensor;
use super::provider::Provider;
use crate::solved::Solved;
use crate::tensor::Matrix;
use candle_core::{Device, Tensor};
use std::sync::Arc;

/// `[vocabulary, width]`.
#[derive(Debug, Clone)]
pub(super) enum Embedding {
    Dense(Tensor),
    Codes(Arc<Solved>),
}

impl Embedding {
    /// What `provider` holds; of codes, and of values whose inputs are rounded, also the head that they make, where the
    /// table `is_head` too.
    pub(super) fn load(
        provider: &dyn Provider,
        tensor: &PlannedTensor,
        is_head: bool,
    ) -> Result<(Self, Option<Linear>), ModelError> {
        let Some((solved, plan)) = packed_weight(provider, tensor)? else {
            let table = provider.tensor(&tensor.name, &tensor.shape)?;
            let head = match provider.around(&tensor.name)? {
                Some(around @ Around::RoundedInputs(_)) if is_head => Some(Linear::Dressed {
                    inner: Box::new(Linear::Dense {
                        weight: table.clone(),
                        bias: None,
                    }),
                    around,
                }),
                _ => None,
            };
            return Ok((Self::Dense(table), head));
        };
        let head = is_head.then(|| Linear::packed(&solved, plan, None));
        Ok((Self::Codes(Arc::new(solved)), head))
    }

    /// Tokens that have a row.
    pub(super) fn vocabulary(&self) -> Result<usize, ModelError> {
        Ok(self.shape()?.0)
    }

    fn shape(&self) -> Result<(usize, usize), ModelError> {
        Ok(match self {
            Self::Dense(table) => table.dims2()?,
            Self::Codes(solved) => (solved.codes.rows, solved.codes.columns),
        })
    }

    /// The rows of `ids`, each inside the vocabulary, as `[1, tokens, width]`.
    pub(super) fn rows(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::Dense(table) => {
                let rows = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
                table.index_select(&rows, 0)?.unsqueeze(0)?
            }
            Self::Codes(solved) => {
                let width = solved.codes.columns;
                let mut values = vec![0.0; ids.len() * width];
                for (&id, row) in ids.iter().zip(values.chunks_mut(width.max(1))) {
                    solved.dequantize_row(id as usize, row);
                }
                Tensor::from_vec(values, (1, ids.len(), width), &Device::Cpu)?
            }
        })
    }

    /// As a head without codes.
    pub(super) fn as_linear(&self) -> Result<Linear, ModelError> {
        let weight = match self {
            Self::Dense(table) => table.clone(),
            Self::Codes(solved) => tensor_of(&solved.dequantize())?,
        };
        Ok(Linear::Dense { weight, bias: None })
    }

    /// All values.
    pub(super) fn weights(&self) -> Result<Matrix, ModelError> {
        match self {
            Self::Dense(table) => matrix_of(table),
            Self::Codes(solved) => Ok(solved.dequantize()),
        }
    }

    /// Replaces the table by a dense one; the shape stays.
    pub(super) fn set_weights(&mut self, weights: &Matrix) -> Result<(), ModelError> {
        let (own, shape) = (self.shape()?, (weights.rows(), weights.columns()));
        if own != shape {
            return Err(ModelError::Misuse {
                problem: format!("an {own:?} embedding cannot be replaced by a {shape:?} one"),
            });
        }
        *self = Self::Dense(tensor_of(weights)?);
        Ok(())
    }
}

fn tensor_of(weights: &Matrix) -> Result<Tensor, ModelError> {
    let shape = (weights.rows(), weights.columns());
    Ok(Tensor::from_slice(weights.data(), shape, &Device::Cpu)?)
}

//! One matrix product of the network, whatever form its weight is in.
//!
//! Today dense; packed, adapted and fake-quantized forms join the enum. Knows no names.

use super::error::ModelError;
use super::watch::Watch;
use crate::tensor::Matrix;
use candle_core::{D, Device, Tensor};

/// `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub enum Linear {
    /// Weight `[out, in]` in f32; may be a transposed view of what is stored.
    Dense {
        /// `[out, in]`.
        weight: Tensor,
        /// `[out]`.
        bias: Option<Tensor>,
    },
}

impl Linear {
    /// `input` is `[batch, tokens, in]`; gives `[batch, tokens, out]`.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let Self::Dense { weight, bias } = self;
        let (batch, tokens, width) = input.dims3()?;
        let product = input
            .reshape((batch * tokens, width))?
            .matmul(&weight.t()?)?;
        let product = match bias {
            Some(bias) => product.broadcast_add(bias)?,
            None => product,
        };
        Ok(product.reshape((batch, tokens, ()))?)
    }

    /// As `forward`, with `watch` over the gradients that come back; none goes to the weight.
    pub(super) fn forward_watched(
        &self,
        input: &Tensor,
        watch: &Watch,
    ) -> Result<Tensor, ModelError> {
        let Self::Dense { weight, .. } = self;
        watch.over(input, &self.forward(&input.detach())?, weight)
    }

    /// The weight as plain values, `[out, in]`.
    pub fn weights(&self) -> Result<Matrix, ModelError> {
        let Self::Dense { weight, .. } = self;
        matrix_of(weight)
    }

    /// Replaces the weight; the shape stays.
    pub fn set_weights(&mut self, weights: &Matrix) -> Result<(), ModelError> {
        let Self::Dense { weight, .. } = self;
        let shape = (weights.rows(), weights.columns());
        if weight.dims2()? != shape {
            return Err(ModelError::Misuse {
                problem: format!(
                    "a {:?} weight cannot be replaced by a {shape:?} one",
                    weight.dims()
                ),
            });
        }
        *weight = Tensor::from_slice(weights.data(), shape, &Device::Cpu)?;
        Ok(())
    }

    pub(super) fn bias(&self) -> Option<&Tensor> {
        let Self::Dense { bias, .. } = self;
        bias.as_ref()
    }

    pub(super) fn set_bias(&mut self, values: Vec<f32>) -> Result<(), ModelError> {
        let Self::Dense { bias, .. } = self;
        let width = values.len();
        *bias = Some(Tensor::from_vec(values, width, &Device::Cpu)?);
        Ok(())
    }
}

/// A two-dimensional tensor's values.
pub(super) fn matrix_of(tensor: &Tensor) -> Result<Matrix, ModelError> {
    let (rows, columns) = tensor.dims2()?;
    Ok(Matrix::new(rows, columns, values_of(tensor)?))
}

/// All values, row-major.
pub(super) fn values_of(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?)
}

/// Columns `start..start + width` of the last dimension.
pub(super) fn columns(tensor: &Tensor, start: usize, width: usize) -> Result<Tensor, ModelError> {
    Ok(tensor.narrow(D::Minus1, start, width)?)
}

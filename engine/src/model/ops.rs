//! The few operations beyond matrix products, all with a backward.
//!
//! Knows no model: tensors in, tensors out.

use super::config::Activation;
use candle_core::{D, Result, Tensor};

/// Root mean square norm of the last dimension, times `weight`.
pub(super) fn rms_norm(input: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    candle_nn::ops::rms_norm_slow(input, weight, epsilon as f32)
}

/// Layer norm of the last dimension, times `weight`, plus `bias`.
pub(super) fn layer_norm(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    candle_nn::ops::layer_norm_slow(input, weight, bias, epsilon as f32)
}

/// Softmax of the last dimension of `scores` `[batch, heads, rows, keys]`, where row `r` may see only what row
/// `r % mask rows` of `mask` `[mask rows, keys]` (0 or -infinity) lets it see.
pub(super) fn softmax(scores: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else {
        return candle_nn::ops::softmax(scores, D::Minus1);
    };
    let (batch, heads, rows, keys) = scores.dims4()?;
    let queries = mask.dim(0)?;
    let masked = scores
        .reshape((batch * heads, rows / queries, queries, keys))?
        .broadcast_add(mask)?;
    candle_nn::ops::softmax(&masked, D::Minus1)?.reshape((batch, heads, rows, keys))
}

/// Turns channel pairs `(i, i + width)` of `input` `[batch, tokens, heads, channels]` by the angles whose cosines and
/// sines are given, `[tokens, width]`; channels from `2 width` on stay as they are.
pub(super) fn rotate(input: &Tensor, cosines: &Tensor, sines: &Tensor) -> Result<Tensor> {
    let channels = input.dim(D::Minus1)?;
    let width = cosines.dim(1)?;
    let (cosines, sines) = (cosines.unsqueeze(1)?, sines.unsqueeze(1)?);
    let first = input.narrow(D::Minus1, 0, width)?;
    let second = input.narrow(D::Minus1, width, width)?;
    let turned_first = (first.broadcast_mul(&cosines)? - second.broadcast_mul(&sines)?)?;
    let turned_second = (second.broadcast_mul(&cosines)? + first.broadcast_mul(&sines)?)?;
    if 2 * width == channels {
        return Tensor::cat(&[&turned_first, &turned_second], D::Minus1);
    }
    let rest = input.narrow(D::Minus1, 2 * width, channels - 2 * width)?;
    Tensor::cat(&[&turned_first, &turned_second, &rest], D::Minus1)
}

/// `limit * tanh(input / limit)`.
pub(super) fn softcap(input: &Tensor, limit: f64) -> Result<Tensor> {
    (input / limit)?.tanh()? * limit
}

impl Activation {
    pub(super) fn forward(self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => input.silu(),
            Self::GeluErf => input.gelu_erf(),
            Self::GeluTanh => input.gelu(),
            Self::Relu => input.relu(),
        }
    }
}

//! The few operations beyond matrix products, all with a backward.
//!
//! Knows no model: tensors in, tensors out; what a fused operation needs contiguous is made so here.

use super::config::Activation;
use super::error::ModelError;
use super::fused::{Activate, Gated, LayerNorm, RmsNorm, Rotate, Softmax, Visible, floats};
use candle_core::{Result, Storage, Tensor, bail};

/// Calls `work` with the values of a tensor, row-major.
pub(super) fn with_floats<T>(
    tensor: &Tensor,
    work: impl FnOnce(&[f32]) -> T,
) -> std::result::Result<T, ModelError> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let read = |storage: &Storage| match storage {
        Storage::Cpu(values) => Ok(work(floats(values, layout)?)),
        _ => bail!("the network runs on the CPU"),
    };
    Ok(read(&storage)?)
}

/// Root mean square norm of the last dimension, times `weight`.
pub(super) fn rms_norm(input: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    input.contiguous()?.apply_op2(weight, RmsNorm { epsilon })
}

/// Layer norm of the last dimension, times `weight`, plus `bias`.
pub(super) fn layer_norm(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    input
        .contiguous()?
        .apply_op3(weight, bias, LayerNorm { epsilon })
}

/// Softmax of the last dimension of `scores` `[batch, heads, rows, keys]` over the visible keys.
pub(super) fn softmax(scores: &Tensor, visible: Option<Visible>) -> Result<Tensor> {
    scores.contiguous()?.apply_op1(Softmax(visible))
}

/// Turns channel pairs `(i, i + pairs)` of `input` `[batch, tokens, heads, channels]` by the angles whose cosines and
/// sines are given, `[tokens, pairs]`; channels from `2 pairs` on stay as they are.
pub(super) fn rotate(input: &Tensor, cosines: &Tensor, sines: &Tensor) -> Result<Tensor> {
    input.contiguous()?.apply_op3(cosines, sines, Rotate)
}

/// `limit * tanh(input / limit)`.
pub(super) fn softcap(input: &Tensor, limit: f64) -> Result<Tensor> {
    (input / limit)?.tanh()? * limit
}

/// `activation(input)`.
pub(super) fn activate(input: &Tensor, activation: Activation) -> Result<Tensor> {
    input.contiguous()?.apply_op1(Activate(activation))
}

/// `activation(gate) * up`.
pub(super) fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    gate.contiguous()?
        .apply_op2(&up.contiguous()?, Gated(activation))
}

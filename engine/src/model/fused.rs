//! Norms, softmax, rotation and activations as single passes over memory: rows in parallel, each with its backward.
//!
//! Candle's own fused kernels have no backward, and its elementary ones make a pass per operation. A row's sum is
//! always formed in one order, whatever the threads. Knows no model.

use super::config::Activation;
use crate::kernels::exp;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail,
};
use rayon::prelude::*;

/// Values that one task handles at least.
const TASK_VALUES: usize = 8192;

/// `x / sqrt(mean(x²) + epsilon) * weight` over the last dimension.
pub(super) struct RmsNorm {
    pub(super) epsilon: f64,
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last dimension.
pub(super) struct LayerNorm {
    pub(super) epsilon: f64,
}

/// Which keys a row of scores may see: row `r` stands at position `offset + r % tokens` and sees the last `window`
/// positions up to its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visible {
    pub(super) offset: usize,
    pub(super) tokens: usize,
    pub(super) window: usize,
}

/// Softmax of the last dimension over the visible keys, zero elsewhere; `None` = all are visible.
pub(super) struct Softmax(pub(super) Option<Visible>);

/// Rotation of channel pairs of `[batch, tokens, heads, channels]` by tables `[tokens, pairs]`.
pub(super) struct Rotate;

/// An activation, value by value.
pub(super) struct Activate(pub(super) Activation);

/// `activation(gate) * up`.
pub(super) struct Gated(pub(super) Activation);

/// The derivative of an activation; part of backward passes, has none itself.
struct Slope(Activation);

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let weight = floats(weight, weight_layout)?;
        let width = weight.len() as f32;
        let output = by_rows(floats(input, input_layout)?, weight.len(), |_, row, out| {
            let mean = sum(row, |x| x * x) / width;
            let factor = 1.0 / (mean + self.epsilon as f32).sqrt();
            for ((out, &x), &weight) in out.iter_mut().zip(row).zip(weight) {
                *out = x * factor * weight;
            }
        });
        Ok((CpuStorage::F32(output), input_layout.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let spread = (mean(&input.sqr()?)? + self.epsilon)?.sqrt()?;
        let normal = input.broadcast_div(&spread)?;
        let weight_gradient = sum_of_rows(&(gradient * &normal)?)?;
        let inner = gradient.broadcast_mul(weight)?;
        let along = mean(&(&inner * &normal)?)?;
        let input_gradient = (inner - normal.broadcast_mul(&along)?)?.broadcast_div(&spread)?;
        Ok((Some(input_gradient), Some(weight_gradient)))
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let weight = floats(weight, weight_layout)?;
        let bias = floats(bias, bias_layout)?;
        let width = weight.len() as f32;
        let output = by_rows(floats(input, input_layout)?, weight.len(), |_, row, out| {
            let mean = sum(row, |x| x) / width;
            let variance = sum(row, |x| (x - mean) * (x - mean)) / width;
            let factor = 1.0 / (variance + self.epsilon as f32).sqrt();
            let parameters = weight.iter().zip(bias);
            for ((out, &x), (&weight, &bias)) in out.iter_mut().zip(row).zip(parameters) {
                *out = (x - mean) * factor * weight + bias;
            }
        });
        Ok((CpuStorage::F32(output), input_layout.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let centred = input.broadcast_sub(&mean(input)?)?;
        let spread = (mean(&centred.sqr()?)? + self.epsilon)?.sqrt()?;
        let normal = centred.broadcast_div(&spread)?;
        let weight_gradient = sum_of_rows(&(gradient * &normal)?)?;
        let inner = gradient.broadcast_mul(weight)?;
        let along = mean(&(&inner * &normal)?)?;
        let input_gradient = inner
            .broadcast_sub(&mean(&inner)?)?
            .sub(&normal.broadcast_mul(&along)?)?
            .broadcast_div(&spread)?;
        let bias_gradient = sum_of_rows(gradient)?;
        Ok((
            Some(input_gradient),
            Some(weight_gradient),
            Some(bias_gradient),
        ))
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let keys = layout.dims().last().copied().unwrap_or(1);
        let output = by_rows(floats(scores, layout)?, keys, |index, row, out| {
            let seen = match self.0 {
                Some(Visible {
                    offset,
                    tokens,
                    window,
                }) => {
                    let end = (offset + index % tokens + 1).min(keys);
                    end.saturating_sub(window)..end
                }
                None => 0..keys,
            };
            let (row, out) = (&row[seen.clone()], &mut out[seen]);
            let most = row.iter().fold(f32::NEG_INFINITY, |most, &x| most.max(x));
            for (out, &score) in out.iter_mut().zip(row) {
                *out = exp(score - most);
            }
            let factor = 1.0 / sum(out, |x| x);
            out.iter_mut().for_each(|share| *share *= factor);
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, _scores: &Tensor, shares: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let product = (shares * gradient)?;
        let total = product.sum_keepdim(D::Minus1)?;
        Ok(Some((product - shares.broadcast_mul(&total)?)?))
    }
}

impl CustomOp3 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        cosines: &CpuStorage,
        table_layout: &Layout,
        sines: &CpuStorage,
        sines_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, tokens, heads, channels) = input_layout.shape().dims4()?;
        let cosines = floats(cosines, table_layout)?;
        let sines = floats(sines, sines_layout)?;
        let pairs = cosines.len() / tokens;
        let output = by_rows(floats(input, input_layout)?, channels, |index, row, out| {
            let position = index / heads % tokens;
            let table = position * pairs..(position + 1) * pairs;
            let (cosines, sines) = (&cosines[table.clone()], &sines[table]);
            let (first, rest) = row.split_at(pairs);
            let (second, untouched) = rest.split_at(pairs);
            let (out_first, out_rest) = out.split_at_mut(pairs);
            let (out_second, out_untouched) = out_rest.split_at_mut(pairs);
            for pair in 0..pairs {
                out_first[pair] = first[pair] * cosines[pair] - second[pair] * sines[pair];
                out_second[pair] = second[pair] * cosines[pair] + first[pair] * sines[pair];
            }
            out_untouched.copy_from_slice(untouched);
        });
        Ok((CpuStorage::F32(output), input_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _input: &Tensor,
        cosines: &Tensor,
        sines: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        // The inverse of a rotation turns the other way.
        let back = gradient
            .contiguous()?
            .apply_op3_no_bwd(cosines, &sines.neg()?, &Self)?;
        Ok((Some(back), None, None))
    }
}

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        each_value(input, layout, |x| self.0.value(x))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some((gradient * input.apply_op1_no_bwd(&Slope(self.0))?)?))
    }
}

impl CustomOp1 for Slope {
    fn name(&self) -> &'static str {
        "activation-slope"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        each_value(input, layout, |x| self.0.slope(x))
    }
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated-activation"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (floats(gate, gate_layout)?, floats(up, up_layout)?);
        if gate.len() != up.len() {
            bail!("a gate of {} values for {} values", gate.len(), up.len());
        }
        let width = gate_layout.dims().last().copied().unwrap_or(1);
        let output = by_rows(gate, width, |index, gate, out| {
            let up = &up[index * width..(index + 1) * width];
            for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
                *out = self.0.value(gate) * up;
            }
        });
        Ok((CpuStorage::F32(output), gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let slope = gate.apply_op1_no_bwd(&Slope(self.0))?;
        let value = gate.apply_op1_no_bwd(&Activate(self.0))?;
        Ok((Some(((gradient * up)? * slope)?), Some((gradient * value)?)))
    }
}

pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a fused operation needs contiguous tensors"),
    }
}

/// `f(row index, row, output row)` for each row of `width` values, many rows to a task.
fn by_rows(input: &[f32], width: usize, f: impl Fn(usize, &[f32], &mut [f32]) + Sync) -> Vec<f32> {
    let mut output = vec![0.0; input.len()];
    let rows = (TASK_VALUES / width.max(1)).max(1);
    let task = |(index, (out, input)): (usize, (&mut [f32], &[f32]))| {
        let pairs = out.chunks_mut(width).zip(input.chunks(width));
        for (row, (out, input)) in pairs.enumerate() {
            f(index * rows + row, input, out);
        }
    };
    output
        .par_chunks_mut(rows * width)
        .zip(input.par_chunks(rows * width))
        .enumerate()
        .for_each(task);
    output
}

fn each_value(
    input: &CpuStorage,
    layout: &Layout,
    f: impl Fn(f32) -> f32 + Sync,
) -> Result<(CpuStorage, Shape)> {
    let width = layout.dims().last().copied().unwrap_or(1);
    let output = by_rows(floats(input, layout)?, width, |_, row, out| {
        for (out, &x) in out.iter_mut().zip(row) {
            *out = f(x);
        }
    });
    Ok((CpuStorage::F32(output), layout.shape().clone()))
}

/// The sum of `f` over a row, in eight lanes and in one order.
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    let tail: f32 = rest.iter().map(|&x| f(x)).sum();
    lanes.iter().sum::<f32>() + tail
}

fn mean(tensor: &Tensor) -> Result<Tensor> {
    tensor.mean_keepdim(D::Minus1)
}

/// All rows of the last dimension added up.
fn sum_of_rows(tensor: &Tensor) -> Result<Tensor> {
    let width = tensor.dim(D::Minus1)?;
    tensor.reshape(((), width))?.sum(0)
}

#[cfg(test)]
mod tests;

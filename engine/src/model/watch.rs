//! What a loss does at the outputs of linear layers: squares of its gradient, summed over tokens.
//!
//! A watched layer computes what it computes unwatched. Its backward hands the gradient on to its input, adds up
//! squares and does no work for the weight, which candle's own product would. Knows no loss.

use super::error::ModelError;
use super::fused::floats;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// `Σ (∂loss/∂output_i)²` over the tokens of all backward passes, for each output `i` of one layer. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Vec<f64>>>);

impl Watch {
    /// `output` of a layer that has multiplied `input` with `weight` `[out, in]`: the way back leads through here.
    pub(super) fn over(
        &self,
        input: &Tensor,
        output: &Tensor,
        weight: &Tensor,
    ) -> std::result::Result<Tensor, ModelError> {
        let watched = Watched {
            weight: weight.clone(),
            watch: self.clone(),
        };
        Ok(input.apply_op2(&output.detach().contiguous()?, watched)?)
    }

    /// The sums so far; empty before the first backward pass.
    pub(super) fn squares(&self) -> Vec<f64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, gradient: &[f32], width: usize) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.resize(width, 0.0);
        for row in gradient.chunks_exact(width) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value) * f64::from(value);
            }
        }
    }
}

/// An output that stands ready, as a function of the layer's input.
struct Watched {
    weight: Tensor,
    watch: Watch,
}

impl CustomOp2 for Watched {
    fn name(&self) -> &'static str {
        "watched-linear"
    }

    fn cpu_fwd(
        &self,
        _input: &CpuStorage,
        _input_layout: &Layout,
        output: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let values = floats(output, layout)?.to_vec();
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        _ready: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (batch, tokens, width) = gradient.dims3()?;
        let rows = gradient.reshape((batch * tokens, width))?;
        self.watch.add(&rows.flatten_all()?.to_vec1()?, width);
        let of_input = rows.matmul(&self.weight)?.reshape(input.shape())?;
        Ok((Some(of_input), None))
    }
}

//! What stands around a linear layer while something is trained: thin matrices beside it, or inputs rounded as the
//! integer kernels will round them.
//!
//! Adapters: Hu et al. 2021 (arXiv 2106.09685, section 4.1); over frozen codes Dettmers et al. 2023 (arXiv 2305.14314).
//! Dropped inputs are decided by seed, sequence and place in it, so that a pass that is run again drops the same ones,
//! whatever was rounded in between, the batch or the threads. Knows no names and no optimizer.

use super::error::ModelError;
use super::fused::floats;
use crate::packed::{ActivationPlan, PackedMatrix, rounded_inputs};
use crate::rng::Rng;
use crate::settings::Activations;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// What stands around a weight.
#[derive(Debug, Clone)]
pub enum Around {
    /// Thin matrices beside it.
    Adapter(Adapter),
    /// Rounded inputs in front of it.
    RoundedInputs(RoundedInputs),
}

/// `scaling * dropout(x) downᵀ upᵀ`, added to a layer's outputs.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// `[rank, in]`; PEFT's `lora_A`.
    pub down: Tensor,
    /// `[out, rank]`; PEFT's `lora_B`.
    pub up: Tensor,
    /// `alpha / rank`, or `alpha / sqrt(rank)`.
    pub scaling: f64,
    /// Which inputs the adapter does not see; `None` = it sees all.
    pub dropout: Option<Dropout>,
}

/// Inputs that are left out, the others raised to make up for them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share left out, below 1.
    pub share: f64,
    /// Another for each step and layer.
    pub seed: u64,
}

/// How layers round their inputs in place of how they are stored, by the names of their tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InputPlans {
    /// Of weights that multiply as codes.
    pub codes: HashMap<String, ActivationPlan>,
    /// Of weights that multiply as values.
    pub values: HashMap<String, RoundedInputs>,
}

/// How inputs are rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundedInputs {
    /// Whether and with which scales.
    pub plan: ActivationPlan,
    /// Columns of a group of weights: blocks of inputs end there.
    pub group: usize,
}

impl Around {
    /// The same with its tensors exchanged by `map`.
    pub fn mapped(
        self,
        map: impl Fn(Tensor) -> std::result::Result<Tensor, ModelError>,
    ) -> std::result::Result<Self, ModelError> {
        Ok(match self {
            Self::Adapter(adapter) => Self::Adapter(Adapter {
                down: map(adapter.down)?,
                up: map(adapter.up)?,
                ..adapter
            }),
            rounded @ Self::RoundedInputs(_) => rounded,
        })
    }
}

impl Adapter {
    /// What is added for `input` `[batch, tokens, in]`, whose rows are `places`: `[batch, tokens, out]`.
    pub(super) fn forward(
        &self,
        input: &Tensor,
        places: &Places<'_>,
    ) -> std::result::Result<Tensor, ModelError> {
        let (batch, tokens, width) = input.dims3()?;
        let seen = match self.dropout.filter(|dropout| dropout.share > 0.0) {
            Some(dropout) => input
                .contiguous()?
                .apply_op1(dropout.dropped(places, batch))?,
            None => input.clone(),
        };
        let rows = seen.reshape((batch * tokens, width))?;
        let added = rows.matmul(&self.down.t()?)?.matmul(&self.up.t()?)?;
        Ok((added * self.scaling)?.reshape((batch, tokens, ()))?)
    }
}

/// Which sequences an input's rows belong to, and where they lie in them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places<'a> {
    /// A number of each sequence of the batch; where they are absent, a sequence goes by its index.
    pub(super) sequences: &'a [u64],
    /// Position of the first token.
    pub(super) offset: usize,
}

/// What `Dropout` leaves out of one input.
pub(super) struct Dropped {
    share: f64,
    /// Of each sequence of the batch.
    seeds: Vec<u64>,
    offset: usize,
}

impl Dropout {
    /// What is left out of `batch` sequences.
    pub(super) fn dropped(self, places: &Places<'_>, batch: usize) -> Dropped {
        let number = |index: usize| match places.sequences.get(index) {
            Some(&number) => number,
            None => index as u64,
        };
        let seeds = (0..batch).map(|index| Rng::new(self.seed, number(index)).next_u64());
        Dropped {
            share: self.share,
            seeds: seeds.collect(),
            offset: places.offset,
        }
    }
}

impl Dropped {
    /// `values` `[batch, tokens, width]` with zeros for what is left out.
    fn apply(&self, values: &[f32], layout: &[usize]) -> Vec<f32> {
        let from_end = |place: usize| {
            let place = layout.len().checked_sub(place);
            place.map_or(1, |place| layout[place].max(1))
        };
        let (width, tokens) = (from_end(1), from_end(2));
        let raised = (1.0 / (1.0 - self.share)) as f32;
        let mut output = values.to_vec();
        let rows = output.par_chunks_mut(width).enumerate();
        rows.for_each(|(index, row)| {
            let place = self.offset + index % tokens;
            let mut rng = Rng::new(self.seeds[index / tokens], place as u64);
            for value in row {
                *value = match rng.uniform() < self.share {
                    true => 0.0,
                    false => *value * raised,
                };
            }
        });
        output
    }
}

impl CustomOp1 for Dropped {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = self.apply(floats(input, layout)?, layout.dims());
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, _input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let values = gradient.flatten_all()?.to_vec1::<f32>()?;
        let kept = self.apply(&values, gradient.dims());
        let shape = gradient.shape();
        Ok(Some(Tensor::from_vec(kept, shape, &Device::Cpu)?))
    }
}

impl RoundedInputs {
    /// `input` `[batch, tokens, in]` as the kernels will see it.
    pub(super) fn apply(&self, input: &Tensor) -> std::result::Result<Tensor, ModelError> {
        Ok(input.contiguous()?.apply_op1(*self)?)
    }
}

impl CustomOp1 for RoundedInputs {
    fn name(&self) -> &'static str {
        "rounded-inputs"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = floats(input, layout)?;
        let width = layout.dims().last().copied().unwrap_or(1).max(1);
        let rounded = rounded_inputs(values, width, self.group, &self.plan);
        Ok((CpuStorage::F32(rounded), layout.shape().clone()))
    }

    /// As the identity; beyond the ends of a fixed range nothing moves.
    fn bwd(&self, input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (Activations::Static8, Some(step)) = (self.plan.mode, self.plan.static_step) else {
            return Ok(Some(gradient.clone()));
        };
        let inside = input.abs()?.le(127.5 * f64::from(step))?;
        Ok(Some((gradient * inside.to_dtype(gradient.dtype())?)?))
    }
}

/// A product with codes that hands the gradient on to its input, through the weights that they stand for; they are made
/// when they are needed and dropped at once. Rounded inputs count as the identity.
pub(super) struct PackedProduct {
    pub(super) matrix: Arc<PackedMatrix>,
    pub(super) plan: ActivationPlan,
}

impl CustomOp1 for PackedProduct {
    fn name(&self) -> &'static str {
        "packed-product"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, _) = layout.shape().dims3()?;
        let rows = batch * tokens;
        let output = self
            .matrix
            .multiply(floats(input, layout)?, rows, &self.plan);
        Ok((
            CpuStorage::F32(output),
            (batch, tokens, self.matrix.rows()).into(),
        ))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let weights = self.matrix.dequantize();
        let shape = (weights.rows(), weights.columns());
        let weights = Tensor::from_vec(weights.into_data(), shape, &Device::Cpu)?;
        let rows = gradient.reshape(((), shape.0))?;
        Ok(Some(rows.matmul(&weights)?.reshape(input.shape())?))
    }
}

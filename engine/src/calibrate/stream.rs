//! Calibration sequences on their way through the model: hidden states in front of one block, moved on block by block.

use super::{Activations, CalibrateError, SpillPolicy};
use crate::model::{Block, Context, Ends, Model, ModelError};
use crate::monitor::Monitor;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// Hidden states of all sequences in front of the next block.
#[derive(Debug)]
pub struct Stream {
    context: Context,
    activations: Activations,
    tokens: usize,
    hidden: usize,
}

impl Stream {
    /// Embeds `sequences` (all of one length).
    pub fn embed(
        model: &Model,
        ends: &Ends,
        sequences: &[Vec<u32>],
        policy: &SpillPolicy,
        monitor: &dyn Monitor,
    ) -> Result<Self, CalibrateError> {
        let tokens = sequences.first().map_or(0, Vec::len);
        let hidden = model.config().hidden;
        let context = model.context(tokens)?;
        let activations = Activations::new(sequences.len(), tokens * hidden, policy)?;
        sequences
            .par_iter()
            .enumerate()
            .try_for_each(|(index, ids)| {
                monitor.check()?;
                let embedded = ends.embed(ids, &context)?;
                activations.set(index, values(&embedded)?)?;
                Ok::<_, CalibrateError>(())
            })?;
        Ok(Self {
            context,
            activations,
            tokens,
            hidden,
        })
    }

    /// Tokens of each sequence.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.activations.sequences()
    }

    /// What every forward pass of this length needs.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The hidden states of one sequence, `[1, tokens, hidden]`.
    pub fn hidden(&self, sequence: usize) -> Result<Tensor, CalibrateError> {
        let values = self.activations.get(sequence)?;
        let tensor = Tensor::from_vec(values, (1, self.tokens, self.hidden), &Device::Cpu)
            .map_err(ModelError::from)?;
        Ok(tensor)
    }

    /// Runs every sequence through `block`.
    pub fn advance(&self, block: &Block, monitor: &dyn Monitor) -> Result<(), CalibrateError> {
        (0..self.sequences())
            .into_par_iter()
            .try_for_each(|sequence| {
                monitor.check()?;
                self.advance_one(block, sequence)
            })
    }

    /// Runs one sequence through `block`.
    pub(super) fn advance_one(&self, block: &Block, sequence: usize) -> Result<(), CalibrateError> {
        let output = block.forward(&self.hidden(sequence)?, &self.context, None)?;
        self.activations.set(sequence, values(&output)?)?;
        Ok(())
    }

    /// Runs one sequence through `block`, keeps its new hidden states, and returns every stage's input on the way.
    pub(super) fn advance_with_inputs(
        &self,
        block: &Block,
        sequence: usize,
    ) -> Result<Vec<Vec<f32>>, CalibrateError> {
        let mut inputs: Vec<Result<Vec<f32>, ModelError>> =
            block.stages().iter().map(|_| Ok(Vec::new())).collect();
        let hidden = self.hidden(sequence)?;
        let output = block.forward_with_inputs(&hidden, &self.context, &mut |stage, input| {
            inputs[stage] = values(&input);
        })?;
        self.activations.set(sequence, values(&output)?)?;
        Ok(inputs.into_iter().collect::<Result<_, ModelError>>()?)
    }
}

/// All values of a tensor, row-major.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?)
}

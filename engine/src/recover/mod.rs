//! The loop over blocks that learns their rounding: each sees what the already rounded blocks make, and is to give what
//! the original gives.
//!
//! Peak memory: one block of each network, its variables, and two buffers of activations, spilled to disk when they
//! exceed their share. Knows no folder: codes come in, better codes go out.

#[cfg(test)]
mod tests;

use crate::calibrate::{CalibrateError, SpillPolicy, Stream};
use crate::model::{Block, LayerInfo, LayerKind, Model, ModelError};
use crate::monitor::{Silent, Stopped};
use crate::packed::{ActivationPlan, PackedMatrix, PackedSource};
use crate::report::{Notice, Observer};
use crate::solved::{Grid, Solved};
use crate::tensor::SourceError;
use crate::train::rounding::{BlockPairs, RoundingConfig, StartLayer, round_block};
use crate::train::scales::TrainedLayer;
use crate::train::{Frozen, TrainError};
use candle_core::Tensor;
use std::sync::Arc;

/// Why rounding could not be learnt.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RecoverError {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Train(TrainError),
    #[error(transparent)]
    Calibrate(CalibrateError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl From<TrainError> for RecoverError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Train(other),
        }
    }
}

impl From<CalibrateError> for RecoverError {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Calibrate(other),
        }
    }
}

/// All that the loop needs.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)]
pub struct RoundingJob<'a> {
    /// The network as it was.
    pub original: &'a Model,
    /// The compressed one, its weights dense.
    pub student: &'a Model,
    /// The codes of the compressed one.
    pub codes: &'a dyn PackedSource,
    /// Sequences, all of one length.
    pub sequences: &'a [Vec<u32>],
    /// Where activations go that do not fit.
    pub spill: &'a SpillPolicy,
    /// How rounding is learnt.
    pub config: RoundingConfig,
}

/// What learning came to in one block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRecovery {
    /// The block.
    pub block: usize,
    /// Relative squared error of its outputs on judging sequences, before.
    pub error_before: f64,
    /// The same afterwards.
    pub error_after: f64,
    /// The step that was kept; 0 = the start.
    pub best_step: u64,
}

/// A model whose rounding has been learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// Layers that were learnt, by index.
    pub layers: Vec<TrainedLayer>,
    /// One entry for each block that has such layers.
    pub blocks: Vec<BlockRecovery>,
}

/// Learns the rounding of every layer inside blocks that is on an affine grid; all others stay as they are.
pub fn learn_rounding(
    job: RoundingJob<'_>,
    observer: &dyn Observer,
) -> Result<Recovery, RecoverError> {
    check_alike(job)?;
    let blocks = job.original.config().blocks;
    observer.notice(Notice::Stage {
        name: "learning how to round",
        steps: blocks as u64,
    });
    let silent = Silent(observer);
    let embed = |model: &Model| {
        let ends = model.load_ends()?;
        Stream::embed(model, &ends, job.sequences, job.spill, &silent).map_err(RecoverError::from)
    };
    let (original, seen) = (embed(job.original)?, embed(job.student)?);
    let rest = Frozen::new(job.student.source().clone());
    let mut recovery = Recovery {
        layers: Vec::new(),
        blocks: Vec::new(),
    };
    for index in 0..blocks {
        original.advance(&job.original.load_block(index)?, &silent)?;
        let starts = starts(job, index)?;
        let mut block = job.student.load_block(index)?;
        if !starts.is_empty() {
            let plans: Vec<ActivationPlan> = starts.iter().map(|(_, plan)| *plan).collect();
            let starts = starts.into_iter().map(|(start, _)| start).collect();
            let pairs = Pairs {
                inputs: &seen,
                targets: &original,
            };
            let rounded = round_block(
                job.student,
                index,
                starts,
                &rest,
                &pairs,
                job.config,
                &silent,
            )?;
            recovery.blocks.push(BlockRecovery {
                block: index,
                error_before: rounded.error_before,
                error_after: rounded.error_after,
                best_step: rounded.best_step,
            });
            for ((layer, solved), activations) in rounded.layers.into_iter().zip(plans) {
                put(&mut block, layer, &solved, activations)?;
                recovery.layers.push(TrainedLayer {
                    layer,
                    solved,
                    activations,
                });
            }
        }
        seen.advance(&block, &silent)?;
        observer.step(index as u64 + 1, blocks as u64);
    }
    match recovery.layers.is_empty() {
        false => Ok(recovery),
        true => Err(TrainError::misuse(
            "the student has no layers whose rounding could be learnt: codes on grids with whole zeros (methods rtn, gptq, awq), nothing pruned or factored",
        )
        .into()),
    }
}

/// Both networks must be one.
fn check_alike(job: RoundingJob<'_>) -> Result<(), RecoverError> {
    let shape = |model: &Model| -> Vec<(String, Vec<usize>)> {
        let layers = model.layers().iter();
        layers
            .map(|layer| (layer.tensor.clone(), layer.shape.clone()))
            .collect()
    };
    if shape(job.original) == shape(job.student) {
        return Ok(());
    }
    Err(TrainError::misuse(
        "teacher and student are different networks, and rounding is learnt towards the outputs of the same block; name the model that the student was compressed from as --teacher",
    )
    .into())
}

/// A solved layer takes its place, so that what follows sees what it will really give.
fn put(
    block: &mut Block,
    layer: usize,
    solved: &Solved,
    activations: ActivationPlan,
) -> Result<(), ModelError> {
    match activations == ActivationPlan::NONE {
        true => block.set_weights(layer, &solved.dequantize()),
        false => block.set_packed(layer, Arc::new(PackedMatrix::new(solved)), activations),
    }
}

/// The layers of one block whose rounding can be learnt.
fn starts(
    job: RoundingJob<'_>,
    block: usize,
) -> Result<Vec<(StartLayer, ActivationPlan)>, RecoverError> {
    let own = |info: &&LayerInfo| info.block == Some(block);
    let has_original_weights = is_unfolded(job, block)?;
    let mut starts = Vec::new();
    let layers = job.student.layers().iter().enumerate();
    for (layer, info) in layers.filter(|(_, info)| own(info) && info.kind == LayerKind::Linear) {
        let Some((solved, activations)) = job.codes.solved(&info.tensor)? else {
            continue;
        };
        if !can_learn(&solved) {
            continue;
        }
        let weights = match has_original_weights {
            true => Some(info.read(job.original.source().as_ref())?),
            false => None,
        };
        let start = StartLayer {
            layer,
            tensor: info.tensor.clone(),
            transposed: info.transposed,
            weights,
            solved,
        };
        starts.push((start, activations));
    }
    Ok(starts)
}

fn can_learn(solved: &Solved) -> bool {
    let whole_zeros = match &solved.grid {
        Grid::Affine(grid) => !grid.fractional_zeros,
        _ => false,
    };
    whole_zeros && solved.mask.is_none() && solved.factors.is_none()
}

/// Whether norms and biases of a block are the original's: where a fold changed them, it changed the weights too.
fn is_unfolded(job: RoundingJob<'_>, block: usize) -> Result<bool, RecoverError> {
    let (original, student) = (job.original.source(), job.student.source());
    for info in job.student.layers() {
        if info.block == Some(block) && info.kind == LayerKind::Other && info.dtype.is_float() {
            let kept = student.read_f32(&info.tensor)? == original.read_f32(&info.tensor)?;
            if !kept {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What enters a block and what should leave it.
struct Pairs<'a> {
    inputs: &'a Stream,
    targets: &'a Stream,
}

impl BlockPairs for Pairs<'_> {
    fn sequences(&self) -> usize {
        self.inputs.sequences()
    }

    fn input(&self, sequence: usize) -> Result<Tensor, TrainError> {
        hidden(self.inputs, sequence)
    }

    fn target(&self, sequence: usize) -> Result<Tensor, TrainError> {
        hidden(self.targets, sequence)
    }
}

fn hidden(stream: &Stream, sequence: usize) -> Result<Tensor, TrainError> {
    stream.hidden(sequence).map_err(|error| match error {
        CalibrateError::Stopped(stopped) => TrainError::Stopped(stopped),
        CalibrateError::Model(error) => TrainError::Model(error),
        other => TrainError::misuse(other.to_string()),
    })
}

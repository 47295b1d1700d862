//! The loop over blocks that learns their rounding: each sees what the already rounded blocks make, and is to give what
//! the original gives.
//!
//! Peak memory: one block of each network, its variables, and two buffers of activations, spilled to disk when they
//! exceed their share. Knows no folder: codes come in, better codes go out, and a `Keeper` holds the finished ones.

#[cfg(test)]
mod tests;

use crate::calibrate::{CalibrateError, SpillPolicy, Stream};
use crate::model::{LayerInfo, LayerKind, Model, ModelError};
use crate::monitor::{Monitor, Silent, Stopped};
use crate::packed::{ActivationPlan, PackedSource};
use crate::report::{Notice, Observer};
use crate::solved::{Grid, Solved};
use crate::tensor::SourceError;
use crate::train::rounding::{BlockPairs, RoundingConfig, StartLayer, round_block};
use crate::train::scales::TrainedLayer;
use crate::train::{Frozen, TrainError};
use candle_core::Tensor;

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
    /// For each layer, whether a fold changed its weights before they were solved: what its codes stand for is then not
    /// what the original holds.
    pub folded: &'a [bool],
    /// Sequences, all of one length.
    pub sequences: &'a [Vec<u32>],
    /// Where activations go that do not fit.
    pub spill: &'a SpillPolicy,
    /// How rounding is learnt.
    pub config: RoundingConfig,
    /// Where finished blocks are kept.
    pub keeper: &'a dyn Keeper,
}

/// Keeps finished blocks, so that a stopped loop goes on behind them.
pub trait Keeper: Sync {
    /// What an earlier try of the same job made of block `block`; `None` = nothing whole.
    fn find(&self, block: usize) -> Result<Option<FinishedBlock>, TrainError>;
    /// Keeps a finished block.
    fn keep(&self, block: &FinishedBlock) -> Result<(), TrainError>;
}

/// A block whose rounding has been learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedBlock {
    /// How it went.
    pub recovery: BlockRecovery,
    /// Its layers.
    pub layers: Vec<TrainedLayer>,
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
    let mut recovery = Recovery {
        layers: Vec::new(),
        blocks: Vec::new(),
    };
    for index in 0..blocks {
        original.advance(&job.original.load_block(index)?, &silent)?;
        let mut block = job.student.load_block(index)?;
        let pairs = Pairs {
            inputs: &seen,
            targets: &original,
        };
        if let Some(finished) = finished(job, index, &pairs, &silent)? {
            for layer in &finished.layers {
                block.set_solved(layer.layer, &layer.solved, layer.activations)?;
            }
            recovery.blocks.push(finished.recovery);
            recovery.layers.extend(finished.layers);
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

/// One block, kept or learnt; `None` where nothing of it can be learnt.
fn finished(
    job: RoundingJob<'_>,
    index: usize,
    pairs: &Pairs<'_>,
    monitor: &dyn Monitor,
) -> Result<Option<FinishedBlock>, RecoverError> {
    if let Some(finished) = job.keeper.find(index)? {
        return Ok(Some(finished));
    }
    let starts = starts(job, index)?;
    if starts.is_empty() {
        return Ok(None);
    }
    let plans: Vec<ActivationPlan> = starts.iter().map(|(_, plan)| *plan).collect();
    let starts = starts.into_iter().map(|(start, _)| start).collect();
    // Of one block: what is not learnt is read, kept and dropped with it.
    let rest = Frozen::new(job.student.source().clone());
    let rounded = round_block(
        job.student,
        index,
        starts,
        &rest,
        pairs,
        job.config,
        monitor,
    )?;
    let layers = rounded.layers.into_iter().zip(plans);
    let finished = FinishedBlock {
        recovery: BlockRecovery {
            block: index,
            error_before: rounded.error_before,
            error_after: rounded.error_after,
            best_step: rounded.best_step,
        },
        layers: layers
            .map(|((layer, solved), activations)| TrainedLayer {
                layer,
                solved,
                activations,
            })
            .collect(),
    };
    job.keeper.keep(&finished)?;
    Ok(Some(finished))
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

/// The layers of one block whose rounding can be learnt.
fn starts(
    job: RoundingJob<'_>,
    block: usize,
) -> Result<Vec<(StartLayer, ActivationPlan)>, RecoverError> {
    let own = |info: &&LayerInfo| info.block == Some(block);
    let is_of_original = is_of_original([job.original, job.student], job.folded, Some(block))?;
    let mut starts = Vec::new();
    let layers = job.student.layers().iter().enumerate();
    for (layer, info) in layers.filter(|(_, info)| own(info) && info.kind == LayerKind::Linear) {
        let Some((solved, activations)) = job.codes.solved(&info.tensor)? else {
            continue;
        };
        if !can_learn(&solved) {
            continue;
        }
        let is_folded = job.folded.get(layer).is_none_or(|&folded| folded);
        let weights = match is_of_original && !is_folded {
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

/// Whether a block of `student` was made of the original's weights, as far as folds (`folded`, by layer) do not explain the
/// difference: norms and biases are the same.
pub fn is_of_original(
    [original, student]: [&Model; 2],
    folded: &[bool],
    block: Option<usize>,
) -> Result<bool, SourceError> {
    let own = || {
        let layers = student.layers().iter().zip(folded);
        layers.filter(|(info, _)| info.block == block)
    };
    if own().any(|(_, &folded)| folded) {
        return Ok(true);
    }
    for (info, _) in own().filter(|(info, _)| info.kind == LayerKind::Other) {
        let is_kept = !info.dtype.is_float()
            || student.source().read_f32(&info.tensor)?
                == original.source().read_f32(&info.tensor)?;
        if !is_kept {
            return Ok(false);
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

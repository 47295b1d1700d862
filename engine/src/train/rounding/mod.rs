//! Learned rounding of one block: offsets and clip bounds that keep the block's outputs, found by signs of gradients.
//!
//! Cheng et al. 2023, arXiv 2309.05516 (AutoRound): the mean squared error between the original block's outputs and those
//! of the rounded block over the inputs that the already rounded blocks make; each step moves every variable by the
//! learning rate against the sign of its gradient; the rate falls linearly to zero; the best step is kept, here by the
//! error over sequences that no step is taken on. Starts from any solved layers on affine grids and never ends worse
//! than them by that measure. Knows one block: who moves hidden states on is above.

mod start;
#[cfg(test)]
mod tests;

pub use start::StartLayer;

use super::error::TrainError;
use super::values::values_of;
use crate::model::{Block, Context, Model, ModelError, Provider};
use crate::monitor::Monitor;
use crate::rng::Rng;
use crate::solved::Solved;
use candle_core::{Tensor, Var};
use start::{Rounded, RoundedLayers};

/// How rounding is learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundingConfig {
    /// Steps for each block.
    pub steps: u64,
    /// Sequences of one step.
    pub batch: usize,
    /// Learning rate of offsets, in codes; 0 = `1 / steps`.
    pub rate: f64,
    /// Learning rate of the clip factors; 0 = that of the offsets.
    pub clip_rate: f64,
    /// Decides which sequences a step sees.
    pub seed: u64,
}

impl Default for RoundingConfig {
    fn default() -> Self {
        Self {
            steps: 200,
            batch: 8,
            rate: 0.0,
            clip_rate: 0.0,
            seed: 0,
        }
    }
}

/// Hidden states in front of a block and what the original makes of the original ones, sequence by sequence.
pub trait BlockPairs: Sync {
    /// Sequences.
    fn sequences(&self) -> usize;
    /// What enters the rounded block, `[1, tokens, hidden]`.
    fn input(&self, sequence: usize) -> Result<Tensor, TrainError>;
    /// What the original block gives, `[1, tokens, hidden]`.
    fn target(&self, sequence: usize) -> Result<Tensor, TrainError>;
}

/// A block whose rounding has been learnt.
#[derive(Debug, Clone)]
pub struct RoundedBlock {
    /// Layers (indices into the model's list) and their new codes and scales, in the order in which they came.
    pub layers: Vec<(usize, Solved)>,
    /// Relative squared error of the block's outputs over the judging sequences, at the start.
    pub error_before: f64,
    /// The same of what is kept.
    pub error_after: f64,
    /// The step whose result is kept; 0 = the start.
    pub best_step: u64,
}

/// One in so many sequences judges steps instead of shaping them, where there are as many.
const JUDGING_SHARE: usize = 8;
/// Times that the error is judged in one block.
const JUDGEMENTS: u64 = 20;

/// Learns the rounding of block `index` of `model`; tensors that are not among `layers` come from `rest`.
pub fn round_block(
    model: &Model,
    index: usize,
    layers: Vec<StartLayer>,
    rest: &(dyn Provider + Sync),
    pairs: &dyn BlockPairs,
    config: RoundingConfig,
    monitor: &dyn Monitor,
) -> Result<RoundedBlock, TrainError> {
    let (shaping, judging) = split(pairs.sequences());
    let tokens = match pairs.sequences() {
        0 => 0,
        _ => pairs.input(0)?.dim(1)?,
    };
    let work = Work {
        model,
        index,
        rounded: RoundedLayers::new(layers, rest)?,
        context: model.context(tokens)?,
        pairs,
    };
    let error_before = work.relative_error(&judging)?;
    let mut best = Best {
        error: error_before,
        step: 0,
        values: work.rounded.snapshot()?,
    };
    let mut order = Order::new(shaping, Rng::new(config.seed, index as u64));
    let every = (config.steps / JUDGEMENTS).max(1);
    for step in 0..config.steps {
        monitor.check()?;
        let batch = order.next(config.batch.max(1));
        work.step(&batch, config.rates(step))?;
        monitor.step(step + 1, config.steps);
        if (step + 1) % every == 0 || step + 1 == config.steps {
            let error = work.relative_error(&judging)?;
            if error < best.error {
                best = Best {
                    error,
                    step: step + 1,
                    values: work.rounded.snapshot()?,
                };
            }
        }
    }
    Ok(RoundedBlock {
        layers: work.rounded.solved(&best.values),
        error_before,
        error_after: best.error,
        best_step: best.step,
    })
}

impl RoundingConfig {
    /// Learning rates of offsets and of clip factors at `step`, which counts from 0.
    fn rates(&self, step: u64) -> [f64; 2] {
        let left = 1.0 - step as f64 / self.steps.max(1) as f64;
        let rate = match self.rate {
            0.0 => 1.0 / self.steps.max(1) as f64,
            rate => rate,
        };
        let clip_rate = if self.clip_rate == 0.0 {
            rate
        } else {
            self.clip_rate
        };
        [rate * left, clip_rate * left]
    }
}

/// What was best so far.
struct Best {
    error: f64,
    step: u64,
    values: Vec<Rounded>,
}

/// Sequences that shape, and those that judge; the same where there are few.
fn split(sequences: usize) -> (Vec<usize>, Vec<usize>) {
    let all = || (0..sequences).collect::<Vec<usize>>();
    if sequences < JUDGING_SHARE {
        return (all(), all());
    }
    let judges = |index: &usize| index % JUDGING_SHARE == JUDGING_SHARE - 1;
    all().into_iter().partition(|index| !judges(index))
}

/// Sequences in an order drawn anew each time all have been seen.
struct Order {
    items: Vec<usize>,
    next: usize,
    rng: Rng,
}

impl Order {
    fn new(items: Vec<usize>, rng: Rng) -> Self {
        Self {
            next: items.len(),
            items,
            rng,
        }
    }

    fn next(&mut self, count: usize) -> Vec<usize> {
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count.min(self.items.len()) {
            if self.next == self.items.len() {
                self.rng.shuffle(&mut self.items);
                self.next = 0;
            }
            batch.push(self.items[self.next]);
            self.next += 1;
        }
        batch
    }
}

/// One block at work.
struct Work<'a> {
    model: &'a Model,
    index: usize,
    rounded: RoundedLayers<'a>,
    context: Context,
    pairs: &'a dyn BlockPairs,
}

impl Work<'_> {
    fn block(&self) -> Result<Block, ModelError> {
        self.model.build_block(self.index, &self.rounded)
    }

    /// Inputs and targets of some sequences, one after another in the batch dimension.
    fn batch(&self, sequences: &[usize]) -> Result<[Tensor; 2], TrainError> {
        let inputs = sequences.iter().map(|&one| self.pairs.input(one));
        let targets = sequences.iter().map(|&one| self.pairs.target(one));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        Ok([Tensor::cat(&inputs, 0)?, Tensor::cat(&targets, 0)?])
    }

    /// Moves every variable against the sign of its gradient.
    fn step(&self, sequences: &[usize], rates: [f64; 2]) -> Result<(), TrainError> {
        let [inputs, targets] = self.batch(sequences)?;
        let outputs = self.block()?.forward(&inputs, &self.context, None)?;
        let gradients = (outputs - targets)?.sqr()?.mean_all()?.backward()?;
        self.rounded
            .step(rates, &|var: &Var| gradients.get(var.as_tensor()).cloned())
    }

    /// `Σ (output - target)² / Σ target²`, a sequence at a time.
    fn relative_error(&self, sequences: &[usize]) -> Result<f64, TrainError> {
        let block = self.block()?;
        let (mut error, mut energy) = (0.0, 0.0);
        for &sequence in sequences {
            let [input, target] = self.batch(&[sequence])?;
            let output = values_of(&block.forward(&input, &self.context, None)?)?;
            for (output, target) in output.into_iter().zip(values_of(&target)?) {
                error += f64::from(output - target).powi(2);
                energy += f64::from(target).powi(2);
            }
        }
        Ok(if energy > 0.0 { error / energy } else { error })
    }
}

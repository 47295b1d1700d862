//! One batch through the network and back, block by block.
//!
//! On the way forth only each block's input is kept (in f32, or rounded to bf16); on the way back each block is built
//! anew, run again and pulled back: activation checkpointing (Chen et al. 2016, arXiv 1604.06174) with one block as the
//! segment. Units run side by side, and their gradients are added in the order of the units, so that sums depend on
//! nothing else. Knows no loss and no optimizer.

use super::batch::Batch;
use super::error::TrainError;
use super::gradients::Gradients;
use super::head::{judge_head, pass_head};
use super::learner::Learner;
use super::leaves::{Constants, Leaf, LeafSums, Leaves, Passed};
use super::objective::Objective;
use crate::lanes::run_in_lanes;
use crate::model::{Block, Context, Ends, Model};
use crate::monitor::Monitor;
use crate::recipe::StateStorage;
use candle_core::{DType, Tensor, Var};
use std::collections::BTreeMap;

/// A network whose tensors follow from a learner's variables.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)]
pub struct Network<'a> {
    model: &'a Model,
    learner: &'a dyn Learner,
    storage: StateStorage,
}

impl<'a> Network<'a> {
    /// `model` tells the shape; tensors are the learner's.
    pub fn new(model: &'a Model, learner: &'a dyn Learner, storage: StateStorage) -> Self {
        Self {
            model,
            learner,
            storage,
        }
    }

    /// The loss of `batch`; its gradients are added to `gradients`.
    pub fn gradients(
        &self,
        batch: &Batch,
        objective: &dyn Objective,
        gradients: &mut Gradients,
        monitor: &dyn Monitor,
    ) -> Result<f64, TrainError> {
        let contexts = self.contexts(batch)?;
        let leaves = Leaves::of(self.learner.provider());
        let ends = self.model.build_ends(&leaves)?;
        let ends_leaves = leaves.given();
        let mut ends_sums = LeafSums::of(&ends_leaves);
        let way = self.forth(&ends, batch, &contexts, true, monitor)?;
        let (mut loss, mut at_states) = (0.0, Vec::new());
        each_unit(
            batch,
            |unit| pass_head(&ends, &ends_leaves, &way.last[unit], batch, unit, objective),
            |passed| {
                loss += passed.loss;
                at_states.extend(passed.gradient);
                ends_sums.add(passed.leaves)
            },
        )?;
        let mut after = way.last;
        for (index, kept) in way.kept.into_iter().enumerate().rev() {
            monitor.check()?;
            loss +=
                self.judge_states(index, (batch, &after), objective, &mut at_states, gradients)?;
            let ways = (kept.as_slice(), at_states.as_slice());
            let (more, before) =
                self.pass_block(index, (batch, &contexts), ways, objective, gradients)?;
            loss += more;
            at_states = before;
            after = kept;
        }
        if !ends_leaves.is_empty() {
            each_unit(
                batch,
                |unit| {
                    let context = &contexts[unit];
                    pass_embedding(&ends, &ends_leaves, &at_states[unit], batch, unit, context)
                },
                |passed| ends_sums.add(passed.leaves),
            )?;
        }
        ends_sums.pull_back(&ends_leaves, self.learner, gradients)?;
        Ok(loss)
    }

    /// The loss of `batch`'s outputs alone.
    pub fn loss(
        &self,
        batch: &Batch,
        objective: &dyn Objective,
        monitor: &dyn Monitor,
    ) -> Result<f64, TrainError> {
        let contexts = self.contexts(batch)?;
        let ends = self.model.build_ends(&Constants(self.learner.provider()))?;
        let way = self.forth(&ends, batch, &contexts, false, monitor)?;
        let mut loss = 0.0;
        each_unit(
            batch,
            |unit| judge_head(&ends, &way.last[unit], batch, unit, objective),
            |part| {
                loss += part;
                Ok(())
            },
        )?;
        Ok(loss)
    }

    /// What each unit's passes need; made once for units of one length.
    fn contexts(&self, batch: &Batch) -> Result<Vec<Context>, TrainError> {
        let mut by_length: BTreeMap<usize, Context> = BTreeMap::new();
        let units = (0..batch.units()).map(|unit| {
            let tokens = batch.unit_length(unit);
            let context = match by_length.get(&tokens) {
                Some(context) => context,
                None => by_length
                    .entry(tokens)
                    .or_insert(self.model.context(tokens)?),
            };
            Ok(context.of_sequences(batch.numbers(unit)))
        });
        units.collect()
    }

    /// All units through all blocks, without a graph.
    fn forth(
        &self,
        ends: &Ends,
        batch: &Batch,
        contexts: &[Context],
        keep: bool,
        monitor: &dyn Monitor,
    ) -> Result<Way, TrainError> {
        let threads = rayon::current_num_threads();
        let mut states = run_in_lanes(threads, batch.units(), |unit| {
            Ok::<_, TrainError>(embed(ends, batch, unit, &contexts[unit])?.detach())
        })?;
        let mut kept = Vec::new();
        let constants = Constants(self.learner.provider());
        for index in 0..self.model.config().blocks {
            monitor.check()?;
            let block = self.model.build_block(index, &constants)?;
            let next = run_in_lanes(threads, batch.units(), |unit| {
                block.forward(&states[unit], &contexts[unit], None)
            })?;
            if keep {
                kept.push(self.stored(states)?);
            }
            states = next;
        }
        Ok(Way { kept, last: states })
    }

    fn stored(&self, states: Vec<Tensor>) -> Result<Vec<Tensor>, TrainError> {
        match self.storage {
            StateStorage::F32 => Ok(states),
            StateStorage::Bf16 => {
                let rounded = states.iter().map(|state| state.to_dtype(DType::BF16));
                Ok(rounded.collect::<Result<_, _>>()?)
            }
        }
    }

    /// Adds what the objective says about the states that left a block.
    fn judge_states(
        &self,
        block: usize,
        (batch, states): (&Batch, &[Tensor]),
        objective: &dyn Objective,
        at_states: &mut [Tensor],
        gradients: &mut Gradients,
    ) -> Result<f64, TrainError> {
        let mut loss = 0.0;
        for (unit, at_state) in at_states.iter_mut().enumerate() {
            let state = states[unit].to_dtype(DType::F32)?;
            let judged = objective.judge_states(block, batch.members(unit), &state)?;
            if let Some(judged) = judged {
                loss += judged.loss;
                *at_state = (&*at_state + judged.gradient)?;
                for (variable, gradient) in judged.own {
                    gradients.add(&variable, gradient)?;
                }
            }
        }
        Ok(loss)
    }

    /// All units back through block `index`: the loss of its attention, and gradients at its inputs.
    fn pass_block(
        &self,
        index: usize,
        (batch, contexts): (&Batch, &[Context]),
        (inputs, at_outputs): (&[Tensor], &[Tensor]),
        objective: &dyn Objective,
        gradients: &mut Gradients,
    ) -> Result<(f64, Vec<Tensor>), TrainError> {
        let leaves = Leaves::of(self.learner.provider());
        let block = self.model.build_block(index, &leaves)?;
        let leaves = leaves.given();
        let mut sums = LeafSums::of(&leaves);
        let (mut loss, mut at_inputs) = (0.0, Vec::new());
        each_unit(
            batch,
            |unit| {
                let context = &contexts[unit];
                let way = (&inputs[unit], &at_outputs[unit]);
                match objective.wants_attention() {
                    false => pass_unit(&block, &leaves, way, context),
                    true => pass_seeing(&block, &leaves, way, context, &|shares| {
                        objective.judge_attention(index, batch.members(unit), shares)
                    }),
                }
            },
            |passed| {
                loss += passed.loss;
                at_inputs.extend(passed.gradient);
                sums.add(passed.leaves)
            },
        )?;
        sums.pull_back(&leaves, self.learner, gradients)?;
        Ok((loss, at_inputs))
    }
}

/// What the way forth leaves: the input of each block for each unit, and what left the last.
struct Way {
    kept: Vec<Vec<Tensor>>,
    last: Vec<Tensor>,
}

/// Units side by side, as many as there are threads; `take` gets the results in the order of the units.
fn each_unit<T: Send>(
    batch: &Batch,
    work: impl Fn(usize) -> Result<T, TrainError> + Sync,
    mut take: impl FnMut(T) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let threads = rayon::current_num_threads();
    for first in (0..batch.units()).step_by(threads) {
        let count = threads.min(batch.units() - first);
        let results = run_in_lanes(threads, count, |offset| work(first + offset))?;
        results.into_iter().try_for_each(&mut take)?;
    }
    Ok(())
}

/// What enters the first block, `[members, tokens, hidden]`.
fn embed(ends: &Ends, batch: &Batch, unit: usize, context: &Context) -> Result<Tensor, TrainError> {
    let members = batch.members(unit).iter();
    let rows = members
        .map(|&member| ends.embed(&batch.sequences()[member], context))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::cat(&rows, 0)?)
}

fn pass_unit(
    block: &Block,
    leaves: &[Leaf],
    (input, at_output): (&Tensor, &Tensor),
    context: &Context,
) -> Result<Passed, TrainError> {
    let input = Var::from_tensor(&input.to_dtype(DType::F32)?)?;
    let output = block.forward(input.as_tensor(), context, None)?;
    let along = (output * at_output)?.sum_all()?;
    pulled(&input, along, leaves, 0.0)
}

/// `pass_unit` of a block whose attention has a loss of its own.
fn pass_seeing(
    block: &Block,
    leaves: &[Leaf],
    (input, at_output): (&Tensor, &Tensor),
    context: &Context,
    judge: &dyn Fn(&Tensor) -> Result<Option<Tensor>, TrainError>,
) -> Result<Passed, TrainError> {
    let input = Var::from_tensor(&input.to_dtype(DType::F32)?)?;
    let (output, shares) = block.forward_with_attention(input.as_tensor(), context)?;
    let mut along = (output * at_output)?.sum_all()?;
    let mut loss = 0.0;
    if let Some(judged) = judge(&shares)? {
        loss = f64::from(judged.to_scalar::<f32>()?);
        along = (along + judged)?;
    }
    pulled(&input, along, leaves, loss)
}

/// Gradients of `along` at a unit's input and at the leaves.
fn pulled(input: &Var, along: Tensor, leaves: &[Leaf], loss: f64) -> Result<Passed, TrainError> {
    let mut store = along.backward()?;
    Ok(Passed {
        loss,
        gradient: store.remove(input.as_tensor()),
        leaves: LeafSums::taken(leaves, &mut store),
    })
}

fn pass_embedding(
    ends: &Ends,
    leaves: &[Leaf],
    at_output: &Tensor,
    batch: &Batch,
    unit: usize,
    context: &Context,
) -> Result<Passed, TrainError> {
    let output = embed(ends, batch, unit, context)?;
    let leaves = match output.track_op() {
        true => {
            let mut store = (output * at_output)?.sum_all()?.backward()?;
            LeafSums::taken(leaves, &mut store)
        }
        false => LeafSums::of(leaves),
    };
    Ok(Passed {
        loss: 0.0,
        gradient: None,
        leaves,
    })
}

//! The loss of a network with a few layers replaced, against the network as it is, on the same sequences again and again.
//!
//! One pass of the original network leaves hidden states in front of its blocks, so that a replaced layer costs the
//! blocks from its own on and no more. Where memory does not hold them all, every n-th block's stay and the rest is run
//! again; where it does not hold the weights, blocks are read when they are needed. Slower then, the same bits.
//! Decoders: mean KL(original || changed) per scored token. Encoders: mean `1 - cosine` of a sentence's embedding with
//! the original's. Knows no solver and no option.

mod parts;

use super::changes::Changes;
use super::decoder::{self, Scores, score_batch};
use super::encoder::{self, EncoderTask, in_order, pool_rows};
use super::error::EvaluateError;
use super::network::{Batches, Network};
use super::plan::KeepingPlan;
use super::progress::Progress;
use crate::model::{Ends, Model, ModelError};
use crate::moments::{Accumulator, Moments};
use crate::monitor::Silent;
use crate::report::{Measure, Observer};
use crate::score::{Pooling, cosine};
use crate::tensor::Matrix;
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Some sequences and what the original network makes of them.
#[allow(missing_debug_implementations)]
pub struct Slice<'a> {
    network: Network<'a>,
    batches: Batches,
    lanes: usize,
    group: usize,
    /// For some blocks, and for the end, what enters there: one tensor for each batch.
    kept: BTreeMap<usize, Vec<Tensor>>,
    goal: Goal,
    observer: &'a dyn Observer,
}

/// What outputs are compared by.
enum Goal {
    /// Distributions of the next token.
    Logits,
    /// Sentence embeddings, those of the original network beside.
    Embeddings {
        pooling: Pooling,
        originals: Vec<Vec<f32>>,
    },
}

impl<'a> Slice<'a> {
    /// Of a decoder: every token but the first of each sequence is scored. `memory_bytes` is a guide, not a promise;
    /// states of all sequences after the last block are held whatever it says.
    pub fn decoder(
        model: &'a Model,
        sequences: &[&[u32]],
        memory_bytes: u64,
        observer: &'a dyn Observer,
    ) -> Result<Self, EvaluateError> {
        decoder::check(model, None, sequences)?;
        Self::run(model, sequences, Goal::Logits, memory_bytes, observer)
    }

    /// Of an encoder: the sentences of `task`, or where it has none, those of its pairs.
    pub fn encoder(
        model: &'a Model,
        task: &EncoderTask<'_>,
        memory_bytes: u64,
        observer: &'a dyn Observer,
    ) -> Result<Self, EvaluateError> {
        encoder::check(model, Some(model), task)?;
        let ids = encoder::tokenize(task)?;
        let compared = &ids[encoder::compared(task, ids.len())];
        let sequences: Vec<&[u32]> = compared.iter().map(Vec::as_slice).collect();
        let goal = Goal::Embeddings {
            pooling: task.pooling.clone(),
            originals: Vec::new(),
        };
        let mut slice = Self::run(model, &sequences, goal, memory_bytes, observer)?;
        let found = slice.with_groups(|slice, group, pooling| {
            let finals = &slice.finals()[group.clone()];
            slice
                .network
                .with_ends(|ends| slice.embeddings(ends, finals, group, pooling))
        })?;
        if let Goal::Embeddings { originals, .. } = &mut slice.goal {
            *originals = found;
        }
        Ok(slice)
    }

    /// What losses are measured in.
    pub fn measure(&self) -> Measure {
        match self.goal {
            Goal::Logits => Measure::Kl,
            Goal::Embeddings { .. } => Measure::CosineDistance,
        }
    }

    /// Scored tokens; of an encoder, sentences.
    pub fn scored(&self) -> u64 {
        let sequences = self.batches.sequences();
        match self.goal {
            Goal::Logits => sequences
                .iter()
                .map(|ids| (ids.len() as u64).saturating_sub(1))
                .sum(),
            Goal::Embeddings { .. } => sequences.len() as u64,
        }
    }

    /// The loss with these layers' weights (`[out, in]`, by index into the model's list) in place of their own: linear
    /// layers of blocks, the embedding (and a head tied to it) or the head. 0 where nothing is changed.
    pub fn loss_with(&self, changed: &[(usize, Arc<Matrix>)]) -> Result<f64, EvaluateError> {
        let changes = Changes::new(self.network.model(), changed)?;
        match &self.goal {
            Goal::Logits => self.mean_kl(&changes),
            Goal::Embeddings { originals, .. } => {
                let found = self.with_groups(|slice, group, pooling| {
                    let states = slice.changed_states(&changes, group.clone())?;
                    slice.with_changed_ends(&changes, |[ends, _]| {
                        slice.embeddings(ends, &states, group, pooling)
                    })
                })?;
                Ok(mean_distance(&found, originals))
            }
        }
    }

    /// Moments of what the original network's head multiplies at scored tokens (of an encoder, at all tokens): they
    /// tell what an error of the head does, as those of stages do for layers of blocks.
    pub fn head_moments(&self) -> Result<Moments, EvaluateError> {
        self.network.with_ends(|ends| {
            let mut moments: Option<Accumulator> = None;
            let mut first_token = 0;
            for (batch, states) in self.finals().iter().enumerate() {
                self.observer.check()?;
                let tokens = match self.goal {
                    Goal::Logits => self.batches.tokens(batch).saturating_sub(1),
                    Goal::Embeddings { .. } => self.batches.tokens(batch),
                };
                if tokens == 0 {
                    continue;
                }
                let (values, width) = head_input(ends, states, tokens)?;
                let moments = moments.get_or_insert_with(|| Accumulator::new(width, false));
                moments.add(first_token, &values, None);
                first_token += (values.len() / width) as u64;
            }
            let moments = moments.expect("a slice scores at least one token");
            Ok(moments.finish().0)
        })
    }

    /// How often each row of the embedding is looked up.
    pub fn token_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.network.model().config().vocabulary];
        for &id in self.batches.sequences().iter().flatten() {
            counts[id as usize] += 1;
        }
        counts
    }

    /// Bytes of the hidden states that are kept.
    pub fn kept_bytes(&self) -> u64 {
        let tensors = self.kept.values().flatten();
        let values: usize = tensors.map(Tensor::elem_count).sum();
        (values * size_of::<f32>()) as u64
    }

    fn run(
        model: &'a Model,
        sequences: &[&[u32]],
        goal: Goal,
        memory_bytes: u64,
        observer: &'a dyn Observer,
    ) -> Result<Self, EvaluateError> {
        let batches = Batches::new(sequences);
        let tokens = sequences.iter().map(|ids| ids.len()).sum();
        let threads = rayon::current_num_threads();
        let KeepingPlan { plan, every } =
            KeepingPlan::new(model, batches.largest(), tokens, memory_bytes, threads);
        let mut slice = Self {
            network: Network::load(model, &batches, plan)?,
            batches,
            lanes: plan.lanes,
            group: plan.group,
            kept: BTreeMap::new(),
            goal,
            observer,
        };
        slice.keep_states(every)?;
        Ok(slice)
    }

    /// Runs the original network and keeps what enters every so many blocks.
    fn keep_states(&mut self, every: Option<usize>) -> Result<(), EvaluateError> {
        let steps = self.network.steps(self.batches.len());
        let progress = Progress::start(self.observer, "run the original on the slice", steps);
        for group in self.groups() {
            let embed = |ends: &Ends| self.network.embedded(ends, &self.batches, group.clone());
            let mut states = self.network.with_ends(embed)?;
            for block in 0..self.blocks() {
                if every.is_some_and(|every| block % every == 0) {
                    self.kept
                        .entry(block)
                        .or_default()
                        .extend_from_slice(&states);
                }
                states = self
                    .network
                    .advance(&*self.network.block(block)?, &states, &progress)?;
            }
            self.kept.entry(self.blocks()).or_default().extend(states);
        }
        Ok(())
    }

    fn blocks(&self) -> usize {
        self.network.model().config().blocks
    }

    /// What leaves the original network's last block.
    fn finals(&self) -> &[Tensor] {
        &self.kept[&self.blocks()]
    }

    /// What enters `block` in the original network.
    fn original_states(
        &self,
        block: usize,
        group: Range<usize>,
        progress: &Progress<'_>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let (from, mut states) = match self.kept.range(..=block).next_back() {
            Some((&from, kept)) => (from, kept[group].to_vec()),
            None => (
                0,
                self.network
                    .with_ends(|ends| self.network.embedded(ends, &self.batches, group))?,
            ),
        };
        for index in from..block {
            states = self
                .network
                .advance(&*self.network.block(index)?, &states, progress)?;
        }
        Ok(states)
    }

    /// What leaves the last block of the changed network.
    fn changed_states(
        &self,
        changes: &Changes<'_>,
        group: Range<usize>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let silent = Silent(self.observer);
        let progress = Progress::uncounted(&silent);
        let (first, mut states) = if changes.reach_embedding() {
            let embed = |[ends, _]: [&Ends; 2]| self.network.embedded(ends, &self.batches, group);
            (0, self.with_changed_ends(changes, embed)?)
        } else {
            let first = changes.first_block().unwrap_or(self.blocks());
            (first, self.original_states(first, group, &progress)?)
        };
        for index in first..self.blocks() {
            let block = changes.put_into_block(index, self.network.block(index)?)?;
            states = self.network.advance(&block, &states, &progress)?;
        }
        Ok(states)
    }

    /// Calls `work` with the changed ends and the original ones.
    fn with_changed_ends<T>(
        &self,
        changes: &Changes<'_>,
        work: impl FnOnce([&Ends; 2]) -> Result<T, EvaluateError>,
    ) -> Result<T, EvaluateError> {
        self.network
            .with_ends(|ends| work([&*changes.put_into_ends(ends)?, ends]))
    }

    fn mean_kl(&self, changes: &Changes<'_>) -> Result<f64, EvaluateError> {
        let mut scores = Scores::new(self.batches.sequences().len());
        for group in self.groups() {
            let states = self.changed_states(changes, group.clone())?;
            let finals = &self.finals()[group.clone()];
            let scored = self.with_changed_ends(changes, |ends| {
                let ends = ends.map(Ends::clone);
                self.in_lanes(group.len(), |offset| {
                    let hidden = [&states[offset], &finals[offset]];
                    score_batch(&ends, &hidden, &self.batches, group.start + offset)
                })
            })?;
            scores.place(&self.batches, group.start, scored);
        }
        let kl = scores.tally().kl();
        Ok(kl
            .expect("every window was compared, and one has a scored token")
            .mean)
    }

    /// Embeddings of all sequences, `work` giving those of one group.
    fn with_groups(
        &self,
        work: impl Fn(&Self, Range<usize>, &Pooling) -> Result<Vec<(usize, Vec<f32>)>, EvaluateError>,
    ) -> Result<Vec<Vec<f32>>, EvaluateError> {
        let Goal::Embeddings { pooling, .. } = &self.goal else {
            return Ok(Vec::new());
        };
        let mut embeddings = Vec::new();
        for group in self.groups() {
            embeddings.extend(work(self, group, pooling)?);
        }
        in_order(embeddings)
    }

    /// An embedding for each sequence of a group, with its index.
    fn embeddings(
        &self,
        ends: &Ends,
        states: &[Tensor],
        group: Range<usize>,
        pooling: &Pooling,
    ) -> Result<Vec<(usize, Vec<f32>)>, EvaluateError> {
        let rows = self.in_lanes(states.len(), |offset| {
            pool_rows(&ends.head(&states[offset])?, pooling)
        })?;
        let members = group.flat_map(|batch| self.batches.members(batch).iter().copied());
        Ok(members.zip(rows.into_iter().flatten()).collect())
    }
}

/// Mean of `1 - cosine`; a vector of zeros counts as unlike.
fn mean_distance(found: &[Vec<f32>], originals: &[Vec<f32>]) -> f64 {
    let couples = found.iter().zip(originals);
    let distances = couples.map(|(found, original)| 1.0 - cosine(found, original).unwrap_or(0.0));
    distances.sum::<f64>() / originals.len().max(1) as f64
}

/// Values of the first `tokens` positions of each sequence, and the width of one.
fn head_input(
    ends: &Ends,
    states: &Tensor,
    tokens: usize,
) -> Result<(Vec<f32>, usize), ModelError> {
    let input = ends.head_input(&states.narrow(1, 0, tokens)?)?;
    let (_, _, width) = input.dims3()?;
    Ok((input.flatten_all()?.to_vec1()?, width))
}

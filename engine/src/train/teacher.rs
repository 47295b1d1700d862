//! Teachers at work: what they say of a batch, alone or averaged with weights.
//!
//! Several are averaged as `Σ w softmax(z/T)` or as `softmax(Σ w z/T)`. States are kept for a batch, logits made for a few
//! positions at a time. Knows no student and no loss.

use super::batch::Batch;
use super::error::TrainError;
use super::loss::Distribution;
use super::memo::Likeliest;
use super::objective::Part;
use crate::lanes::run_in_lanes;
use crate::model::{Block, Ends, Model};
use crate::monitor::Monitor;
use crate::recipe::Ensemble;
use candle_core::Tensor;
use std::borrow::Cow;

/// One teacher.
#[allow(missing_debug_implementations)]
pub struct Teacher {
    model: Model,
    weight: f64,
    ends: Ends,
    /// All blocks; `None` = read one at a time for each batch.
    blocks: Option<Vec<Block>>,
}

/// Teachers whose outputs are averaged.
#[allow(missing_debug_implementations)]
pub struct Teachers {
    teachers: Vec<Teacher>,
    ensemble: Ensemble,
    /// Tokens that are spoken of: the first of each teacher's.
    vocabulary: usize,
}

/// What is kept of each block of the first teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// What leaves it.
    pub states: bool,
    /// Where its tokens look.
    pub attention: bool,
}

/// What one teacher has made of a batch.
struct Taught {
    last: Vec<Tensor>,
    blocks: Vec<Vec<Tensor>>,
    attention: Vec<Vec<Tensor>>,
}

/// What teachers have made of a batch.
#[allow(missing_debug_implementations)]
pub struct Lesson<'a> {
    teachers: &'a Teachers,
    /// By teacher and sequence: what left the last block, `[1, tokens, hidden]`.
    last: Vec<Vec<Tensor>>,
    /// Of the first teacher by block and sequence: what left it; empty unless asked for.
    blocks: Vec<Vec<Tensor>>,
    /// Of the first teacher by block and sequence: where tokens look, `[1, tokens, tokens]`; empty unless asked for.
    attention: Vec<Vec<Tensor>>,
}

impl Teacher {
    /// A dense model, or one on kernels. `resident`: all blocks stay in memory.
    pub fn new(model: Model, weight: f64, resident: bool) -> Result<Self, TrainError> {
        let blocks = match resident {
            true => {
                let blocks = (0..model.config().blocks).map(|index| model.load_block(index));
                Some(blocks.collect::<Result<_, _>>()?)
            }
            false => None,
        };
        Ok(Self {
            ends: model.load_ends()?,
            model,
            weight,
            blocks,
        })
    }

    fn block(&self, index: usize) -> Result<Cow<'_, Block>, TrainError> {
        Ok(match &self.blocks {
            Some(blocks) => Cow::Borrowed(&blocks[index]),
            None => Cow::Owned(self.model.load_block(index)?),
        })
    }

    /// What leaves the last block for each sequence, and what is to be kept of every block.
    fn states(
        &self,
        batch: &Batch,
        kept: Kept,
        monitor: &dyn Monitor,
    ) -> Result<Taught, TrainError> {
        let threads = rayon::current_num_threads();
        let contexts = (0..batch.units())
            .map(|unit| self.model.context(batch.unit_length(unit)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut states = run_in_lanes(threads, batch.units(), |unit| {
            let members = batch.members(unit).iter();
            let rows = members
                .map(|&member| self.ends.embed(&batch.sequences()[member], &contexts[unit]))
                .collect::<Result<Vec<_>, _>>()?;
            Ok::<_, TrainError>(Tensor::cat(&rows, 0)?)
        })?;
        let (mut blocks, mut attention) = (Vec::new(), Vec::new());
        for index in 0..self.model.config().blocks {
            monitor.check()?;
            let block = &*self.block(index)?;
            let outputs = run_in_lanes(threads, batch.units(), |unit| {
                let (state, context) = (&states[unit], &contexts[unit]);
                Ok::<_, TrainError>(match kept.attention {
                    true => {
                        let (output, shares) = block.forward_with_attention(state, context)?;
                        (output, Some(shares))
                    }
                    false => (block.forward(state, context, None)?, None),
                })
            })?;
            let (next, shares): (Vec<Tensor>, Vec<Option<Tensor>>) = outputs.into_iter().unzip();
            states = next;
            if kept.states {
                blocks.push(by_sequence(batch, &states)?);
            }
            if kept.attention {
                let shares: Vec<Tensor> = shares.into_iter().flatten().collect();
                attention.push(by_sequence(batch, &shares)?);
            }
        }
        Ok(Taught {
            last: by_sequence(batch, &states)?,
            blocks,
            attention,
        })
    }
}

/// Units' states as those of single sequences, in the batch's order.
fn by_sequence(batch: &Batch, states: &[Tensor]) -> Result<Vec<Tensor>, TrainError> {
    let mut sequences = vec![None; batch.sequences().len()];
    for (unit, state) in states.iter().enumerate() {
        for (row, &member) in batch.members(unit).iter().enumerate() {
            sequences[member] = Some(state.narrow(0, row, 1)?);
        }
    }
    Ok(sequences.into_iter().flatten().collect())
}

impl Teachers {
    /// Weights need not add up to 1: they are divided by their sum.
    pub fn new(mut teachers: Vec<Teacher>, ensemble: Ensemble) -> Result<Self, TrainError> {
        let total: f64 = teachers.iter().map(|teacher| teacher.weight).sum();
        let is_weight = |teacher: &Teacher| teacher.weight.is_finite() && teacher.weight >= 0.0;
        let are_weights = teachers.iter().all(is_weight) && total > 0.0 && total.is_finite();
        if !are_weights {
            return Err(TrainError::misuse(
                "weights of teachers must be 0 or more, and not all 0; give one --teacher-weight for each --teacher",
            ));
        }
        let mut models = teachers.iter().map(|teacher| &teacher.model);
        let first = &teachers[0].model;
        let width = |model: &Model| model.config().hidden;
        if let Some(other) = models.find(|model| first.is_encoder() && width(model) != width(first))
        {
            return Err(TrainError::misuse(format!(
                "embeddings of one teacher have {} values, of another {}, and cannot be averaged; name teachers of one width",
                width(first),
                width(other)
            )));
        }
        let sizes = teachers.iter();
        let sizes = sizes.map(|teacher| teacher.model.config().vocabulary);
        let vocabulary = sizes.min().unwrap_or(0);
        teachers
            .iter_mut()
            .for_each(|teacher| teacher.weight /= total);
        Ok(Self {
            teachers,
            ensemble,
            vocabulary,
        })
    }

    /// Heard over the first `vocabulary` tokens only, which are all that a student knows.
    pub fn within(self, vocabulary: usize) -> Self {
        Self {
            vocabulary: self.vocabulary.min(vocabulary),
            ..self
        }
    }

    /// Tokens over which the teachers are heard.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Shape of the first teacher, whose states and embeddings are matched.
    pub fn first(&self) -> &Model {
        &self.teachers[0].model
    }

    /// Runs all teachers over `batch`; `kept` of each block of the first stays.
    pub fn teach(
        &self,
        batch: &Batch,
        kept: Kept,
        monitor: &dyn Monitor,
    ) -> Result<Lesson<'_>, TrainError> {
        let mut lesson = Lesson {
            teachers: self,
            last: Vec::new(),
            blocks: Vec::new(),
            attention: Vec::new(),
        };
        for (index, teacher) in self.teachers.iter().enumerate() {
            let kept = if index == 0 { kept } else { Kept::default() };
            let taught = teacher.states(batch, kept, monitor)?;
            lesson.last.push(taught.last);
            lesson.blocks.extend(taught.blocks);
            lesson.attention.extend(taught.attention);
        }
        Ok(lesson)
    }
}

impl Lesson<'_> {
    /// The averaged distribution at each position of a part.
    pub fn distributions(
        &self,
        part: Part,
        temperature: f64,
    ) -> Result<Vec<Distribution>, TrainError> {
        let mut sums: Vec<Vec<f64>> = Vec::new();
        let teachers = &self.teachers.teachers;
        for (teacher, last) in teachers.iter().zip(&self.last) {
            let states = last[part.sequence].narrow(1, part.start, part.count)?;
            let logits = teacher.ends.head(&states)?;
            let width = logits.dim(2)?;
            let logits = logits.flatten_all()?.to_vec1::<f32>()?;
            let common = self.teachers.vocabulary;
            let rows = logits.chunks_exact(width).map(|row| &row[..common]);
            if teachers.len() == 1 {
                return Ok(rows
                    .map(|row| Distribution::softmax(row, temperature))
                    .collect());
            }
            sums.resize(part.count, vec![0.0; common]);
            for (sum, row) in sums.iter_mut().zip(rows) {
                self.teachers.add(sum, row, teacher.weight, temperature);
            }
        }
        let averaged = sums.into_iter().map(|sum| match self.teachers.ensemble {
            Ensemble::Probability => Distribution::of_shares(sum),
            Ensemble::Logit => {
                let logits: Vec<f32> = sum.into_iter().map(|logit| logit as f32).collect();
                Distribution::softmax(&logits, temperature)
            }
        });
        Ok(averaged.collect())
    }

    /// The `top` likeliest tokens at each position of a sequence of `tokens`, made for `at_once` positions at a time.
    pub fn likeliest(
        &self,
        (sequence, tokens): (usize, usize),
        (top, at_once): (usize, usize),
        temperature: f64,
    ) -> Result<Vec<Likeliest>, TrainError> {
        let mut found = Vec::with_capacity(tokens);
        for start in (0..tokens).step_by(at_once.max(1)) {
            let part = Part {
                sequence,
                start,
                count: at_once.min(tokens - start),
            };
            let distributions = self.distributions(part, temperature)?;
            let cut = |distribution| Likeliest::of(distribution, top);
            found.extend(distributions.iter().map(cut));
        }
        Ok(found)
    }

    /// What left block `block` of the first teacher for one sequence.
    pub fn states_after(&self, block: usize, sequence: usize) -> &Tensor {
        &self.blocks[block][sequence]
    }

    /// Where the first teacher's tokens look in block `block`, for one sequence.
    pub fn attention_in(&self, block: usize, sequence: usize) -> &Tensor {
        &self.attention[block][sequence]
    }

    /// All teachers' last hidden states for one sequence, with their weights.
    pub fn all_outputs(&self, sequence: usize) -> Result<Vec<(f64, Vec<f32>, usize)>, TrainError> {
        let taught = self.teachers.teachers.iter().zip(&self.last);
        taught
            .map(|(teacher, last)| {
                let outputs = teacher.ends.head(&last[sequence])?;
                let width = outputs.dim(2)?;
                Ok((teacher.weight, outputs.flatten_all()?.to_vec1()?, width))
            })
            .collect()
    }
}

impl Teachers {
    fn add(&self, sum: &mut [f64], logits: &[f32], weight: f64, temperature: f64) {
        match self.ensemble {
            Ensemble::Probability => {
                let shares = Distribution::softmax(logits, temperature).shares;
                let slots = sum.iter_mut().zip(shares);
                slots.for_each(|(slot, share)| *slot += weight * share);
            }
            Ensemble::Logit => {
                let slots = sum.iter_mut().zip(logits);
                slots.for_each(|(slot, &logit)| *slot += weight * f64::from(logit));
            }
        }
    }
}

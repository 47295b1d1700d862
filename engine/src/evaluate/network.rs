//! Hidden states of many sequences: all blocks at hand, or one at a time read from the source.
//!
//! Works on batches of equally long sequences, so that nothing is padded and no mask is needed. Knows no score.

use super::error::EvaluateError;
use super::plan::{BatchShape, Plan};
use super::progress::Progress;
use crate::lanes::run_in_lanes;
use crate::model::{Block, BlockCache, CacheKind, Context, Ends, Model, ModelError};
use candle_core::Tensor;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Tokens that a batch may hold beyond its first sequence: enough rows for matrix products to run at full speed, few
/// enough for the results to stay in the cache.
const BATCH_TOKENS: usize = 512;

/// Sequences cut into batches; the indices in a batch are those of the sequences.
pub(super) struct Batches {
    sequences: Vec<Vec<u32>>,
    /// Sequence indices, sorted by length, then by index.
    order: Vec<usize>,
    /// Each a run of `order` of one length.
    batches: Vec<Range<usize>>,
}

impl Batches {
    /// Batches depend on the sequences alone.
    pub(super) fn new(sequences: &[&[u32]]) -> Self {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&index| sequences[index].len());
        let mut batches = Vec::new();
        let mut start = 0;
        for run in order.chunk_by(|&left, &right| sequences[left].len() == sequences[right].len()) {
            let length = sequences[run[0]].len();
            let size = (BATCH_TOKENS / length.max(1)).max(1);
            for chunk in run.chunks(size) {
                batches.push(start..start + chunk.len());
                start += chunk.len();
            }
        }
        Self {
            sequences: sequences.iter().map(|ids| ids.to_vec()).collect(),
            order,
            batches,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Indices of the sequences of one batch.
    pub(super) fn members(&self, batch: usize) -> &[usize] {
        &self.order[self.batches[batch].clone()]
    }

    pub(super) fn sequence(&self, index: usize) -> &[u32] {
        &self.sequences[index]
    }

    pub(super) fn sequences(&self) -> &[Vec<u32>] {
        &self.sequences
    }

    /// Tokens of each sequence of one batch.
    pub(super) fn tokens(&self, batch: usize) -> usize {
        self.sequences[self.order[self.batches[batch].start]].len()
    }

    /// Lengths met, for contexts.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).map(|batch| self.tokens(batch))
    }

    /// The batch that takes most memory.
    pub(super) fn largest(&self) -> BatchShape {
        let shapes = (0..self.len()).map(|batch| BatchShape {
            sequences: self.members(batch).len(),
            tokens: self.tokens(batch),
        });
        // The longest sequences also make the largest score matrices.
        shapes
            .max_by_key(|shape| shape.sequences * shape.tokens * shape.tokens)
            .unwrap_or(BatchShape {
                sequences: 0,
                tokens: 0,
            })
    }
}

/// One network about to see batches.
pub(super) struct Network<'a> {
    model: &'a Model,
    lanes: usize,
    contexts: BTreeMap<usize, Context>,
    /// How tokens see the keys and values of each other.
    kept: CacheKind,
    resident: Option<(Ends, Vec<Block>)>,
}

impl<'a> Network<'a> {
    /// Reads all weights where the plan says so.
    pub(super) fn load(
        model: &'a Model,
        batches: &Batches,
        plan: Plan,
    ) -> Result<Self, EvaluateError> {
        let lengths: BTreeSet<usize> = batches.lengths().collect();
        let contexts = lengths
            .into_iter()
            .map(|tokens| Ok((tokens, model.context(tokens)?)))
            .collect::<Result<_, EvaluateError>>()?;
        let resident = if plan.resident {
            let blocks = (0..model.config().blocks).map(|index| model.load_block(index));
            Some((model.load_ends()?, blocks.collect::<Result<_, _>>()?))
        } else {
            None
        };
        Ok(Self {
            model,
            lanes: plan.lanes,
            contexts,
            kept: CacheKind::F32,
            resident,
        })
    }

    /// The same, with keys and values as a cache of this kind gives them back.
    pub(super) fn keeping(self, kept: CacheKind) -> Self {
        Self { kept, ..self }
    }

    /// Steps that `hidden` takes for `batches` batches.
    pub(super) fn steps(&self, batches: usize) -> usize {
        batches * self.model.config().blocks
    }

    /// What leaves the last block, `[sequences, tokens, hidden]` for each batch of `group`.
    pub(super) fn hidden(
        &self,
        batches: &Batches,
        group: Range<usize>,
        progress: &Progress<'_>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        match &self.resident {
            Some((ends, blocks)) => run_in_lanes(self.lanes, group.len(), |offset| {
                let batch = group.start + offset;
                let mut hidden = self.embed(ends, batches, batch)?;
                for block in blocks {
                    hidden = self.forward(block, &hidden, progress)?;
                }
                Ok(hidden)
            }),
            None => self.hidden_by_block(batches, group, progress),
        }
    }

    /// Embedding, final norm and head.
    pub(super) fn with_ends<T>(
        &self,
        work: impl FnOnce(&Ends) -> Result<T, EvaluateError>,
    ) -> Result<T, EvaluateError> {
        match &self.resident {
            Some((ends, _)) => work(ends),
            None => work(&self.model.load_ends()?),
        }
    }

    fn hidden_by_block(
        &self,
        batches: &Batches,
        group: Range<usize>,
        progress: &Progress<'_>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let mut states = self.with_ends(|ends| self.embedded(ends, batches, group))?;
        for index in 0..self.model.config().blocks {
            states = self.advance(&*self.block(index)?, &states, progress)?;
        }
        Ok(states)
    }

    /// What enters the first block, for each batch of `group`.
    pub(super) fn embedded(
        &self,
        ends: &Ends,
        batches: &Batches,
        group: Range<usize>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        run_in_lanes(self.lanes, group.len(), |offset| {
            self.embed(ends, batches, group.start + offset)
        })
    }

    /// What leaves `block` for each of the batches that enter it.
    pub(super) fn advance(
        &self,
        block: &Block,
        states: &[Tensor],
        progress: &Progress<'_>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        run_in_lanes(self.lanes, states.len(), |offset| {
            self.forward(block, &states[offset], progress)
        })
    }

    /// Block `index`: at hand, or read now.
    pub(super) fn block(&self, index: usize) -> Result<Cow<'_, Block>, EvaluateError> {
        Ok(match &self.resident {
            Some((_, blocks)) => Cow::Borrowed(&blocks[index]),
            None => Cow::Owned(self.model.load_block(index)?),
        })
    }

    pub(super) fn model(&self) -> &'a Model {
        self.model
    }

    fn embed(&self, ends: &Ends, batches: &Batches, batch: usize) -> Result<Tensor, EvaluateError> {
        let context = self.context(batches.tokens(batch));
        let members = batches.members(batch).iter();
        let rows = members
            .map(|&index| ends.embed(batches.sequence(index), context))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(&rows, 0).map_err(crate::model::ModelError::from)?)
    }

    fn forward(
        &self,
        block: &Block,
        hidden: &Tensor,
        progress: &Progress<'_>,
    ) -> Result<Tensor, EvaluateError> {
        let (_, tokens, _) = hidden.dims3().map_err(crate::model::ModelError::from)?;
        let context = self.context(tokens);
        let output = match self.kept {
            CacheKind::F32 => block.forward(hidden, context, None)?,
            kept => through_cache(block, hidden, context, kept)?,
        };
        progress.step()?;
        Ok(output)
    }

    /// Positions of `tokens`, a length that the batches hold.
    pub(super) fn context(&self, tokens: usize) -> &Context {
        &self.contexts[&tokens]
    }
}

/// What leaves a block whose tokens see all keys and values as a cache keeps them, their own included: the same as if
/// each token were read by itself. A cache holds one sequence.
fn through_cache(
    block: &Block,
    hidden: &Tensor,
    context: &Context,
    kept: CacheKind,
) -> Result<Tensor, ModelError> {
    let sequences = (0..hidden.dim(0)?).map(|sequence| {
        let mut cache = BlockCache::new(kept);
        block.forward(&hidden.narrow(0, sequence, 1)?, context, Some(&mut cache))
    });
    Ok(Tensor::cat(
        &sequences.collect::<Result<Vec<_>, ModelError>>()?,
        0,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_equal_lengths_in_order() {
        let data = vec![0; 700];
        let sequences: Vec<&[u32]> = [3, 600, 3, 200, 200, 200, 3]
            .map(|length| &data[..length])
            .to_vec();
        let batches = Batches::new(&sequences);
        let members: Vec<&[usize]> = (0..batches.len())
            .map(|batch| batches.members(batch))
            .collect();
        assert_eq!(members, [&[0, 2, 6][..], &[3, 4], &[5], &[1]]);
        assert_eq!(batches.largest().tokens, 600);
    }
}

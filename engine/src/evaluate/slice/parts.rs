//! The original network of a slice part by part, for whoever walks it another way than a changed pass does.

use super::{Goal, Slice};
use crate::evaluate::EvaluateError;
use crate::evaluate::progress::Progress;
use crate::lanes::run_in_lanes;
use crate::model::{Block, Context, Ends, Model};
use crate::monitor::Silent;
use crate::score::Pooling;
use candle_core::Tensor;
use std::borrow::Cow;
use std::ops::Range;

impl Slice<'_> {
    /// The network.
    pub(crate) fn model(&self) -> &Model {
        self.network.model()
    }

    /// From hidden states to an embedding; `None` of a decoder.
    pub(crate) fn pooling(&self) -> Option<&Pooling> {
        match &self.goal {
            Goal::Logits => None,
            Goal::Embeddings { pooling, .. } => Some(pooling),
        }
    }

    /// Runs of batches that may be at work together.
    pub(crate) fn groups(&self) -> Vec<Range<usize>> {
        let count = self.batches.len();
        let starts = (0..count).step_by(self.group);
        starts
            .map(|first| first..first.saturating_add(self.group).min(count))
            .collect()
    }

    /// Place and tokens of each sequence of a batch.
    pub(crate) fn sequences(&self, batch: usize) -> Vec<(usize, &[u32])> {
        let members = self.batches.members(batch).iter();
        members
            .map(|&index| (index, self.batches.sequence(index)))
            .collect()
    }

    /// Positions of a batch.
    pub(crate) fn context(&self, batch: usize) -> &Context {
        self.network.context(self.batches.tokens(batch))
    }

    /// What enters `block` for each batch of `group`; of a block behind the last, what leaves that.
    pub(crate) fn states_before(
        &self,
        block: usize,
        group: Range<usize>,
    ) -> Result<Vec<Tensor>, EvaluateError> {
        let silent = Silent(self.observer);
        self.original_states(block, group, &Progress::uncounted(&silent))
    }

    /// Embedding, final norm and head.
    pub(crate) fn with_ends<T>(
        &self,
        work: impl FnOnce(&Ends) -> Result<T, EvaluateError>,
    ) -> Result<T, EvaluateError> {
        self.network.with_ends(work)
    }

    /// Block `index`.
    pub(crate) fn block(&self, index: usize) -> Result<Cow<'_, Block>, EvaluateError> {
        self.network.block(index)
    }

    /// `job(0)`, …, `job(count - 1)`, as many side by side as memory allows, while nobody asks to stop.
    pub(crate) fn in_lanes<T: Send>(
        &self,
        count: usize,
        job: impl Fn(usize) -> Result<T, EvaluateError> + Sync,
    ) -> Result<Vec<T>, EvaluateError> {
        run_in_lanes(self.lanes, count, |index| {
            self.observer.check()?;
            job(index)
        })
    }
}

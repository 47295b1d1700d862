//! How much of an evaluation may be in memory at once. Estimates only: they decide speed and memory, never a result.

use crate::model::{Model, ModelConfig};

/// Bytes of one value of a hidden state.
const VALUE_BYTES: u64 = 4;

/// Values of hidden width that a block holds for each token at its peak: residual, norm, projections, sums.
const HIDDEN_COPIES: u64 = 8;

/// Values of feed-forward width for each token: gate, up, activation, product.
const INTERMEDIATE_COPIES: u64 = 4;

/// Score matrices at once: scores, masked, exponentials, shares.
const SCORE_COPIES: u64 = 4;

/// Hidden states of a group exist before and after the block at work.
const STATE_COPIES: u64 = 2;

/// Batches that a group holds for each thread where all weights are resident: more would only hold memory.
const RESIDENT_GROUP: usize = 32;

/// What fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// All weights stay in memory; otherwise one block at a time is read for each group.
    pub(super) resident: bool,
    /// Batches that run at once.
    pub(super) lanes: usize,
    /// Batches whose hidden states exist at once.
    pub(super) group: usize,
}

/// The largest batch: `sequences` of `tokens` each.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchShape {
    pub(super) sequences: usize,
    pub(super) tokens: usize,
}

impl Plan {
    /// For networks that all see the same batches.
    pub(super) fn new(
        models: &[&Model],
        batch: BatchShape,
        memory_bytes: u64,
        threads: usize,
    ) -> Self {
        let all = |bytes: fn(&Model) -> u64| models.iter().map(|model| bytes(model)).sum::<u64>();
        let weights = all(weight_bytes);
        let working: u64 = models
            .iter()
            .map(|model| working_bytes(model.config(), batch))
            .max()
            .unwrap_or(0);
        let hidden: u64 = models
            .iter()
            .map(|model| STATE_COPIES * hidden_bytes(model.config(), batch))
            .sum();
        let resident = weights.saturating_add(working + hidden) <= memory_bytes;
        let held = if resident {
            weights
        } else {
            all(largest_block_bytes).max(all(ends_bytes))
        };
        let free = memory_bytes.saturating_sub(held);
        let lanes = (free / 2 / working.max(1)).clamp(1, threads.max(1) as u64);
        let left = free.saturating_sub(lanes * working);
        let fitting = (left / hidden.max(1)).max(lanes);
        let most = if resident {
            (RESIDENT_GROUP * threads) as u64
        } else {
            u64::from(u32::MAX)
        };
        Self {
            resident,
            lanes: lanes as usize,
            group: fitting.min(most) as usize,
        }
    }
}

/// How a network whose hidden states stay in memory runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeepingPlan {
    pub(super) plan: Plan,
    /// One in so many blocks has its input kept; `None` = none has.
    pub(super) every: Option<usize>,
}

impl KeepingPlan {
    /// `tokens` = all that there are. States after the last block stay whatever they take; the rest of the memory goes to
    /// work, to weights, then to states in front of blocks.
    pub(super) fn new(
        model: &Model,
        largest: BatchShape,
        tokens: usize,
        memory_bytes: u64,
        threads: usize,
    ) -> Self {
        let config = model.config();
        let depth = tokens as u64 * config.hidden as u64 * VALUE_BYTES;
        let left = memory_bytes.saturating_sub(depth);
        let plan = Plan::new(&[model], largest, left, threads);
        let held = match plan.resident {
            true => weight_bytes(model),
            false => largest_block_bytes(model).max(ends_bytes(model)),
        };
        let group = (plan.group as u64).saturating_mul(hidden_bytes(config, largest));
        let working =
            plan.lanes as u64 * working_bytes(config, largest) + STATE_COPIES * group.min(depth);
        let depths = left.saturating_sub(held + working) / depth.max(1);
        let blocks = config.blocks as u64;
        let every = (depths > 0).then(|| blocks.div_ceil(depths.min(blocks).max(1)).max(1));
        Self {
            plan,
            every: every.map(|every| every as usize),
        }
    }
}

fn bytes_where(model: &Model, counts: impl Fn(Option<usize>) -> bool) -> u64 {
    let layers = model.layers().iter();
    layers
        .filter(|layer| counts(layer.block))
        .map(|layer| model.resident_bytes(layer))
        .sum()
}

fn weight_bytes(model: &Model) -> u64 {
    bytes_where(model, |_| true)
}

fn ends_bytes(model: &Model) -> u64 {
    bytes_where(model, |block| block.is_none())
}

fn largest_block_bytes(model: &Model) -> u64 {
    let blocks = 0..model.config().blocks;
    blocks
        .map(|index| bytes_where(model, |block| block == Some(index)))
        .max()
        .unwrap_or(0)
}

fn hidden_bytes(config: &ModelConfig, batch: BatchShape) -> u64 {
    (batch.sequences * batch.tokens * config.hidden) as u64 * VALUE_BYTES
}

/// Peak of one batch inside a block.
fn working_bytes(config: &ModelConfig, batch: BatchShape) -> u64 {
    let tokens = (batch.sequences * batch.tokens) as u64;
    let for_each_token = HIDDEN_COPIES * config.hidden as u64
        + INTERMEDIATE_COPIES * config.intermediate as u64
        + SCORE_COPIES * (config.heads * batch.tokens) as u64;
    tokens * for_each_token * VALUE_BYTES
}

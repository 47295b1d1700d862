//! Original-prefix moments of a whole model: every stage of every block, from the uncompressed network.
//!
//! They depend on model, corpus and sampling only, so they can be kept. Held-out rows and cross moments do not exist
//! here: seen and original inputs are the same.

use super::{CalibrateError, SpillPolicy, Stream, gather_block};
use crate::model::Model;
use crate::moments::{Moments, StageKey};
use crate::monitor::Monitor;

/// Runs `sequences` through the uncompressed model and hands each stage's moments to `keep`, in order.
pub fn gather_original(
    model: &Model,
    sequences: &[Vec<u32>],
    policy: &SpillPolicy,
    monitor: &dyn Monitor,
    mut keep: impl FnMut(StageKey, Moments) -> Result<(), CalibrateError>,
) -> Result<(), CalibrateError> {
    let blocks = model.config().blocks;
    let stream = Stream::embed(model, &model.load_ends()?, sequences, policy, monitor)?;
    for index in 0..blocks {
        let block = model.load_block(index)?;
        for (stage, moments) in gather_block(model, &block, &stream, monitor)?
            .into_iter()
            .enumerate()
        {
            keep(
                StageKey {
                    block: index,
                    stage,
                },
                moments,
            )?;
        }
        monitor.step(index as u64 + 1, blocks as u64);
    }
    Ok(())
}

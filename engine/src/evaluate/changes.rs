//! Weights that stand in place of a network's own, sorted by where they go.
//!
//! Knows no sequence: a block or the ends in, the same with some layers replaced out.

use crate::model::{Block, Ends, LayerKind, Model, ModelError};
use crate::tensor::Matrix;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Replaced layers, by index into the model's list.
#[derive(Default)]
pub(super) struct Changes<'a> {
    blocks: BTreeMap<usize, Vec<(usize, &'a Matrix)>>,
    ends: Vec<(usize, &'a Matrix)>,
    reach_embedding: bool,
}

impl<'a> Changes<'a> {
    /// Sorts what is changed; whether shapes fit is seen when it is put in place.
    pub(super) fn new(
        model: &Model,
        changed: &'a [(usize, Arc<Matrix>)],
    ) -> Result<Self, ModelError> {
        let mut changes = Self::default();
        for (layer, weights) in changed {
            let info = model
                .layers()
                .get(*layer)
                .ok_or_else(|| ModelError::Misuse {
                    problem: format!("there is no layer {layer} to replace"),
                })?;
            match info.block {
                Some(block) => changes
                    .blocks
                    .entry(block)
                    .or_default()
                    .push((*layer, weights)),
                None => changes.ends.push((*layer, weights)),
            }
            changes.reach_embedding |= info.kind == LayerKind::Embedding;
        }
        Ok(changes)
    }

    /// Whether what enters the first block is changed.
    pub(super) fn reach_embedding(&self) -> bool {
        self.reach_embedding
    }

    /// The first block with a replaced layer.
    pub(super) fn first_block(&self) -> Option<usize> {
        self.blocks.keys().next().copied()
    }

    /// Block `index` with its layers replaced.
    pub(super) fn put_into_block<'b>(
        &self,
        index: usize,
        mut block: Cow<'b, Block>,
    ) -> Result<Cow<'b, Block>, ModelError> {
        for (layer, weights) in self.blocks.get(&index).into_iter().flatten() {
            block.to_mut().set_weights(*layer, weights)?;
        }
        Ok(block)
    }

    /// `ends` with embedding and head replaced.
    pub(super) fn put_into_ends<'b>(&self, ends: &'b Ends) -> Result<Cow<'b, Ends>, ModelError> {
        let mut ends = Cow::Borrowed(ends);
        for (layer, weights) in &self.ends {
            ends.to_mut().set_weights(*layer, weights)?;
        }
        Ok(ends)
    }
}

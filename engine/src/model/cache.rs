//! Keys and values that one block has already seen, in f32.
//!
//! Grows in steps of its first room, so that a token costs its own copy and not that of all before it. Not
//! differentiable, and not cloneable: a clone would write into the same storage.

use super::error::ModelError;
use candle_core::Tensor;
use candle_nn::kv_cache::Cache;

/// Positions that a cache has room for, besides those of the first append.
const SPARE_ROOM: usize = 256;

/// The cache of one block.
#[derive(Debug, Default)]
pub struct BlockCache(Option<Filled>);

#[derive(Debug)]
struct Filled {
    keys: Cache,
    values: Cache,
}

impl BlockCache {
    /// Positions held.
    pub fn tokens(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |filled| filled.keys.current_seq_len())
    }

    /// Appends `[batch, heads, tokens, channels]` and gives all positions.
    pub(super) fn append(
        &mut self,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let room = keys.dim(2)? + SPARE_ROOM;
        let filled = self.0.get_or_insert_with(|| Filled {
            keys: Cache::new(2, room),
            values: Cache::new(2, room),
        });
        Ok((
            append(&mut filled.keys, keys)?,
            append(&mut filled.values, values)?,
        ))
    }
}

fn append(cache: &mut Cache, new: &Tensor) -> Result<Tensor, ModelError> {
    cache.append(&new.contiguous()?)?;
    Ok(cache
        .current_data()?
        .expect("an append makes the storage that current_data looks for"))
}

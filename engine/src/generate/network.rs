//! A network that remembers what it has read, so that a new token costs one position.

use super::GenerateError;
use crate::model::{Block, BlockCache, CacheKind, Ends, Model, ModelError, cache_token_bytes};
use crate::monitor::Monitor;

/// Weights and the cache of every block.
pub(super) struct CachedNetwork<'a> {
    model: &'a Model,
    ends: Ends,
    /// Empty where they do not fit: then each is read when used.
    blocks: Vec<Block>,
    caches: Vec<BlockCache>,
    tokens: usize,
}

impl<'a> CachedNetwork<'a> {
    /// Reads all weights where they and the cache of `tokens` tokens fit into `memory_bytes`, else the ends alone.
    pub(super) fn load(
        model: &'a Model,
        kv: CacheKind,
        tokens: usize,
        memory_bytes: u64,
    ) -> Result<Self, ModelError> {
        let config = model.config();
        let count = config.blocks;
        let layers = model.layers().iter();
        let weights: u64 = layers.map(|layer| model.resident_bytes(layer)).sum();
        let token = cache_token_bytes(kv, config.kv_heads, config.head_dim);
        let cache = token.saturating_mul((count * tokens) as u64);
        let resident = weights.saturating_add(cache) <= memory_bytes;
        let blocks = (0..count).filter(|_| resident);
        Ok(Self {
            model,
            ends: model.load_ends()?,
            blocks: blocks
                .map(|index| model.load_block(index))
                .collect::<Result<_, _>>()?,
            caches: (0..count).map(|_| BlockCache::new(kv)).collect(),
            tokens: 0,
        })
    }

    /// Tokens read so far.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Bytes of the keys and values of all blocks.
    pub(super) fn kv_bytes(&self) -> u64 {
        self.caches.iter().map(BlockCache::size_bytes).sum()
    }

    /// Reads `ids` and gives the logits that follow the last of them.
    pub(super) fn append(
        &mut self,
        ids: &[u32],
        monitor: &dyn Monitor,
    ) -> Result<Vec<f32>, GenerateError> {
        let context = self.model.context_after(self.tokens, ids.len())?;
        let mut hidden = self.ends.embed(ids, &context)?;
        for (index, cache) in self.caches.iter_mut().enumerate() {
            monitor.check()?;
            let read;
            let block = match self.blocks.get(index) {
                Some(block) => block,
                None => {
                    read = self.model.load_block(index)?;
                    &read
                }
            };
            hidden = block.forward(&hidden, &context, Some(cache))?;
        }
        self.tokens += ids.len();
        let last = hidden
            .narrow(1, ids.len() - 1, 1)
            .map_err(ModelError::from)?;
        let logits = self.ends.head(&last)?;
        let flat = logits.flatten_all().and_then(|flat| flat.to_vec1());
        Ok(flat.map_err(ModelError::from)?)
    }
}

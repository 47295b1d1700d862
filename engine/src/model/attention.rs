//! Attention between its projections: split heads, norm and rotate them, look, mix, join.
//!
//! Grouped heads share keys without copies: the queries of one group are extra rows of the same product.
//! Knows no weights but the two head norms.

use super::cache::{BlockCache, CacheKind, Store};
use super::config::{ModelConfig, ProjectionKind};
use super::context::Context;
use super::error::ModelError;
use super::linear::columns;
use super::norm::Norm;
use super::ops;
use candle_core::{Device, Tensor};

/// Queries, keys and values, each `[batch, tokens, heads, channels]`.
pub(super) struct Projected {
    pub(super) queries: Tensor,
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

/// The weightless middle of attention, for one block.
#[derive(Debug, Clone)]
pub(super) struct Mixer {
    heads: usize,
    kv_heads: usize,
    channels: usize,
    query_scale: f64,
    softcap: Option<f64>,
    rope: Option<usize>,
    sliding: bool,
    pub(super) query_norm: Option<Norm>,
    pub(super) key_norm: Option<Norm>,
}

impl Mixer {
    pub(super) fn new(config: &ModelConfig, block: usize) -> Self {
        Self {
            heads: config.heads,
            kv_heads: config.kv_heads,
            channels: config.head_dim,
            query_scale: config.query_scale(block),
            softcap: config.attention_softcap,
            rope: config.rope_index(block),
            sliding: config.window(block).is_some(),
            query_norm: None,
            key_norm: None,
        }
    }

    /// Splits the output of a fused projection.
    pub(super) fn split_fused(
        &self,
        fused: &Tensor,
        kind: ProjectionKind,
    ) -> Result<Projected, ModelError> {
        let (batch, tokens, _) = fused.dims3()?;
        if kind == ProjectionKind::Interleaved {
            let channels = self.channels;
            let heads = fused.reshape((batch, tokens, self.heads, 3 * channels))?;
            return Ok(Projected {
                queries: columns(&heads, 0, channels)?,
                keys: columns(&heads, channels, channels)?,
                values: columns(&heads, 2 * channels, channels)?,
            });
        }
        let (queries, keys) = (self.heads * self.channels, self.kv_heads * self.channels);
        self.split(
            &columns(fused, 0, queries)?,
            &columns(fused, queries, keys)?,
            &columns(fused, queries + keys, keys)?,
        )
    }

    /// Splits the outputs of three projections into heads.
    pub(super) fn split(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<Projected, ModelError> {
        let heads = |tensor: &Tensor, heads: usize| -> Result<Tensor, ModelError> {
            let (batch, tokens, _) = tensor.dims3()?;
            Ok(tensor.reshape((batch, tokens, heads, self.channels))?)
        };
        Ok(Projected {
            queries: heads(queries, self.heads)?,
            keys: heads(keys, self.kv_heads)?,
            values: heads(values, self.kv_heads)?,
        })
    }

    /// Mixes values by attention: `[batch, tokens, heads * channels]`, before the output projection.
    pub(super) fn mix(
        &self,
        projected: Projected,
        context: &Context,
        cache: Option<&mut BlockCache>,
    ) -> Result<Tensor, ModelError> {
        let queries = self.prepare(projected.queries, self.query_norm.as_ref(), context)?;
        let keys = self.prepare(projected.keys, self.key_norm.as_ref(), context)?;
        let (batch, tokens, ..) = queries.dims4()?;
        let group = self.heads / self.kv_heads;
        let grouped = (queries * self.query_scale)?
            .reshape((batch, tokens, self.kv_heads, group, self.channels))?
            .permute((0, 2, 3, 1, 4))?
            .reshape((batch, self.kv_heads, group * tokens, self.channels))?;
        let (keys, values) = match cache {
            Some(cache) => self.remember(cache, keys, projected.values)?,
            None => (keys, projected.values),
        };
        let (keys, values) = (by_head(&keys)?, by_head(&values)?);
        let scores = grouped.matmul(&keys.t()?)?;
        let scores = match self.softcap {
            Some(limit) => ops::softcap(&scores, limit)?,
            None => scores,
        };
        let shares = ops::softmax(&scores, context.visible(self.sliding))?;
        Ok(shares
            .matmul(&values)?
            .reshape((batch, self.kv_heads, group, tokens, self.channels))?
            .permute((0, 3, 1, 2, 4))?
            .reshape((batch, tokens, self.heads * self.channels))?)
    }

    /// Puts keys and values of one sequence into the cache and gives all that it holds, as it holds it.
    fn remember(
        &self,
        cache: &mut BlockCache,
        keys: Tensor,
        values: Tensor,
    ) -> Result<(Tensor, Tensor), ModelError> {
        if keys.dim(0)? != 1 {
            return Err(ModelError::Misuse {
                problem: "a cache holds one sequence".to_owned(),
            });
        }
        let (heads, channels) = (self.kv_heads, self.channels);
        let holds_these_alone = cache.tokens() == 0 && cache.kind() == CacheKind::F32;
        ops::with_floats(&keys, |keys| {
            ops::with_floats(&values, |values| {
                cache.append(keys, values, heads, channels)
            })
        })???;
        let tokens = cache.tokens();
        let (Some(held), false) = (cache.stores(), holds_these_alone) else {
            return Ok((keys, values));
        };
        let all = |store: &Store| {
            let shape = (1, tokens, heads, channels);
            Tensor::from_vec(store.to_f32(channels), shape, &Device::Cpu)
        };
        Ok((all(held.0)?, all(held.1)?))
    }

    /// Norm and rotation of heads.
    fn prepare(
        &self,
        heads: Tensor,
        norm: Option<&Norm>,
        context: &Context,
    ) -> Result<Tensor, ModelError> {
        let heads = match norm {
            Some(norm) => norm.forward(&heads)?,
            None => heads,
        };
        Ok(match self.rope {
            Some(rope) => {
                let (cosines, sines) = context.rotation(rope);
                ops::rotate(&heads, cosines, sines)?
            }
            None => heads,
        })
    }
}

/// `[batch, tokens, heads, channels]` -> `[batch, heads, tokens, channels]`, copied only where a product needs it.
fn by_head(tensor: &Tensor) -> Result<Tensor, ModelError> {
    let swapped = tensor.transpose(1, 2)?;
    Ok(if swapped.dim(0)? == 1 {
        swapped
    } else {
        swapped.contiguous()?
    })
}

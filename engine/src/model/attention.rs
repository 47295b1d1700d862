//! Attention between its projections: split heads, norm and rotate them, look, mix, join.
//!
//! Grouped heads share keys without copies: the queries of one group are extra rows of the same product.
//! Knows no weights but the two head norms.

use super::block::Block;
use super::cache::{BlockCache, CacheKind, Look};
use super::config::{ModelConfig, ProjectionKind};
use super::context::Context;
use super::error::ModelError;
use super::linear::columns;
use super::norm::Norm;
use super::ops;
use candle_core::{Device, Tensor};
use std::ops::ControlFlow;

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

    /// Mixes values by attention: `[batch, tokens, heads * channels]`, before the output projection. `see` is shown the
    /// shares `[batch, key heads, queries of a key head * tokens, tokens]`, where they are made as one tensor.
    pub(super) fn mix(
        &self,
        projected: Projected,
        context: &Context,
        cache: Option<&mut BlockCache>,
        see: &mut dyn FnMut(&Tensor),
    ) -> Result<Tensor, ModelError> {
        let queries = self.prepare(projected.queries, self.query_norm.as_ref(), context)?;
        let keys = self.prepare(projected.keys, self.key_norm.as_ref(), context)?;
        let (batch, tokens, ..) = queries.dims4()?;
        let (keys, values) = match cache {
            Some(cache) if tokens == 1 => {
                self.remember(cache, &keys, &projected.values)?;
                return self.look_back(&queries, cache, context);
            }
            Some(cache) => {
                let exact = cache.tokens() == 0 && cache.kind() == CacheKind::F32;
                self.remember(cache, &keys, &projected.values)?;
                match cache.held().filter(|_| !exact) {
                    Some(held) => self.cached_tensors(held, cache.tokens())?,
                    None => (keys, projected.values),
                }
            }
            None => (keys, projected.values),
        };
        let group = self.heads / self.kv_heads;
        let grouped = (queries * self.query_scale)?
            .reshape((batch, tokens, self.kv_heads, group, self.channels))?
            .permute((0, 2, 3, 1, 4))?
            .reshape((batch, self.kv_heads, group * tokens, self.channels))?;
        let (keys, values) = (by_head(&keys)?, by_head(&values)?);
        let scores = grouped.matmul(&keys.t()?)?;
        let scores = match self.softcap {
            Some(limit) => ops::softcap(&scores, limit)?,
            None => scores,
        };
        let shares = ops::softmax(&scores, context.visible(self.sliding))?;
        see(&shares);
        Ok(shares
            .matmul(&values)?
            .reshape((batch, self.kv_heads, group, tokens, self.channels))?
            .permute((0, 3, 1, 2, 4))?
            .reshape((batch, tokens, self.heads * self.channels))?)
    }

    /// Puts keys and values of one sequence into the cache.
    fn remember(
        &self,
        cache: &mut BlockCache,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(), ModelError> {
        if keys.dim(0)? != 1 {
            return Err(ModelError::Misuse {
                problem: "a cache holds one sequence".to_owned(),
            });
        }
        ops::with_floats(keys, |keys| {
            ops::with_floats(values, |values| {
                cache.append(keys, values, self.kv_heads, self.channels)
            })
        })??
    }

    /// What a cache holds as tensors.
    fn cached_tensors(
        &self,
        [keys, values]: [Vec<f32>; 2],
        tokens: usize,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let shape = (1, tokens, self.kv_heads, self.channels);
        Ok((
            Tensor::from_vec(keys, shape, &Device::Cpu)?,
            Tensor::from_vec(values, shape, &Device::Cpu)?,
        ))
    }

    /// `mix` of one token whose keys and values stand in the cache.
    fn look_back(
        &self,
        queries: &Tensor,
        cache: &mut BlockCache,
        context: &Context,
    ) -> Result<Tensor, ModelError> {
        let look = Look {
            heads: self.heads,
            query_scale: self.query_scale as f32,
            softcap: self.softcap.map(|limit| limit as f32),
        };
        let window = context.visible(self.sliding);
        let window = window.map_or(usize::MAX, |seen| seen.window);
        let mixed = ops::with_floats(queries, |queries| cache.look_back(queries, &look, window))??;
        let width = mixed.len();
        Ok(Tensor::from_vec(mixed, (1, 1, width), &Device::Cpu)?)
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

impl Block {
    /// As `forward` without a cache, and where tokens look: the mean over heads of attention's shares,
    /// `[batch, tokens, tokens]`.
    pub fn forward_with_attention(
        &self,
        hidden: &Tensor,
        context: &Context,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let mut shares = None;
        let mut never = |_: usize, _: &Tensor| ControlFlow::Continue(());
        let output = self.run_showing(hidden, context, None, &mut never, &mut |seen| {
            shares = Some(seen.clone());
        })?;
        let (output, shares) = output
            .zip(shares)
            .expect("a block that runs to its end without a cache makes its shares");
        let (batch, _, _, tokens) = shares.dims4()?;
        let by_head = shares.reshape((batch, (), tokens, tokens))?;
        Ok((output, by_head.mean(1)?))
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

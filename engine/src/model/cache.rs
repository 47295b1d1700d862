//! Keys and values that one block has already seen: in f32, in f16, or as bytes with one scale for each token and head.
//!
//! Token after token, the heads of one token side by side, so that a token costs its own copy. What is stored is what
//! every later token sees, the prompt's own tokens included: how a text is cut into pieces does not matter. Holds one
//! sequence; not differentiable, and not cloneable: copies of a cache are mistakes.

use super::error::ModelError;
use crate::kernels::{
    AttentionShape, CacheRows, attend, load_f16, load_int8, store_f16, store_int8,
};
use half::f16;

/// Tokens by which a full cache grows.
const GROWTH_TOKENS: usize = 256;

/// How keys and values are kept.
pub use crate::settings::KvCache as CacheKind;

/// Bytes of the keys and values of one token in one block.
pub fn cache_token_bytes(kind: CacheKind, kv_heads: usize, channels: usize) -> u64 {
    let head = match kind {
        CacheKind::F32 => 4 * channels,
        CacheKind::F16 => 2 * channels,
        CacheKind::Int8 => channels + 4,
    };
    (2 * kv_heads * head) as u64
}

/// The cache of one block.
#[derive(Debug, Default)]
pub struct BlockCache {
    kind: CacheKind,
    filled: Option<Filled>,
}

#[derive(Debug)]
struct Filled {
    heads: usize,
    channels: usize,
    tokens: usize,
    keys: Store,
    values: Store,
    /// What a look at all positions needs besides.
    scratch: Vec<f32>,
}

/// Either side of a cache, `[tokens, heads, channels]`.
#[derive(Debug)]
enum Store {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Int8 {
        codes: Vec<i8>,
        /// `[tokens, heads]`.
        scales: Vec<f32>,
    },
}

impl BlockCache {
    /// An empty cache.
    pub fn new(kind: CacheKind) -> Self {
        Self { kind, filled: None }
    }

    /// Positions held.
    pub fn tokens(&self) -> usize {
        self.filled.as_ref().map_or(0, |filled| filled.tokens)
    }

    /// Bytes that keys and values take, room to grow not counted.
    pub fn size_bytes(&self) -> u64 {
        self.filled.as_ref().map_or(0, |filled| {
            let token = cache_token_bytes(self.kind, filled.heads, filled.channels);
            filled.tokens as u64 * token
        })
    }

    pub(super) fn kind(&self) -> CacheKind {
        self.kind
    }

    /// Appends `[tokens, heads, channels]` of both.
    pub(super) fn append(
        &mut self,
        keys: &[f32],
        values: &[f32],
        heads: usize,
        channels: usize,
    ) -> Result<(), ModelError> {
        let kind = self.kind;
        let filled = self.filled.get_or_insert_with(|| Filled {
            heads,
            channels,
            tokens: 0,
            keys: Store::new(kind),
            values: Store::new(kind),
            scratch: Vec::new(),
        });
        let width = heads * channels;
        if (filled.heads, filled.channels) != (heads, channels)
            || keys.len() != values.len()
            || !keys.len().is_multiple_of(width.max(1))
        {
            return Err(ModelError::Misuse {
                problem: format!(
                    "a cache of {} heads with {} channels cannot take {heads} with {channels}",
                    filled.heads, filled.channels
                ),
            });
        }
        filled.keys.append(keys, width, channels);
        filled.values.append(values, width, channels);
        filled.tokens += keys.len() / width.max(1);
        Ok(())
    }

    /// All keys and all values, each `[tokens, heads, channels]`, as they are kept.
    pub(super) fn held(&self) -> Option<[Vec<f32>; 2]> {
        let filled = self.filled.as_ref()?;
        Some([&filled.keys, &filled.values].map(|store| store.to_f32(filled.channels)))
    }

    /// What the last token, whose queries `[heads, channels]` these are, sees among the last `window` positions.
    pub(super) fn look_back(
        &mut self,
        queries: &[f32],
        look: &Look,
        window: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let filled = self.filled.as_mut().ok_or_else(|| ModelError::Misuse {
            problem: "there is nothing to look back at".to_owned(),
        })?;
        let shape = AttentionShape {
            heads: look.heads,
            kv_heads: filled.heads,
            channels: filled.channels,
            query_scale: look.query_scale,
            softcap: look.softcap,
            position_stride: filled.heads,
            head_stride: 1,
        };
        let mut output = vec![0.0; queries.len()];
        let rows = (filled.keys.rows(), filled.values.rows());
        let seen = filled.tokens.saturating_sub(window)..filled.tokens;
        attend(
            &mut output,
            queries,
            rows,
            &shape,
            seen,
            &mut filled.scratch,
        );
        Ok(output)
    }
}

/// How queries look at keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) heads: usize,
    pub(super) query_scale: f32,
    pub(super) softcap: Option<f32>,
}

impl Store {
    fn new(kind: CacheKind) -> Self {
        match kind {
            CacheKind::F32 => Self::F32(Vec::new()),
            CacheKind::F16 => Self::F16(Vec::new()),
            CacheKind::Int8 => Self::Int8 {
                codes: Vec::new(),
                scales: Vec::new(),
            },
        }
    }

    /// `width` values are one token, `channels` one head.
    fn append(&mut self, new: &[f32], width: usize, channels: usize) {
        let spare = GROWTH_TOKENS * width;
        match self {
            Self::F32(values) => {
                make_room(values, new.len(), spare);
                values.extend_from_slice(new);
            }
            Self::F16(values) => store_f16(extended(values, new.len(), spare), new),
            Self::Int8 { codes, scales } => {
                let heads = new.len() / channels.max(1);
                let scales = extended(scales, heads, spare / channels.max(1));
                store_int8(extended(codes, new.len(), spare), scales, new, channels);
            }
        }
    }

    fn rows(&self) -> CacheRows<'_> {
        match self {
            Self::F32(values) => CacheRows::F32(values),
            Self::F16(values) => CacheRows::F16(values),
            Self::Int8 { codes, scales } => CacheRows::Int8 { codes, scales },
        }
    }

    /// All values in f32.
    fn to_f32(&self, channels: usize) -> Vec<f32> {
        match self {
            Self::F32(values) => values.clone(),
            Self::F16(values) => {
                let mut wide = vec![0.0; values.len()];
                load_f16(&mut wide, values);
                wide
            }
            Self::Int8 { codes, scales } => {
                let mut wide = vec![0.0; codes.len()];
                load_int8(&mut wide, codes, scales, channels);
                wide
            }
        }
    }
}

/// `more` new values at the end, all zero.
fn extended<T: Clone + Default>(values: &mut Vec<T>, more: usize, spare: usize) -> &mut [T] {
    make_room(values, more, spare);
    let start = values.len();
    values.resize(start + more, T::default());
    &mut values[start..]
}

/// Room for `more` values, and where there was none, for `spare` further ones.
fn make_room<T>(values: &mut Vec<T>, more: usize, spare: usize) {
    if values.capacity() - values.len() < more {
        values.reserve_exact(more + spare);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rng::Rng;

    fn filled(kind: CacheKind, pieces: &[usize]) -> (BlockCache, Vec<f32>) {
        let (heads, channels) = (3, 8);
        let mut rng = Rng::new(7, 0);
        let (mut cache, mut all) = (BlockCache::new(kind), Vec::new());
        for piece in pieces {
            let new: Vec<f32> = (0..piece * heads * channels)
                .map(|_| rng.normal() as f32)
                .collect();
            cache.append(&new, &new, heads, channels).unwrap();
            all.extend(new);
        }
        (cache, all)
    }

    #[test]
    fn each_kind_keeps_what_its_bits_can() {
        for (kind, tolerance) in [
            (CacheKind::F32, 0.0),
            (CacheKind::F16, 4.9e-4),
            (CacheKind::Int8, 0.5 / 127.0),
        ] {
            let (cache, expected) = filled(kind, &[300, 1, 40]);
            for found in cache.held().unwrap() {
                for (found, expected) in found.chunks(8).zip(expected.chunks(8)) {
                    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
                    for (found, expected) in found.iter().zip(expected) {
                        let error = (found - expected).abs() / largest;
                        assert!(error <= tolerance * 1.0001, "{kind:?}: {error}");
                    }
                }
            }
            assert_eq!(cache.tokens(), 341);
            assert_eq!(cache.size_bytes(), 341 * cache_token_bytes(kind, 3, 8));
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        for kind in CacheKind::ALL {
            let (whole, _) = filled(kind, &[9]);
            let (pieces, _) = filled(kind, &[4, 1, 1, 3]);
            let values = |cache: &BlockCache| cache.held().unwrap();
            assert_eq!(values(&whole), values(&pieces), "{kind:?}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_seen() {
        for kind in CacheKind::ALL {
            let mut cache = BlockCache::new(kind);
            cache.append(&[1.0, f32::NAN], &[0.0, 0.0], 1, 2).unwrap();
            let [keys, values] = cache.held().unwrap();
            assert!(keys[1].is_nan(), "{kind:?}");
            assert_eq!(values, [0.0, 0.0], "{kind:?}");
        }
    }

    #[test]
    fn another_shape_is_an_error() {
        let (mut cache, _) = filled(CacheKind::F32, &[1]);
        let error = cache.append(&[0.0; 8], &[0.0; 8], 1, 8).unwrap_err();
        assert!(error.to_string().contains("3 heads"), "{error}");
    }
}

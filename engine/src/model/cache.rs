//! Keys and values that one block has already seen: in f32, in f16, or as bytes with one scale for each token and head.
//!
//! Token after token, the heads of one token side by side, so that a token costs its own copy. What is stored is what
//! every later token sees, the prompt's own tokens included: how a text is cut into pieces does not matter. Holds one
//! sequence; not differentiable, and not cloneable: copies of a cache are mistakes.

use super::error::ModelError;
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Tokens by which a full cache grows.
const GROWTH_TOKENS: usize = 256;

/// Largest code of a byte; -128 stays unused, so that signs are treated alike.
const LARGEST_CODE: f32 = 127.0;

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
}

/// Either side of a cache, `[tokens, heads, channels]`.
#[derive(Debug)]
pub(super) enum Store {
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

    /// All keys and all values, as they are kept.
    pub(super) fn stores(&self) -> Option<(&Store, &Store)> {
        let filled = self.filled.as_ref()?;
        Some((&filled.keys, &filled.values))
    }
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
        let room = GROWTH_TOKENS * width;
        match self {
            Self::F32(values) => {
                make_room(values, new.len(), room);
                values.extend_from_slice(new);
            }
            Self::F16(values) => {
                make_room(values, new.len(), room);
                let start = values.len();
                values.resize(start + new.len(), f16::ZERO);
                let limit = f16::MAX.to_f32();
                // Not `clamp` of the slice as it is: infinities would become weights of nothing.
                let bounded: Vec<f32> = new
                    .iter()
                    .map(|&value| {
                        if value.is_finite() {
                            value.clamp(-limit, limit)
                        } else {
                            value
                        }
                    })
                    .collect();
                values[start..].convert_from_f32_slice(&bounded);
            }
            Self::Int8 { codes, scales } => {
                make_room(codes, new.len(), room);
                make_room(scales, new.len() / channels.max(1), room / channels.max(1));
                for head in new.chunks_exact(channels.max(1)) {
                    scales.push(append_codes(codes, head));
                }
            }
        }
    }

    /// All values in f32.
    pub(super) fn to_f32(&self, channels: usize) -> Vec<f32> {
        match self {
            Self::F32(values) => values.clone(),
            Self::F16(values) => values.to_f32_vec(),
            Self::Int8 { codes, scales } => {
                let heads = codes.chunks_exact(channels.max(1)).zip(scales);
                heads
                    .flat_map(|(codes, &scale)| {
                        codes.iter().map(move |&code| scale * f32::from(code))
                    })
                    .collect()
            }
        }
    }
}

/// Room for `more` values, and where there was none, for `spare` further ones.
fn make_room<T>(values: &mut Vec<T>, more: usize, spare: usize) {
    if values.capacity() - values.len() < more {
        values.reserve_exact(more + spare);
    }
}

/// Appends the codes of one head and gives its scale; of a head that is not finite the scale is NaN, so that it is seen.
fn append_codes(codes: &mut Vec<i8>, head: &[f32]) -> f32 {
    let largest = head.iter().fold(0f32, |most, value| most.max(value.abs()));
    if !head.iter().all(|value| value.is_finite()) {
        codes.extend(head.iter().map(|_| 1));
        return f32::NAN;
    }
    let scale = largest / LARGEST_CODE;
    // Of a head that is all but zero the quotient would not be finite.
    let inverse = if scale > f32::MIN_POSITIVE {
        1.0 / scale
    } else {
        0.0
    };
    codes.extend(
        head.iter()
            .map(|&value| (value * inverse).round_ties_even() as i8),
    );
    scale
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
            let (keys, values) = cache.stores().unwrap();
            for store in [keys, values] {
                let found = store.to_f32(8);
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
            let values = |cache: &BlockCache| cache.stores().unwrap().0.to_f32(8);
            assert_eq!(values(&whole), values(&pieces), "{kind:?}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_seen() {
        for kind in CacheKind::ALL {
            let mut cache = BlockCache::new(kind);
            cache.append(&[1.0, f32::NAN], &[0.0, 0.0], 1, 2).unwrap();
            let (keys, values) = cache.stores().unwrap();
            assert!(keys.to_f32(2)[1].is_nan(), "{kind:?}");
            assert_eq!(values.to_f32(2), [0.0, 0.0], "{kind:?}");
        }
        let mut large = BlockCache::new(CacheKind::F16);
        large.append(&[1e6], &[-1e6], 1, 1).unwrap();
        assert_eq!(large.stores().unwrap().0.to_f32(1), [65504.0]);
    }

    #[test]
    fn another_shape_is_an_error() {
        let (mut cache, _) = filled(CacheKind::F32, &[1]);
        let error = cache.append(&[0.0; 8], &[0.0; 8], 1, 8).unwrap_err();
        assert!(error.to_string().contains("3 heads"), "{error}");
    }
}

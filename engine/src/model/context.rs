//! What a forward pass needs besides weights: positions, rotary tables and masks.
//!
//! Made once for a number of tokens and shared by all blocks and sequences. Knows no weights.

use super::config::{ModelConfig, Window};
use super::error::ModelError;
use candle_core::{Device, Tensor};

/// Positions `offset..offset + tokens` of a sequence.
#[derive(Debug, Clone)]
pub struct Context {
    offset: usize,
    tokens: usize,
    /// Cosines and sines of each rope, `[tokens, rotary width / 2]`.
    rotations: Vec<(Tensor, Tensor)>,
    full_mask: Option<Tensor>,
    sliding_mask: Option<Tensor>,
}

impl Context {
    pub(super) fn new(
        config: &ModelConfig,
        offset: usize,
        tokens: usize,
    ) -> Result<Self, ModelError> {
        if tokens == 0 {
            return Err(ModelError::Misuse {
                problem: "a forward pass needs at least one token".to_owned(),
            });
        }
        let rotation = |rope: &super::rope::Rope| -> Result<(Tensor, Tensor), ModelError> {
            let (cosines, sines) = rope.tables(offset, tokens);
            let shape = (tokens, rope.width() / 2);
            Ok((
                Tensor::from_vec(cosines, shape, &Device::Cpu)?,
                Tensor::from_vec(sines, shape, &Device::Cpu)?,
            ))
        };
        let (full_mask, sliding_mask) = if config.family.is_encoder() {
            (None, None)
        } else {
            let window = match config.window {
                Window::Never => None,
                Window::Always(window) | Window::Listed(window, _) => Some(window),
            };
            (
                mask(offset, tokens, None)?,
                window.map_or(Ok(None), |window| mask(offset, tokens, Some(window)))?,
            )
        };
        Ok(Self {
            offset,
            tokens,
            rotations: config
                .ropes
                .iter()
                .map(rotation)
                .collect::<Result<_, _>>()?,
            full_mask,
            sliding_mask,
        })
    }

    /// First position.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of positions.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub(super) fn rotation(&self, rope: usize) -> &(Tensor, Tensor) {
        &self.rotations[rope]
    }

    /// `[tokens, offset + tokens]`, 0 where a token may look and -infinity elsewhere; `None` = everywhere.
    pub(super) fn mask(&self, sliding: bool) -> Option<&Tensor> {
        if sliding {
            self.sliding_mask.as_ref()
        } else {
            self.full_mask.as_ref()
        }
    }
}

/// Token `offset + row` sees keys up to itself, and with a window only the last `window` of them.
fn mask(offset: usize, tokens: usize, window: Option<usize>) -> Result<Option<Tensor>, ModelError> {
    let keys = offset + tokens;
    let sees_all = tokens == 1 && window.is_none_or(|window| keys <= window);
    if sees_all {
        return Ok(None);
    }
    let window = window.unwrap_or(keys);
    let values: Vec<f32> = (offset..keys)
        .flat_map(|query| {
            (0..keys).map(move |key| {
                if key <= query && query - key < window {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
        })
        .collect();
    Ok(Some(Tensor::from_vec(
        values,
        (tokens, keys),
        &Device::Cpu,
    )?))
}

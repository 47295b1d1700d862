//! What a forward pass needs besides weights: positions, rotary tables and what each token sees.
//!
//! Made once for a number of tokens and shared by all blocks and sequences. Knows no weights.

use super::around::Places;
use super::config::{ModelConfig, Window};
use super::error::ModelError;
use super::fused::Visible;
use candle_core::{Device, Tensor};

/// Positions `offset..offset + tokens` of a sequence.
#[derive(Debug, Clone)]
pub struct Context {
    offset: usize,
    tokens: usize,
    /// A number of each sequence of the batch; empty where nothing is drawn by it.
    sequences: Vec<u64>,
    /// Cosines and sines of each rope, `[tokens, rotary width / 2]`.
    rotations: Vec<(Tensor, Tensor)>,
    /// What full and what sliding blocks see; `None` = everything.
    full: Option<Visible>,
    sliding: Option<Visible>,
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
        let seen = |window: usize| Visible {
            offset,
            tokens,
            window,
        };
        let causal = !config.family.is_encoder();
        let window = match config.window {
            Window::Never => usize::MAX,
            Window::Always(window) | Window::Listed(window, _) => window,
        };
        Ok(Self {
            offset,
            tokens,
            sequences: Vec::new(),
            rotations: config
                .ropes
                .iter()
                .map(rotation)
                .collect::<Result<_, _>>()?,
            full: causal.then(|| seen(usize::MAX)),
            sliding: causal.then(|| seen(window)),
        })
    }

    /// The same for a batch of sequences with these numbers, by which dropped inputs are drawn.
    pub fn of_sequences(&self, sequences: Vec<u64>) -> Self {
        Self {
            sequences,
            ..self.clone()
        }
    }

    /// Where the rows of a batch lie.
    pub(super) fn places(&self) -> Places<'_> {
        Places {
            sequences: &self.sequences,
            offset: self.offset,
        }
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

    /// What each token sees; `None` = everything.
    pub(super) fn visible(&self, sliding: bool) -> Option<Visible> {
        if sliding { self.sliding } else { self.full }
    }
}

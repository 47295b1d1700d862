//! Activations with tokens side by side: of each quad the four columns of one token after the other.

use super::tokens::MOST_TOKENS;
use crate::kernels::integer::activations::{Activations, Offset};
use crate::kernels::integer::aligned::AlignedBytes;
use crate::kernels::integer::layout::QUAD;
use rayon::prelude::*;
use std::ops::Range;

/// Some neighbouring tokens.
pub(super) struct Stripe {
    /// First token.
    pub(super) first: usize,
    /// Tokens.
    pub(super) tokens: usize,
    /// Tokens with padding, a multiple of the lanes of a vector.
    pub(super) width: usize,
    /// `[quad][width][4]`.
    pub(super) values: AlignedBytes,
    /// `[segment][width]`: values of one step.
    pub(super) steps: Vec<f32>,
}

impl Stripe {
    /// All tokens, in stripes of at most `MOST_TOKENS`, with `offset` added to every value and tokens padded to whole
    /// vectors of `lanes`.
    pub(super) fn cut(activations: &Activations, lanes: usize, offset: Offset) -> Vec<Self> {
        let tokens = activations.tokens();
        let count = tokens.div_ceil(MOST_TOKENS);
        let range = |index: usize| index * tokens / count..(index + 1) * tokens / count;
        let stripe = |index| Self::new(activations, range(index), lanes, offset);
        if count <= 1 {
            (0..count).map(stripe).collect()
        } else {
            (0..count).into_par_iter().map(stripe).collect()
        }
    }

    fn new(activations: &Activations, tokens: Range<usize>, lanes: usize, offset: Offset) -> Self {
        let width = tokens.len().next_multiple_of(lanes);
        let mut values = AlignedBytes::zeroed(activations.quads() * width * QUAD);
        let mut steps = vec![0.0; activations.segments().len() * width];
        for tile in (0..activations.tiles().count()).map(|tile| activations.tile(tile)) {
            let first = tile.first.max(tokens.start);
            let count = (tile.first + tile.tokens)
                .min(tokens.end)
                .saturating_sub(first);
            if count == 0 {
                continue;
            }
            let (from, to) = (first - tile.first, first - tokens.start);
            let targets = values.as_mut_slice().chunks_exact_mut(width * QUAD);
            let sources = tile.values.chunks_exact(tile.tokens * QUAD);
            for (target, source) in targets.zip(sources) {
                let target = &mut target[to * QUAD..(to + count) * QUAD];
                let source = &source[from * QUAD..(from + count) * QUAD];
                for (target, &source) in target.iter_mut().zip(source) {
                    *target = (source as u8).wrapping_add(offset.value());
                }
            }
            let sources = tile.steps.chunks_exact(tile.tokens);
            for (target, source) in steps.chunks_exact_mut(width).zip(sources) {
                target[to..to + count].copy_from_slice(&source[from..from + count]);
            }
        }
        Self {
            first: tokens.start,
            tokens: tokens.len(),
            width,
            values,
            steps,
        }
    }
}

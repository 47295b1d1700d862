//! Attention of one token over the keys and values seen so far: the middle of a decode step.
//!
//! Heads that share keys and values are worked on together, so that the cache is read once. Narrow rows are widened a
//! slab of positions at a time. Every sum has one order of its own, without fused multiply-add: the same bits on every
//! instruction set and at any thread count. Knows no norms, rotations, projections or batches.

mod rows;
mod slab;

pub use rows::{CacheRows, load_f16, load_int8, store_f16, store_int8};

use super::dispatch::per_instruction_set;
use super::exponential::exp;
use super::lanes::LANES;
use rayon::prelude::*;
use slab::{SLAB, dots, mix};
use std::ops::Range;

/// Multiply-adds below which other threads cost more than they bring.
const LEAST_PARALLEL_WORK: usize = 1 << 18;

/// What the attention of one block looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` neighbouring heads of queries.
    pub kv_heads: usize,
    /// Values of one head at one position.
    pub channels: usize,
    /// Scores are `query_scale * query · key`.
    pub query_scale: f32,
    /// Scores become `limit * tanh(score / limit)`.
    pub softcap: Option<f32>,
    /// Rows of the cache between neighbouring positions of one head.
    pub position_stride: usize,
    /// Rows of the cache between the same position of neighbouring heads.
    pub head_stride: usize,
}

impl AttentionShape {
    /// Heads of queries that share one head of keys.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Channels with padding up to whole vectors.
    fn padded(&self) -> usize {
        self.channels.next_multiple_of(LANES)
    }

    /// Index of a row of the cache.
    pub(super) fn row(&self, head: usize, position: usize) -> usize {
        head * self.head_stride + position * self.position_stride
    }

    fn check(&self, seen: &Range<usize>, rows: &CacheRows<'_>) {
        let last = self.row(self.kv_heads - 1, seen.end - 1);
        assert!(
            rows.count(self.channels) > last,
            "a cache of {} rows has no row {last}",
            rows.count(self.channels)
        );
    }
}

/// `output[h] = Σ_p softmax_p(score(h, p)) * value(p)` over the positions `seen`; zero where nothing is seen.
///
/// `queries` and `output` are `[heads, channels]`, already rotated and normed; the row of a head at a position is
/// `head * head_stride + position * position_stride` of `keys` and of `values`. A sliding window is a later start of
/// `seen`. `scratch` is any vector; it grows to what one call needs and is kept by the caller for the next. Runs in the
/// caller's rayon pool where the work is worth it.
///
/// # Panics
/// If a slice is too short for its shape or `heads` is no multiple of `kv_heads`.
pub fn attend(
    output: &mut [f32],
    queries: &[f32],
    (keys, values): (CacheRows<'_>, CacheRows<'_>),
    shape: &AttentionShape,
    seen: Range<usize>,
    scratch: &mut Vec<f32>,
) {
    let width = shape.heads * shape.channels;
    assert_eq!(output.len(), width, "output of all heads");
    assert_eq!(queries.len(), width, "queries of all heads");
    assert_eq!(shape.heads % shape.kv_heads, 0, "heads in equal groups");
    if seen.is_empty() || shape.channels == 0 {
        output.fill(0.0);
        return;
    }
    shape.check(&seen, &keys);
    shape.check(&seen, &values);
    let room = Room::of(shape, seen.len());
    if scratch.len() < room.total() * shape.kv_heads {
        scratch.resize(room.total() * shape.kv_heads, 0.0);
    }
    let group = shape.group() * shape.channels;
    let head = |(head, ((output, queries), scratch)): (usize, HeadSlices<'_>)| {
        attend_group(
            output,
            queries,
            (keys, values),
            (shape, head, seen.clone()),
            room.split(scratch),
        );
    };
    if width * seen.len() < LEAST_PARALLEL_WORK {
        output
            .chunks_mut(group)
            .zip(queries.chunks(group))
            .zip(scratch.chunks_mut(room.total()))
            .enumerate()
            .for_each(head);
    } else {
        output
            .par_chunks_mut(group)
            .zip(queries.par_chunks(group))
            .zip(scratch.par_chunks_mut(room.total()))
            .enumerate()
            .for_each(head);
    }
}

/// Output, queries and scratch of one group of heads.
type HeadSlices<'a> = ((&'a mut [f32], &'a [f32]), &'a mut [f32]);

/// Values of scratch that one group of heads needs.
struct Room {
    heads: usize,
    scores: usize,
    slab: usize,
}

/// Scratch of one group: scaled queries and sums `[group, padded channels]`, scores `[group, positions]`, one slab.
struct Scratch<'a> {
    queries: &'a mut [f32],
    sums: &'a mut [f32],
    scores: &'a mut [f32],
    slab: &'a mut [f32],
}

impl Room {
    fn of(shape: &AttentionShape, positions: usize) -> Self {
        Self {
            heads: shape.group() * shape.padded(),
            scores: shape.group() * positions,
            slab: SLAB * shape.padded(),
        }
    }

    fn total(&self) -> usize {
        2 * self.heads + self.scores + self.slab
    }

    fn split<'a>(&self, scratch: &'a mut [f32]) -> Scratch<'a> {
        let (queries, rest) = scratch.split_at_mut(self.heads);
        let (sums, rest) = rest.split_at_mut(self.heads);
        let (scores, rest) = rest.split_at_mut(self.scores);
        Scratch {
            queries,
            sums,
            scores,
            slab: &mut rest[..self.slab],
        }
    }
}

/// Attention of the query heads that share key head `head`.
fn attend_group(
    output: &mut [f32],
    queries: &[f32],
    (keys, values): (CacheRows<'_>, CacheRows<'_>),
    (shape, head, seen): (&AttentionShape, usize, Range<usize>),
    scratch: Scratch<'_>,
) {
    let Scratch {
        queries: scaled,
        sums,
        scores,
        slab,
    } = scratch;
    let (count, channels, padded) = (seen.len(), shape.channels, shape.padded());
    for scratch in [&mut *scaled, &mut *sums, &mut *slab] {
        scratch.fill(0.0);
    }
    let rows = scaled.chunks_mut(padded).zip(queries.chunks(channels));
    for (scaled, query) in rows {
        for (scaled, value) in scaled.iter_mut().zip(query) {
            *scaled = value * shape.query_scale;
        }
    }
    for first in (0..count).step_by(SLAB) {
        let positions = first..(first + SLAB).min(count);
        let rows = keys.widened(shape, head, seen.start, &positions, slab);
        dots(scores, count, scaled, &rows, positions);
    }
    for scores in scores.chunks_mut(count) {
        softmax(scores, shape.softcap);
    }
    for first in (0..count).step_by(SLAB) {
        let positions = first..(first + SLAB).min(count);
        let rows = values.widened(shape, head, seen.start, &positions, slab);
        mix(sums, scores, count, &rows, positions);
    }
    let rows = output.chunks_mut(channels).zip(sums.chunks(padded));
    for (output, sums) in rows {
        output.copy_from_slice(&sums[..channels]);
    }
}

per_instruction_set! {
    /// Scores become shares that sum to 1.
    fn softmax(scores: &mut [f32], softcap: Option<f32>) {
        if let Some(limit) = softcap {
            for score in scores.iter_mut() {
                // limit * tanh(score / limit)
                *score = limit * (1.0 - 2.0 / (exp(2.0 * (*score / limit)) + 1.0));
            }
        }
        let mut most = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = scores.as_chunks::<LANES>();
        for scores in whole {
            for lane in 0..LANES {
                most[lane] = if scores[lane] > most[lane] { scores[lane] } else { most[lane] };
            }
        }
        let most = most.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0f32; LANES];
        let (whole, rest) = scores.as_chunks_mut::<LANES>();
        for scores in whole {
            for lane in 0..LANES {
                scores[lane] = exp(scores[lane] - most);
                sums[lane] += scores[lane];
            }
        }
        for (score, sum) in rest.iter_mut().zip(&mut sums) {
            *score = exp(*score - most);
            *sum += *score;
        }
        // 16 -> 8 -> 4 -> 2 -> 1.
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                sums[lane] += sums[lane + half];
            }
        }
        let factor = 1.0 / sums[0];
        for score in scores.iter_mut() {
            *score *= factor;
        }
    }
}

#[cfg(test)]
mod tests;

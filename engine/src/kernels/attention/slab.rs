//! The two products of attention over a slab of f32 rows: queries times keys, shares times values.

use crate::kernels::dispatch::per_instruction_set;
use std::ops::Range;

/// Lanes of every sum over channels or positions: one 512-bit or two 256-bit vectors.
pub(super) const LANES: usize = 16;

/// Positions of one slab: at 128 channels a slab of f32 rows is half of a first-level cache.
pub(super) const SLAB: usize = 32;

/// Rows of consecutive positions, widened to f32; `scale` belongs to each row where the cache has scales.
pub(super) struct Rows<'a> {
    /// Row `i` starts at `i * stride`.
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) channels: usize,
    /// Scale of row `i` is `scales[i * scale_stride]`; none means 1.
    pub(super) scales: Option<(&'a [f32], usize)>,
}

impl Rows<'_> {
    #[inline(always)]
    fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..][..self.channels]
    }

    #[inline(always)]
    fn scale(&self, index: usize) -> f32 {
        match self.scales {
            Some((scales, stride)) => scales[index * stride],
            None => 1.0,
        }
    }
}

/// Pairs of lanes added: `16 -> 8 -> 4 -> 2 -> 1`.
#[inline(always)]
pub(super) fn sum_of_lanes(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (left_whole, left_rest) = left.as_chunks::<LANES>();
    let (right_whole, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left_whole.iter().zip(right_whole) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    for (sum, (left, right)) in sums.iter_mut().zip(left_rest.iter().zip(right_rest)) {
        *sum += left * right;
    }
    sum_of_lanes(sums)
}

per_instruction_set! {
    /// `scores[query][position] = queries[query] · rows[position]`, with `count` scores for each query.
    pub(super) fn dots(
        scores: &mut [f32],
        count: usize,
        queries: &[f32],
        rows: &Rows<'_>,
        positions: Range<usize>,
    ) {
        for (scores, query) in scores.chunks_mut(count).zip(queries.chunks(rows.channels)) {
            for (index, score) in scores[positions.clone()].iter_mut().enumerate() {
                *score = dot(query, rows.row(index)) * rows.scale(index);
            }
        }
    }
}

per_instruction_set! {
    /// `output[query] += shares[query][position] * rows[position]`, position after position.
    pub(super) fn mix(
        output: &mut [f32],
        shares: &[f32],
        count: usize,
        rows: &Rows<'_>,
        positions: Range<usize>,
    ) {
        for (output, shares) in output.chunks_mut(rows.channels).zip(shares.chunks(count)) {
            for (index, share) in shares[positions.clone()].iter().enumerate() {
                let share = share * rows.scale(index);
                for (output, value) in output.iter_mut().zip(rows.row(index)) {
                    *output += share * value;
                }
            }
        }
    }
}

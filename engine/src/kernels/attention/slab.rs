//! The two products of attention over a slab of f32 rows: queries times keys, shares times values.
//!
//! Rows, queries and sums are padded to whole vectors, so that no loop has a tail.

use crate::kernels::lanes::{LANES, Lanes, OverLanes, with_lanes};
use std::ops::Range;

/// Positions of one slab: at 128 channels a slab of f32 rows is half of a first-level cache.
pub(super) const SLAB: usize = 32;

/// Vectors of channels that are added to at once: chains enough to hide the latency of multiply-adds.
const WIDE: usize = 4;

/// Rows of consecutive positions in f32.
pub(super) struct Rows<'a> {
    /// Row `i` starts at `i * stride`.
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    /// Channels of a row, with zeros up to whole vectors.
    pub(super) padded: usize,
    /// Scale of row `i` is `scales[i * scale_stride]`; none means 1.
    pub(super) scales: Option<(&'a [f32], usize)>,
}

impl Rows<'_> {
    /// Each row and its scale, without end.
    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = (&[[f32; LANES]], f32)> {
        let rows = self.values.chunks(self.stride);
        rows.enumerate().map(|(index, row)| {
            let scale = match self.scales {
                Some((scales, stride)) => scales[index * stride],
                None => 1.0,
            };
            (row[..self.padded].as_chunks().0, scale)
        })
    }
}

/// `scores[query][position] = queries[query] · rows[position]`, with `count` scores for each query.
pub(super) fn dots(
    scores: &mut [f32],
    count: usize,
    queries: &[f32],
    rows: &Rows<'_>,
    positions: Range<usize>,
) {
    let each = scores
        .chunks_mut(count)
        .zip(queries.chunks_exact(rows.padded));
    for (scores, query) in each {
        with_lanes(Dots {
            scores: &mut scores[positions.clone()],
            query: query.as_chunks().0,
            rows,
        });
    }
}

/// Scores of one query.
struct Dots<'a> {
    scores: &'a mut [f32],
    query: &'a [[f32; LANES]],
    rows: &'a Rows<'a>,
}

impl OverLanes for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (score, (keys, scale)) in self.scores.iter_mut().zip(self.rows.each()) {
            let mut sum = lanes.splat(0.0);
            for (query, key) in self.query.iter().zip(keys) {
                sum = lanes.multiply_add(lanes.load(query), lanes.load(key), sum);
            }
            *score = lanes.sum(sum) * scale;
        }
    }
}

/// `output[query] += shares[query][position] * rows[position]`, position after position.
pub(super) fn mix(
    output: &mut [f32],
    shares: &[f32],
    count: usize,
    rows: &Rows<'_>,
    positions: Range<usize>,
) {
    let each = output
        .chunks_exact_mut(rows.padded)
        .zip(shares.chunks(count));
    for (output, shares) in each {
        with_lanes(Mix {
            output: output.as_chunks_mut().0,
            shares: &shares[positions.clone()],
            rows,
        });
    }
}

/// The mixture of one query.
struct Mix<'a> {
    output: &'a mut [[f32; LANES]],
    shares: &'a [f32],
    rows: &'a Rows<'a>,
}

impl OverLanes for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (wide, rest) = self.output.as_chunks_mut::<WIDE>();
        let narrow = wide.len() * WIDE;
        for (index, [out_a, out_b, out_c, out_d]) in wide.iter_mut().enumerate() {
            let (mut a, mut b) = (lanes.load(out_a), lanes.load(out_b));
            let (mut c, mut d) = (lanes.load(out_c), lanes.load(out_d));
            for (share, (row, scale)) in self.shares.iter().zip(self.rows.each()) {
                let share = lanes.splat(share * scale);
                let [row_a, row_b, row_c, row_d] = &row.as_chunks::<WIDE>().0[index];
                a = lanes.multiply_add(share, lanes.load(row_a), a);
                b = lanes.multiply_add(share, lanes.load(row_b), b);
                c = lanes.multiply_add(share, lanes.load(row_c), c);
                d = lanes.multiply_add(share, lanes.load(row_d), d);
            }
            lanes.store(a, out_a);
            lanes.store(b, out_b);
            lanes.store(c, out_c);
            lanes.store(d, out_d);
        }
        for (index, output) in rest.iter_mut().enumerate() {
            let mut sum = lanes.load(output);
            for (share, (row, scale)) in self.shares.iter().zip(self.rows.each()) {
                let row = lanes.load(&row[narrow + index]);
                sum = lanes.multiply_add(lanes.splat(share * scale), row, sum);
            }
            lanes.store(sum, output);
        }
    }
}

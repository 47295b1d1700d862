//! Products of weights of which whole blocks of four columns are kept (1x4) with activations as signed bytes.
//!
//! Tokens lie side by side in vectors; a row goes over its kept blocks only, and each adds its four products to every
//! token, so that zeros cost nothing. `y[t][n] = Σ_segments scale[n] * step[t] * Σ_kept (code - zero[n]) * a`, sums exact
//! and in one order: the same bits on every instruction set and at any thread count.

mod float;
mod panels;
mod stripes;
mod tokens;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use float::multiply_blocks_float;
pub use panels::BlockPanels;

use super::activations::{Activations, Offset};
use super::layout::{QUAD, Segment};
use super::panels::PANEL;
use super::product::pieces;
use crate::kernels::dispatch::{InstructionSet, instruction_set};
use panels::Blocks;
use rayon::prelude::*;
use std::ops::Range;
use stripes::Stripe;
use tokens::{MOST_TOKENS, Portable, Tokens};

/// Tokens up to which short vectors do.
const FEW: usize = 4;

/// `output[token][row] = Σ_column weight * activation`, in the caller's rayon pool.
///
/// # Panics
/// If `output` is not `[tokens, rows]` or the activations were cut for another layout.
pub fn multiply_blocks(output: &mut [f32], activations: &Activations, weights: &BlockPanels) {
    let shape = weights.shape();
    assert_eq!(output.len(), activations.tokens() * shape.rows, "output");
    assert!(activations.fit(shape), "activations of another layout");
    let few = activations.tokens() <= FEW;
    let rows: RowKernel = match instruction_set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni if few => row_kernel::<x86::FewWide>(|work| {
            // SAFETY: `instruction_set` found these features on this machine.
            unsafe { avx512_few(work) }
        }),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => row_kernel::<x86::Wide>(|work| {
            // SAFETY: as above.
            unsafe { avx512(work) }
        }),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2Vnni if few => row_kernel::<x86::FewVnni>(|work| {
            // SAFETY: as above.
            unsafe { avx_vnni_few(work) }
        }),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2Vnni => row_kernel::<x86::Vnni>(|work| {
            // SAFETY: as above.
            unsafe { avx_vnni(work) }
        }),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx2 if few => {
            row_kernel::<x86::FewPlain>(|work| {
                // SAFETY: as above.
                unsafe { avx2_few(work) }
            })
        }
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx2 => row_kernel::<x86::Plain>(|work| {
            // SAFETY: as above.
            unsafe { avx2(work) }
        }),
        _ => row_kernel::<Portable>(|work| {
            // SAFETY: every machine has it.
            unsafe { stripe_of_rows::<Portable>(work) }
        }),
    };
    let stripes = Stripe::cut(activations, rows.lanes, rows.offset);
    let target = Output(output.as_mut_ptr());
    let segments = activations.segments();
    let piece = |panels: Range<usize>| {
        let target = &target;
        let mut totals = Vec::new();
        for stripe in &stripes {
            (rows.run)(Rows {
                weights,
                segments,
                as_packed: segments == weights.segments(),
                stripe,
                rows: panels.start * PANEL..(panels.end * PANEL).min(shape.rows),
                totals: &mut totals,
                output: target.0,
            });
        }
    };
    let work = output.len() * shape.columns;
    let pieces = pieces(shape.panels(), work);
    if pieces.len() == 1 {
        piece(0..shape.panels());
    } else {
        pieces.into_par_iter().for_each(piece);
    }
}

struct Output(*mut f32);

// SAFETY: pieces write to different rows of the output, which `multiply_blocks` borrows mutably.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// One instruction set.
struct RowKernel {
    lanes: usize,
    offset: Offset,
    run: fn(Rows<'_>),
}

fn row_kernel<T: Tokens>(run: fn(Rows<'_>)) -> RowKernel {
    RowKernel {
        lanes: T::LANES,
        offset: T::OFFSET,
        run,
    }
}

/// Some rows times a stripe of tokens.
struct Rows<'a> {
    weights: &'a BlockPanels,
    segments: &'a [Segment],
    /// Segments are those of the packed weights.
    as_packed: bool,
    stripe: &'a Stripe,
    rows: Range<usize>,
    /// `[rows, width of the stripe]`, whatever it held before.
    totals: &'a mut Vec<f32>,
    output: *mut f32,
}

/// Compiles `stripe_of_rows` for the features of one set.
macro_rules! compiled {
    ($name:ident, $kind:ty, $features:literal) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $name(work: Rows<'_>) {
            // SAFETY: the features are those of the vectors.
            unsafe { stripe_of_rows::<$kind>(work) };
        }
    };
}

compiled!(
    avx512,
    x86::Wide,
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma"
);
compiled!(
    avx512_few,
    x86::FewWide,
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma"
);
compiled!(avx_vnni, x86::Vnni, "avx2,fma,avxvnni");
compiled!(avx_vnni_few, x86::FewVnni, "avx2,fma,avxvnni");
compiled!(avx2, x86::Plain, "avx2,fma");
compiled!(avx2_few, x86::FewPlain, "avx2,fma");

/// Runs of segments whose activations stay in the first-level cache outside, rows inside.
///
/// # Safety
/// The machine has the instruction set of `T`, and nobody else touches these rows of the output.
#[inline(always)]
unsafe fn stripe_of_rows<T: Tokens>(work: Rows<'_>) {
    let (stripe, weights, width) = (work.stripe, work.weights, work.stripe.width);
    work.totals.clear();
    work.totals.resize(work.rows.len() * width, 0.0);
    let mut sums = [0i32; MOST_TOKENS];
    let run = (MOST_TOKENS / width.max(1)).max(1);
    for first in (0..work.segments.len()).step_by(run) {
        let run = first..(first + run).min(work.segments.len());
        for (row, totals) in work.rows.clone().zip(work.totals.chunks_mut(width)) {
            for index in run.clone() {
                let segment = &work.segments[index];
                let (blocks, sum_of_values) = match work.as_packed {
                    true => weights.blocks(row, index),
                    false => weights.blocks_of(row, segment),
                };
                // SAFETY: the caller's.
                unsafe { sum_segment::<T>(blocks, stripe, &mut sums) };
                let offset = sum_of_values * i32::from(T::OFFSET.value());
                let scale = weights.scale(row, segment.group);
                let steps = &stripe.steps[index * width..(index + 1) * width];
                for ((total, sum), step) in totals.iter_mut().zip(&sums).zip(steps) {
                    *total = (scale * step).mul_add((sum - offset) as f32, *total);
                }
            }
        }
    }
    let stride = weights.shape().rows;
    for token in 0..stripe.tokens {
        let totals = work.totals.iter().skip(token).step_by(width);
        for (row, &total) in work.rows.clone().zip(totals) {
            let place = (stripe.first + token) * stride + row;
            // SAFETY: the output has all tokens and rows; these are this call's alone.
            unsafe { *work.output.add(place) = total };
        }
    }
}

/// Sums of a row's blocks for every token of a stripe.
///
/// # Safety
/// The machine has the instruction set of `T`.
#[inline(always)]
unsafe fn sum_segment<T: Tokens>(
    blocks: Blocks<'_>,
    stripe: &Stripe,
    sums: &mut [i32; MOST_TOKENS],
) {
    let vectors = stripe.width / T::LANES;
    let mut vector = 0;
    while vector < vectors {
        let first = vector * T::LANES;
        // SAFETY: the caller's; `width` lanes have room in `sums`.
        vector += unsafe {
            match vectors - vector {
                1 => some::<T, 1, 4>(blocks, stripe, first, sums),
                2 => some::<T, 2, 2>(blocks, stripe, first, sums),
                3 => some::<T, 3, 1>(blocks, stripe, first, sums),
                _ => some::<T, 4, 1>(blocks, stripe, first, sums),
            }
        };
    }
}

/// `V` vectors from token `first` on, in `S` separate sums each. Returns `V`.
///
/// # Safety
/// As `sum_segment`, and the stripe has the tokens.
#[inline(always)]
unsafe fn some<T: Tokens, const V: usize, const S: usize>(
    blocks: Blocks<'_>,
    stripe: &Stripe,
    first: usize,
    sums: &mut [i32; MOST_TOKENS],
) -> usize {
    let values = stripe.values.as_slice();
    let row = stripe.width * QUAD;
    assert!(first + V * T::LANES <= stripe.width && stripe.width <= MOST_TOKENS);
    let last = blocks.quads.last().copied().unwrap_or(0);
    assert!(blocks.quads.is_empty() || (usize::from(last) + 1) * row <= values.len());
    let start = values.as_ptr().wrapping_add(first * QUAD);
    // SAFETY: quads ascend and the last of them lies in the stripe; the set is the caller's promise.
    unsafe {
        let mut parts = [[T::zero(); V]; S];
        let mut add = |part: usize, value: i32, quad: u16| {
            let at = start.add(usize::from(quad) * row);
            for (vector, sums) in parts[part].iter_mut().enumerate() {
                *sums = T::add(*sums, at.add(vector * T::LANES * QUAD), value);
            }
        };
        let (values, rest) = blocks.values.as_chunks::<S>();
        let (quads, rest_quads) = blocks.quads.as_chunks::<S>();
        for (values, quads) in values.iter().zip(quads) {
            for part in 0..S {
                add(part, values[part], quads[part]);
            }
        }
        for (&value, &quad) in rest.iter().zip(rest_quads) {
            add(0, value, quad);
        }
        for part in 1..S {
            for vector in 0..V {
                parts[0][vector] = T::plus(parts[0][vector], parts[part][vector]);
            }
        }
        for (vector, &part) in parts[0].iter().enumerate() {
            let to = sums.as_mut_ptr().add(first + vector * T::LANES);
            T::store(part, to);
        }
    }
    V
}

#[cfg(test)]
mod tests;

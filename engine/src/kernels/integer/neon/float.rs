//! Few tokens of f32: a unit's codes become bytes, then floats in registers, one column of each quad at a time.

use super::{UNIT_BYTES, VECTORS, load_line};
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::float::FloatTile;
use crate::kernels::integer::layout::{QUAD, UNIT};
use crate::kernels::integer::panels::PANEL;
use crate::kernels::integer::portable;
use std::arch::aarch64::*;

/// Sums of one panel and token: one for each column of a quad.
type Sums = [[float32x4_t; VECTORS]; QUAD];

/// The totals of one panel.
pub(in crate::kernels::integer) fn add<const W: usize>(
    tile: &FloatTile<'_, W>,
) -> [[f32; PANEL]; W] {
    let mut totals = [[0.0; PANEL]; W];
    let unit_bytes = usize::from(tile.bits) * LINE;
    let mut bytes = [0; UNIT_BYTES];
    for (index, segment) in tile.segments.iter().enumerate() {
        // SAFETY: NEON is part of the target.
        let mut sums: [Sums; W] = [[[unsafe { vdupq_n_f32(0.0) }; VECTORS]; QUAD]; W];
        for unit in segment.first_unit..segment.first_unit + segment.units {
            let packed = &tile.codes[unit * unit_bytes..(unit + 1) * unit_bytes];
            portable::unpack(tile.bits, packed, &mut bytes);
            for (sums, input) in sums.iter_mut().zip(tile.inputs) {
                add_unit(sums, &bytes, &input[unit * UNIT..(unit + 1) * UNIT]);
            }
        }
        let mut scales = [0.0; PANEL];
        let mut zeros = [0.0; PANEL];
        for (row, (scale, zero)) in scales.iter_mut().zip(&mut zeros).enumerate() {
            (*scale, *zero) = tile.steps.at(segment.group, row);
        }
        for (token, (totals, sums)) in totals.iter_mut().zip(&sums).enumerate() {
            add_scaled(totals, sums, &scales, &zeros, tile.sums[token][index]);
        }
    }
    totals
}

/// One unit of one token.
#[inline(always)]
fn add_unit(sums: &mut Sums, bytes: &[u8; UNIT_BYTES], input: &[f32]) {
    let lines = bytes.as_chunks::<LINE>().0;
    for (codes, x) in lines.iter().zip(input.as_chunks::<QUAD>().0) {
        for (vector, codes) in load_line(codes).into_iter().enumerate() {
            // SAFETY: NEON is part of the target.
            unsafe {
                let mut codes = vreinterpretq_u32_u8(codes);
                for (sums, &x) in sums.iter_mut().zip(x) {
                    let code = vcvtq_f32_u32(vandq_u32(codes, vdupq_n_u32(0xFF)));
                    sums[vector] = vfmaq_n_f32(sums[vector], code, x);
                    codes = vshrq_n_u32::<8>(codes);
                }
            }
        }
    }
}

/// `total = fma(scale, fma(-zero, sum, sums in pairs), total)`.
#[inline(always)]
fn add_scaled(
    totals: &mut [f32; PANEL],
    [a, b, c, d]: &Sums,
    scales: &[f32; PANEL],
    zeros: &[f32; PANEL],
    sum: f32,
) {
    for vector in 0..VECTORS {
        let first = 4 * vector;
        // SAFETY: NEON is part of the target; four values lie from `first` on in each array.
        unsafe {
            let products = vaddq_f32(
                vaddq_f32(a[vector], b[vector]),
                vaddq_f32(c[vector], d[vector]),
            );
            let zero = vnegq_f32(vld1q_f32(zeros[first..].as_ptr()));
            let centred = vfmaq_n_f32(products, zero, sum);
            let scale = vld1q_f32(scales[first..].as_ptr());
            let total = vld1q_f32(totals[first..].as_ptr());
            let total = vfmaq_f32(total, scale, centred);
            vst1q_f32(totals[first..].as_mut_ptr(), total);
        }
    }
}

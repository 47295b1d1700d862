//! Panels of levels on 128-bit vectors: four rows at a time, a level looked up by its four bytes. The same operations
//! in the same order as the portable body.

use super::{CHAINS, CODES, Line, PANEL, PanelSums, blocks_of};
use std::arch::aarch64::*;
use std::ops::Range;

/// Rows of one vector.
const LANES: usize = 4;

pub(super) fn panel<const T: usize>(
    lines: &[Line],
    levels: &[f32; 16],
    block: usize,
    inputs: &[&[f32]; T],
) -> PanelSums<T> {
    // SAFETY: every aarch64 processor that the target covers has NEON.
    unsafe { panel_neon(lines, levels, block, inputs) }
}

#[target_feature(enable = "neon")]
fn panel_neon<const T: usize>(
    lines: &[Line],
    levels: &[f32; 16],
    block: usize,
    inputs: &[&[f32]; T],
) -> PanelSums<T> {
    // SAFETY: sixteen levels are 64 bytes.
    let levels = unsafe { vld1q_u8_x4(levels.as_ptr().cast()) };
    let mut totals = [[0.0; PANEL]; T];
    for (scales, codes, columns) in blocks_of(lines, block, inputs[0].len()) {
        for quarter in 0..PANEL / LANES {
            let sums = block_sums(codes, columns.clone(), levels, quarter, inputs);
            let scales = vreinterpretq_f32_u32(quarter_of(scales, quarter));
            for (totals, [a, b, c, d]) in totals.iter_mut().zip(sums) {
                let total = &mut totals.as_chunks_mut::<LANES>().0[quarter];
                let sum = vaddq_f32(vaddq_f32(a, b), vaddq_f32(c, d));
                // SAFETY: there is room for four values, and four are there to be read.
                unsafe {
                    let sum = vfmaq_f32(vld1q_f32(total.as_ptr()), sum, scales);
                    vst1q_f32(total.as_mut_ptr(), sum);
                }
            }
        }
    }
    totals
}

/// Sums of four rows over one block.
#[inline]
#[target_feature(enable = "neon")]
fn block_sums<const T: usize>(
    codes: &[Line],
    columns: Range<usize>,
    levels: uint8x16x4_t,
    quarter: usize,
    inputs: &[&[f32]; T],
) -> [[float32x4_t; CHAINS]; T] {
    let mut sums = [[vdupq_n_f32(0.0); CHAINS]; T];
    for (line, first) in codes.iter().zip(columns.clone().step_by(CODES)) {
        let mut codes = quarter_of(line, quarter);
        for (place, column) in (first..columns.end.min(first + CODES)).enumerate() {
            let level = level_of(codes, levels);
            codes = vshrq_n_u32::<4>(codes);
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let sum = &mut sums[place % CHAINS];
                *sum = vfmaq_n_f32(*sum, level, input[column]);
            }
        }
    }
    sums
}

/// Levels of the lowest four bits of each lane: code `c` names bytes `4c` to `4c + 3` of the table.
#[inline]
#[target_feature(enable = "neon")]
fn level_of(codes: uint32x4_t, levels: uint8x16x4_t) -> float32x4_t {
    let codes = vandq_u32(codes, vdupq_n_u32(15));
    let bytes = vmlaq_u32(vdupq_n_u32(0x0302_0100), codes, vdupq_n_u32(0x0404_0404));
    vreinterpretq_f32_u8(vqtbl4q_u8(levels, vreinterpretq_u8_u32(bytes)))
}

#[inline]
#[target_feature(enable = "neon")]
fn quarter_of(line: &Line, quarter: usize) -> uint32x4_t {
    let lanes = &line.0.as_chunks::<LANES>().0[quarter];
    // SAFETY: four lanes are there to be read.
    unsafe { vld1q_u32(lanes.as_ptr()) }
}

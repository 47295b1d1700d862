//! Lanes in four 128-bit registers, which every aarch64 processor has.

use super::{LANES, Lanes, OverLanes};
use half::{bf16, f16};
use std::arch::aarch64::*;

/// NEON is part of the target.
#[derive(Clone, Copy)]
struct Neon;

pub(super) fn with_neon<W: OverLanes>(work: W) -> W::Output {
    work.run(Neon)
}

type Vector = [float32x4_t; 4];

/// Four quarters by their number.
#[inline(always)]
fn quarters(f: impl Fn(usize) -> float32x4_t) -> Vector {
    [f(0), f(1), f(2), f(3)]
}

// SAFETY of arithmetic: NEON is part of the target. SAFETY of loads and stores: the same, and quarter `q` of an array
// of sixteen is there to be read or written.

impl Lanes for Neon {
    type Vector = Vector;
    type Codes = [uint32x4_t; 4];
    type Levels = uint8x16x4_t;

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        // SAFETY: see above.
        [unsafe { vdupq_n_f32(value) }; 4]
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe { vld1q_f32(values.as_ptr().add(4 * q)) })
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; LANES]) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe {
            let half = vld1_u16(values.as_ptr().cast::<u16>().add(4 * q));
            vcvt_f32_f16(vreinterpret_f16_u16(half))
        })
    }

    #[inline(always)]
    fn load_bf16(self, values: &[bf16; LANES]) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe {
            let half = vld1_u16(values.as_ptr().cast::<u16>().add(4 * q));
            vreinterpretq_f32_u32(vshll_n_u16::<16>(half))
        })
    }

    #[inline(always)]
    fn load_i8(self, values: &[i8; LANES]) -> Vector {
        // SAFETY: see above.
        unsafe {
            let codes = vld1q_s8(values.as_ptr());
            let (low, high) = (vmovl_s8(vget_low_s8(codes)), vmovl_high_s8(codes));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    fn store(self, vector: Vector, values: &mut [f32; LANES]) {
        for (q, quarter) in vector.into_iter().enumerate() {
            // SAFETY: see above.
            unsafe { vst1q_f32(values.as_mut_ptr().add(4 * q), quarter) };
        }
    }

    #[inline(always)]
    fn store_f16(self, vector: Vector, values: &mut [f16; LANES]) {
        for (q, quarter) in vector.into_iter().enumerate() {
            // SAFETY: see above.
            unsafe {
                let half = vreinterpret_u16_f16(vcvt_f16_f32(quarter));
                vst1_u16(values.as_mut_ptr().cast::<u16>().add(4 * q), half);
            }
        }
    }

    #[inline(always)]
    fn add(self, left: Vector, right: Vector) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe { vaddq_f32(left[q], right[q]) })
    }

    #[inline(always)]
    fn multiply_add(self, left: Vector, right: Vector, sum: Vector) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe { vfmaq_f32(sum[q], left[q], right[q]) })
    }

    #[inline(always)]
    fn multiply(self, left: Vector, right: Vector) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe { vmulq_f32(left[q], right[q]) })
    }

    #[inline(always)]
    fn load_codes(self, codes: &[u32; LANES]) -> Self::Codes {
        // SAFETY: see above.
        [0, 1, 2, 3].map(|q| unsafe { vld1q_u32(codes.as_ptr().add(4 * q)) })
    }

    #[inline(always)]
    fn load_levels(self, levels: &[f32; 16]) -> Self::Levels {
        // SAFETY: see above; sixteen levels are 64 bytes.
        unsafe { vld1q_u8_x4(levels.as_ptr().cast()) }
    }

    /// Code `c` names bytes `4c` to `4c + 3` of the table.
    #[inline(always)]
    fn level(self, levels: Self::Levels, codes: Self::Codes, place: usize) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe {
            let codes = vshlq_u32(codes[q], vdupq_n_s32(-4 * (place as i32)));
            let codes = vandq_u32(codes, vdupq_n_u32(15));
            let bytes = vmlaq_u32(vdupq_n_u32(0x0302_0100), codes, vdupq_n_u32(0x0404_0404));
            vreinterpretq_f32_u8(vqtbl4q_u8(levels, vreinterpretq_u8_u32(bytes)))
        })
    }

    #[inline(always)]
    fn signed_byte(self, codes: Self::Codes, place: usize) -> Vector {
        // SAFETY: see above.
        quarters(|q| unsafe {
            let up = vdupq_n_s32(24 - 8 * place as i32);
            let moved = vreinterpretq_s32_u32(vshlq_u32(codes[q], up));
            vcvtq_f32_s32(vshrq_n_s32::<24>(moved))
        })
    }

    #[inline(always)]
    fn sum(self, [a, b, c, d]: Vector) -> f32 {
        // SAFETY: see above.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
}

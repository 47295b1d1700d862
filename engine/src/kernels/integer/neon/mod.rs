//! Tiles on 128-bit vectors: four rows in a register, four bytes of each.
//!
//! Three ways to sum products of four bytes: USDOT multiplies codes as they are (i8mm); SDOT and, on machines without
//! either, SMULL with pairwise sums take codes as signed bytes: those of 8 bits with the top bit flipped, which takes
//! 128 from each, so that 128 times the sum of the activations is added again. All are exact.
//! SDOT and USDOT stand as assembly: their intrinsics are not in stable Rust.

pub(super) mod float;

use super::aligned::LINE;
use super::layout::QUAD;
use super::panels::{PANEL, QUADS};
use super::portable;
use super::tile::{Kernel, Tile, Totals};
use std::arch::aarch64::*;
use std::arch::asm;

/// Tokens of a tile: four vectors of sums for each, and eight registers for codes and activations.
const TOKENS: usize = 4;
/// Vectors of a panel.
pub(super) const VECTORS: usize = PANEL / 4;
/// Bytes of a unit's codes, one each.
const UNIT_BYTES: usize = QUADS * LINE;

/// For machines with i8mm.
pub(super) const USDOT: Kernel = kernel::<Usdot>();
/// For machines with dotprod.
pub(super) const SDOT: Kernel = kernel::<Sdot>();
/// For all of them.
pub(super) const SMULL: Kernel = kernel::<Smull>();

const fn kernel<D: Dot>() -> Kernel {
    Kernel {
        tokens: TOKENS,
        panels: 1,
        wants_words: false,
        multiply: multiply::<D>,
        unpack: portable::unpack,
    }
}

/// Sums of products of four bytes, for the 16 rows of a panel.
pub(super) trait Dot {
    /// Whether codes are signed bytes for it.
    const SIGNED: bool;
    type Sums: Copy;

    /// # Safety
    /// The machine has the instructions.
    unsafe fn zero() -> Self::Sums;

    /// Adds the products of `codes` with the quads of activations of each vector.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn add(
        sums: &mut Self::Sums,
        codes: &[uint8x16_t; VECTORS],
        quads: [int8x16_t; VECTORS],
    );

    /// Sums of rows.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn rows(sums: Self::Sums) -> [int32x4_t; VECTORS];
}

struct Usdot;
pub(super) struct Sdot;
pub(super) struct Smull;

/// The steps of `Dot` where one instruction sums a row's four products.
macro_rules! one_instruction {
    ($kind:ident, $signed:literal, $extension:literal, $instruction:literal) => {
        impl Dot for $kind {
            const SIGNED: bool = $signed;
            type Sums = [int32x4_t; VECTORS];

            #[inline(always)]
            unsafe fn zero() -> Self::Sums {
                // SAFETY: NEON is part of the target.
                [unsafe { vdupq_n_s32(0) }; VECTORS]
            }

            #[inline(always)]
            unsafe fn add(sums: &mut Self::Sums, codes: &[uint8x16_t; VECTORS], quads: [int8x16_t; VECTORS]) {
                for ((sum, codes), quad) in sums.iter_mut().zip(codes).zip(quads) {
                    // SAFETY: the machine has the instruction, which touches nothing but its registers.
                    unsafe {
                        asm!(
                            concat!(".arch_extension ", $extension),
                            concat!($instruction, " {0:v}.4s, {1:v}.16b, {2:v}.16b"),
                            inlateout(vreg) *sum,
                            in(vreg) *codes,
                            in(vreg) quad,
                            options(pure, nomem, nostack, preserves_flags)
                        );
                    }
                }
            }

            #[inline(always)]
            unsafe fn rows(sums: Self::Sums) -> [int32x4_t; VECTORS] {
                sums
            }
        }
    };
}

one_instruction!(Usdot, false, "i8mm", "usdot");
one_instruction!(Sdot, true, "dotprod", "sdot");

impl Dot for Smull {
    const SIGNED: bool = true;
    /// Two rows to a vector, two sums to a row.
    type Sums = [[int32x4_t; 2]; VECTORS];

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: NEON is part of the target.
        [[unsafe { vdupq_n_s32(0) }; 2]; VECTORS]
    }

    #[inline(always)]
    unsafe fn add(
        sums: &mut Self::Sums,
        codes: &[uint8x16_t; VECTORS],
        quads: [int8x16_t; VECTORS],
    ) {
        for (([low, high], codes), quad) in sums.iter_mut().zip(codes).zip(quads) {
            // SAFETY: NEON is part of the target.
            unsafe {
                let codes = vreinterpretq_s8_u8(*codes);
                let product = vmull_s8(vget_low_s8(codes), vget_low_s8(quad));
                *low = vpadalq_s16(*low, product);
                *high = vpadalq_s16(*high, vmull_high_s8(codes, quad));
            }
        }
    }

    #[inline(always)]
    unsafe fn rows(sums: Self::Sums) -> [int32x4_t; VECTORS] {
        // SAFETY: NEON is part of the target.
        sums.map(|[low, high]| unsafe { vpaddq_s32(low, high) })
    }
}

/// # Safety
/// As `Kernel::multiply`.
unsafe fn multiply<D: Dot>(tile: &Tile<'_>) {
    for panel in 0..tile.panels {
        // SAFETY: the caller's.
        unsafe {
            match tile.tokens {
                0 => {}
                1 => multiply_panel::<D, 1>(tile, panel),
                2 => multiply_panel::<D, 2>(tile, panel),
                3 => multiply_panel::<D, 3>(tile, panel),
                TOKENS => multiply_panel::<D, TOKENS>(tile, panel),
                tokens => unreachable!("a tile of {tokens} tokens, but {TOKENS} are the most"),
            }
        }
    }
}

/// # Safety
/// As `Kernel::multiply`.
#[inline(always)]
unsafe fn multiply_panel<D: Dot, const T: usize>(tile: &Tile<'_>, panel: usize) {
    // SAFETY: the rows of a tile lie in its output, which nobody else touches.
    let mut totals: [[f32; PANEL]; T] = unsafe { load_rows(&tile.totals, panel) };
    // SAFETY: the caller's.
    unsafe { add_segments::<D, T>(tile, panel, &mut totals) };
    // SAFETY: as above.
    unsafe { store_rows(&tile.totals, panel, &totals) };
}

/// Totals of one panel of a tile.
///
/// # Safety
/// The rows lie in the output.
#[inline(always)]
pub(super) unsafe fn load_rows<const T: usize>(place: &Totals, panel: usize) -> [[f32; PANEL]; T] {
    let mut totals = [[0.0; PANEL]; T];
    if !place.first {
        let rows = place.rows.saturating_sub(panel * PANEL).min(PANEL);
        for (token, totals) in totals.iter_mut().enumerate() {
            let from = place
                .start
                .wrapping_add(token * place.stride + panel * PANEL);
            // SAFETY: the caller's.
            unsafe { from.copy_to(totals.as_mut_ptr(), rows) };
        }
    }
    totals
}

/// Turns `load_rows` around.
///
/// # Safety
/// The rows lie in the output, which nobody else touches.
#[inline(always)]
pub(super) unsafe fn store_rows<const T: usize>(
    place: &Totals,
    panel: usize,
    totals: &[[f32; PANEL]; T],
) {
    let rows = place.rows.saturating_sub(panel * PANEL).min(PANEL);
    for (token, totals) in totals.iter().enumerate() {
        let to = place
            .start
            .wrapping_add(token * place.stride + panel * PANEL);
        // SAFETY: the caller's.
        unsafe { to.copy_from(totals.as_ptr(), rows) };
    }
}

/// # Safety
/// The machine has the instructions of `D`.
#[inline(always)]
unsafe fn add_segments<D: Dot, const T: usize>(
    tile: &Tile<'_>,
    panel: usize,
    totals: &mut [[f32; PANEL]; T],
) {
    // Codes of fewer bits are the same as signed bytes.
    let flipped = D::SIGNED && tile.significant_bits == 8;
    let unit_bytes = usize::from(tile.bits) * LINE;
    let mut units = tile.codes[panel].chunks_exact(unit_bytes);
    let mut values = tile.values.chunks(QUADS * tile.stride * QUAD);
    let mut unpacked = [0; UNIT_BYTES];
    for (index, segment) in tile.segments.iter().enumerate() {
        // SAFETY: the caller's.
        let mut sums = [unsafe { D::zero() }; T];
        for (unit, values) in units.by_ref().zip(values.by_ref()).take(segment.units) {
            let bytes = if tile.bits == 8 {
                unit
            } else {
                portable::unpack(tile.bits, unit, &mut unpacked);
                &unpacked
            };
            // SAFETY: the caller's.
            unsafe { add_unit::<D, T>(&mut sums, bytes, values, tile.stride, flipped) };
        }
        let first = index * tile.stride;
        for (token, (totals, sums)) in totals.iter_mut().zip(sums).enumerate() {
            let (sum, step) = (tile.sums[first + token], tile.steps[first + token]);
            // SAFETY: the caller's.
            let mut products = unsafe { D::rows(sums) };
            if flipped {
                // The sum of a segment's activations is a whole number far below 2^24.
                let more = 128 * sum as i32;
                // SAFETY: NEON is part of the target.
                products = products.map(|sum| unsafe { vaddq_s32(sum, vdupq_n_s32(more)) });
            }
            add_scaled(
                totals,
                products,
                &scales(tile, panel, segment.group),
                sum,
                step,
            );
        }
    }
}

/// One unit of one panel, its codes as bytes.
///
/// # Safety
/// The machine has the instructions of `D`.
#[inline(always)]
unsafe fn add_unit<D: Dot, const T: usize>(
    sums: &mut [D::Sums; T],
    bytes: &[u8],
    values: &[i8],
    stride: usize,
    flipped: bool,
) {
    let rows = values.chunks(stride * QUAD);
    for (codes, values) in bytes.as_chunks::<LINE>().0.iter().zip(rows) {
        // SAFETY: NEON is part of the target.
        let flip = unsafe { vdupq_n_u8(if flipped { 0x80 } else { 0 }) };
        let mut codes = load_line(codes);
        for codes in &mut codes {
            // SAFETY: as above.
            *codes = unsafe { veorq_u8(*codes, flip) };
        }
        let quads = values.as_chunks::<QUAD>().0;
        for (sums, quad) in sums.iter_mut().zip(quads) {
            let quad = i32::from_le_bytes(quad.map(|value| value as u8));
            // SAFETY: NEON is part of the target; the instructions are the caller's promise.
            unsafe {
                D::add(
                    sums,
                    &codes,
                    [vreinterpretq_s8_s32(vdupq_n_s32(quad)); VECTORS],
                )
            };
        }
    }
}

/// A line in registers: four rows in each.
#[inline(always)]
pub(super) fn load_line(line: &[u8; LINE]) -> [uint8x16_t; VECTORS] {
    let at = |vector: usize| {
        // SAFETY: NEON is part of the target, and a line is four vectors.
        unsafe { vld1q_u8(line.as_ptr().add(16 * vector)) }
    };
    [at(0), at(1), at(2), at(3)]
}

/// Scales and zeros of one panel and group.
#[inline(always)]
fn scales(tile: &Tile<'_>, panel: usize, group: usize) -> [[f32; PANEL]; 2] {
    let mut steps = [[0.0; PANEL]; 2];
    for row in 0..PANEL {
        (steps[0][row], steps[1][row]) = tile.steps_of_panels[panel].at(group, row);
    }
    steps
}

/// `total = fma(scale * step, fma(-zero, sum, products), total)`.
#[inline(always)]
pub(super) fn add_scaled(
    totals: &mut [f32; PANEL],
    products: [int32x4_t; VECTORS],
    [scales, zeros]: &[[f32; PANEL]; 2],
    sum: f32,
    step: f32,
) {
    for (vector, products) in products.into_iter().enumerate() {
        let first = 4 * vector;
        // SAFETY: NEON is part of the target; four values lie from `first` on in each array.
        unsafe {
            let scale = vmulq_n_f32(vld1q_f32(scales[first..].as_ptr()), step);
            let zero = vnegq_f32(vld1q_f32(zeros[first..].as_ptr()));
            let centred = vfmaq_n_f32(vcvtq_f32_s32(products), zero, sum);
            let total = vld1q_f32(totals[first..].as_ptr());
            vst1q_f32(
                totals[first..].as_mut_ptr(),
                vfmaq_f32(total, scale, centred),
            );
        }
    }
}

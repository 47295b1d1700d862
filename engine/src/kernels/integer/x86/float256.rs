//! Few tokens of f32 with AVX2: codes become floats in registers, half a panel's rows at a time.

use super::codes256::{HALVES, LANES, quad, steps};
use super::for_each_quad;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::float::{AHEAD, FloatTile};
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::{PANEL, QUADS};
use std::arch::x86_64::*;

/// # Safety
/// As `FloatKernel` says: the machine has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernels::integer) fn add<const W: usize>(
    tile: &FloatTile<'_, W>,
) -> [[f32; PANEL]; W] {
    match tile.bits {
        2 => of_bits::<2, W>(tile),
        3 => of_bits::<3, W>(tile),
        4 => of_bits::<4, W>(tile),
        5 => of_bits::<5, W>(tile),
        6 => of_bits::<6, W>(tile),
        _ => of_bits::<8, W>(tile),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn of_bits<const BITS: u8, const W: usize>(tile: &FloatTile<'_, W>) -> [[f32; PANEL]; W] {
    let mut totals = [[_mm256_setzero_ps(); HALVES]; W];
    let mut codes = tile.codes.as_ptr();
    let mut column = 0;
    for (index, segment) in tile.segments.iter().enumerate() {
        let (scales, zeros) = steps(&tile.steps, segment.group);
        // SAFETY: `FloatTile::check` found every unit and column.
        let halves = unsafe {
            if W == 1 {
                // Both halves at once hide each other's latency.
                sums_of_halves::<BITS, W, 2>(tile, codes, column, segment.units, 0)
            } else {
                let [first] = sums_of_halves::<BITS, W, 1>(tile, codes, column, segment.units, 0);
                let [last] = sums_of_halves::<BITS, W, 1>(tile, codes, column, segment.units, 1);
                [first, last]
            }
        };
        for (half, sums) in halves.into_iter().enumerate() {
            for (token, (total, [a, b, c, d])) in totals.iter_mut().zip(sums).enumerate() {
                let products = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
                let sum = _mm256_set1_ps(tile.sums[token][index]);
                let centred = _mm256_fnmadd_ps(zeros[half], sum, products);
                total[half] = _mm256_fmadd_ps(scales[half], centred, total[half]);
            }
        }
        codes = codes.wrapping_add(segment.units * usize::from(BITS) * LINE);
        column += segment.units * QUADS * QUAD;
    }
    totals.map(|total| {
        let mut values = [0.0; PANEL];
        for (values, total) in values.as_chunks_mut::<LANES>().0.iter_mut().zip(total) {
            // SAFETY: there is room for eight values.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), total) };
        }
        values
    })
}

/// Products of `H` halves of a panel, from `first` on, over one segment: column `c` of each quad in sum `c`.
///
/// # Safety
/// `units` units are there from `codes` and `column` on.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums_of_halves<const BITS: u8, const W: usize, const H: usize>(
    tile: &FloatTile<'_, W>,
    mut codes: *const u8,
    mut column: usize,
    units: usize,
    first: usize,
) -> [[[__m256; QUAD]; W]; H] {
    let mut sums = [[[_mm256_setzero_ps(); QUAD]; W]; H];
    for _ in 0..units {
        for line in 0..usize::from(BITS) {
            _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD + line * LINE).cast());
        }
        for_each_quad!(PLACE, {
            for half in 0..H {
                // SAFETY: the caller's.
                let columns = columns(unsafe { quad::<BITS>(codes, PLACE, first + half) });
                for token in 0..W {
                    for place in 0..QUAD {
                        // SAFETY: the caller's.
                        let value = unsafe { *tile.inputs[token].get_unchecked(column + place) };
                        let sum = &mut sums[half][token][place];
                        *sum = _mm256_fmadd_ps(columns[place], _mm256_set1_ps(value), *sum);
                    }
                }
            }
            column += QUAD;
        });
        codes = codes.wrapping_add(usize::from(BITS) * LINE);
    }
    sums
}

/// The four columns of half a quad as floats.
#[inline]
#[target_feature(enable = "avx2")]
fn columns(quad: __m256i) -> [__m256; QUAD] {
    let mask = _mm256_set1_epi32(0xFF);
    [
        _mm256_cvtepi32_ps(_mm256_and_si256(quad, mask)),
        _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32::<8>(quad), mask)),
        _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32::<16>(quad), mask)),
        _mm256_cvtepi32_ps(_mm256_srli_epi32::<24>(quad)),
    ]
}

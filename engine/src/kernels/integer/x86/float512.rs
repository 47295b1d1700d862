//! Few tokens of f32 with AVX-512: codes become floats in registers, a row in each lane.

use super::codes512::{quads, steps};
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::float::{AHEAD, FloatTile};
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::{PANEL, QUADS};
use std::arch::x86_64::*;

/// # Safety
/// As `FloatKernel` says: the machine has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
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

#[target_feature(enable = "avx512f,avx512bw")]
fn of_bits<const BITS: u8, const W: usize>(tile: &FloatTile<'_, W>) -> [[f32; PANEL]; W] {
    let mut totals = [_mm512_setzero_ps(); W];
    let mut codes = tile.codes.as_ptr();
    let mut column = 0;
    for (index, segment) in tile.segments.iter().enumerate() {
        let mut sums = [[_mm512_setzero_ps(); QUAD]; W];
        for _ in 0..segment.units {
            for line in 0..usize::from(BITS) {
                _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD + line * LINE).cast());
            }
            // SAFETY: `FloatTile::check` found every unit.
            let unit = unsafe { Unit::<BITS>::load(codes) };
            for quad in 0..QUADS {
                let columns = unit.columns(quad);
                for (token, sums) in sums.iter_mut().enumerate() {
                    for (place, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: `FloatTile::check` found every column.
                        let value = unsafe { *tile.inputs[token].get_unchecked(column + place) };
                        *sum = _mm512_fmadd_ps(columns[place], _mm512_set1_ps(value), *sum);
                    }
                }
                column += QUAD;
            }
            codes = codes.wrapping_add(usize::from(BITS) * LINE);
        }
        let (scale, zero) = steps(&tile.steps, segment.group);
        for (token, (total, [a, b, c, d])) in totals.iter_mut().zip(sums).enumerate() {
            let products = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
            let sum = _mm512_set1_ps(tile.sums[token][index]);
            let centred = _mm512_fnmadd_ps(zero, sum, products);
            *total = _mm512_fmadd_ps(scale, centred, *total);
        }
    }
    totals.map(|total| {
        let mut values = [0.0; PANEL];
        // SAFETY: there is room for sixteen values.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), total) };
        values
    })
}

/// The codes of a unit: bytes of a quad in each register, or nibbles as they lie.
struct Unit<const BITS: u8>([__m512i; QUADS]);

impl<const BITS: u8> Unit<BITS> {
    /// # Safety
    /// `BITS` lines are there to be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn load(codes: *const u8) -> Self {
        // SAFETY: the caller's.
        Self(unsafe {
            match BITS {
                4 => std::array::from_fn(|quad| {
                    _mm512_loadu_si512(codes.add(quad / 2 * LINE).cast())
                }),
                _ => quads::<BITS>(codes),
            }
        })
    }

    /// The four columns of a quad as floats.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn columns(&self, quad: usize) -> [__m512; QUAD] {
        let codes = self.0[quad];
        if BITS == 4 {
            // A permutation looks at the lowest four bits alone: no mask and no conversion.
            let levels = _mm512_setr_ps(
                0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0,
                15.0,
            );
            let first = 4 * (quad % 2) as u32;
            return std::array::from_fn(|column| {
                let shift = _mm512_set1_epi32((first + 8 * column as u32) as i32);
                _mm512_permutexvar_ps(_mm512_srlv_epi32(codes, shift), levels)
            });
        }
        let mask = _mm512_set1_epi32(0xFF);
        [
            _mm512_cvtepi32_ps(_mm512_and_si512(codes, mask)),
            _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<8>(codes), mask)),
            _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<16>(codes), mask)),
            _mm512_cvtepi32_ps(_mm512_srli_epi32::<24>(codes)),
        ]
    }
}

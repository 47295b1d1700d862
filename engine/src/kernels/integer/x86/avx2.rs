//! Tiles of plain AVX2: `vpmaddubsw` multiplies unsigned codes with signed activations and adds two neighbours into 16
//! bits, with saturation, so how many such sums may be added before they are widened depends on the bits.
//!
//! `RUN` sums of two products reach at most `RUN * 2 * max code * max |activation|`, which must stay below `2^15`:
//!
//! | bits | activations -127..=127 | activations -64..=63 |
//! | --- | --- | --- |
//! | 2, 3, 4 | 8 (30,480) | 8 |
//! | 5 | 4 (31,496) | 8 (31,744) |
//! | 6 | 2 (32,004) | 4 (32,256) |
//! | 8 | none: codes and activations are widened to 16 bits first | 1 (32,640) |
//!
//! Of whole bytes 4 tokens times 16 rows.

use super::codes256::{HALVES, broadcast, load_totals, quad, scale_sums, store_totals, unpack};
use crate::kernels::integer::activations::ActivationBits;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::QUADS;
use crate::kernels::integer::tile::{Kernel, Tile};
use std::arch::x86_64::*;

pub(in crate::kernels::integer) const KERNEL: Kernel = Kernel {
    tokens: 4,
    panels: 1,
    multiply,
    unpack,
};

/// Bytes that are asked for ahead of their use when codes come from memory.
const AHEAD: usize = 3072;
/// Stands for codes and activations that are widened first.
const WIDE: usize = 0;

/// Calls `tile::<bits, RUN, W>` for the tokens at hand.
macro_rules! of_tokens {
    ($bits:literal, $run:expr, $tile:expr) => {
        match $tile.tokens {
            1 => add::<$bits, { $run }, 1>($tile),
            2 => add::<$bits, { $run }, 2>($tile),
            3 => add::<$bits, { $run }, 3>($tile),
            _ => add::<$bits, { $run }, 4>($tile),
        }
    };
}

/// # Safety
/// As `Kernel::multiply` says: the machine has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply(tile: &Tile<'_>) {
    let eight = tile.activation_bits == ActivationBits::Eight;
    match (tile.bits, tile.significant_bits) {
        (2, _) => of_tokens!(2, 8, tile),
        (3, _) => of_tokens!(3, 8, tile),
        (4, _) => of_tokens!(4, 8, tile),
        (5, _) => of_tokens!(5, 4, tile),
        (6, _) => of_tokens!(6, 2, tile),
        (_, 0..=4) => of_tokens!(8, 8, tile),
        (_, 5) => of_tokens!(8, 4, tile),
        (_, 6) => of_tokens!(8, 2, tile),
        _ if eight => of_tokens!(8, WIDE, tile),
        _ => of_tokens!(8, 1, tile),
    }
}

/// `W` tokens times a panel of `BITS`.
#[target_feature(enable = "avx2,fma,f16c")]
fn add<const BITS: u8, const RUN: usize, const W: usize>(tile: &Tile<'_>) {
    let mut totals = load_totals::<W>(tile);
    let mut codes = tile.codes[0].as_ptr();
    let mut values = tile.values.as_ptr();
    let row = tile.stride * QUAD;
    for (index, segment) in tile.segments.iter().enumerate() {
        let mut sums = [[_mm256_setzero_si256(); HALVES]; W];
        for _ in 0..segment.units {
            for line in 0..usize::from(BITS) {
                _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD + line * LINE).cast());
            }
            // SAFETY: `Tile::check` found room for every unit of all segments.
            unsafe {
                match RUN {
                    WIDE => add_widened(codes, values, row, &mut sums),
                    _ => add_runs::<BITS, RUN, W>(codes, values, row, &mut sums),
                }
            }
            codes = codes.wrapping_add(usize::from(BITS) * LINE);
            values = values.wrapping_add(QUADS * row);
        }
        scale_sums(tile, index, segment.group, &sums, &mut totals);
    }
    store_totals(tile, &totals);
}

/// One unit, in runs that fit 16 bits.
///
/// # Safety
/// A unit of codes and its activations are there to be read.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_runs<const BITS: u8, const RUN: usize, const W: usize>(
    codes: *const u8,
    values: *const i8,
    row: usize,
    sums: &mut [[__m256i; HALVES]; W],
) {
    let ones = _mm256_set1_epi16(1);
    for run in 0..QUADS / RUN {
        let mut short = [[_mm256_setzero_si256(); HALVES]; W];
        for place in run * RUN..(run + 1) * RUN {
            for half in 0..HALVES {
                // SAFETY: the caller's.
                let codes = unsafe { quad::<BITS>(codes, place, half) };
                for (token, short) in short.iter_mut().enumerate() {
                    // SAFETY: the caller's.
                    let value = unsafe { broadcast(values.add(place * row + token * QUAD)) };
                    let products = _mm256_maddubs_epi16(codes, value);
                    short[half] = _mm256_add_epi16(short[half], products);
                }
            }
        }
        for (sums, short) in sums.iter_mut().zip(&short) {
            for half in 0..HALVES {
                sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(short[half], ones));
            }
        }
    }
}

/// One unit of whole bytes, even and odd columns of each quad as 16 bits.
///
/// # Safety
/// A unit of codes and its activations are there to be read.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_widened<const W: usize>(
    codes: *const u8,
    values: *const i8,
    row: usize,
    sums: &mut [[__m256i; HALVES]; W],
) {
    let low = _mm256_set1_epi16(0xFF);
    for place in 0..QUADS {
        // SAFETY: the caller's.
        let quads: [__m256i; HALVES] =
            std::array::from_fn(|half| unsafe { quad::<8>(codes, place, half) });
        let even = quads.map(|quad| _mm256_and_si256(quad, low));
        let odd = quads.map(|quad| _mm256_srli_epi16::<8>(quad));
        for (token, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's.
            let value = unsafe { broadcast(values.add(place * row + token * QUAD)) };
            let even_values = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(value));
            let odd_values = _mm256_srai_epi16::<8>(value);
            for half in 0..HALVES {
                let products = _mm256_add_epi32(
                    _mm256_madd_epi16(even[half], even_values),
                    _mm256_madd_epi16(odd[half], odd_values),
                );
                sums[half] = _mm256_add_epi32(sums[half], products);
            }
        }
    }
}

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
use super::for_each_quad;
use crate::kernels::integer::activations::ActivationBits;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::QUADS;
use crate::kernels::integer::tile::{Kernel, Tile};
use std::arch::x86_64::*;

pub(in crate::kernels::integer) const KERNEL: Kernel = Kernel {
    tokens: 4,
    panels: 1,
    wants_words: true,
    multiply,
    unpack,
};

/// Bytes that are asked for ahead of their use when codes come from memory.
const AHEAD: usize = 5120;
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
    let mut totals = load_totals::<W>(&tile.totals);
    let mut codes = tile.codes[0].as_ptr();
    let mut values = tile.values.as_ptr();
    let mut words = tile.words.as_ptr();
    let row = tile.stride * QUAD;
    for (index, segment) in tile.segments.iter().enumerate() {
        // SAFETY: `Tile::check` found room for every unit of all segments.
        let sums = unsafe {
            match RUN {
                WIDE => sums_widened::<W>(codes, words, tile.stride, segment.units),
                _ => sums_of_runs::<BITS, RUN, W>(codes, values, row, segment.units),
            }
        };
        codes = codes.wrapping_add(segment.units * usize::from(BITS) * LINE);
        values = values.wrapping_add(segment.units * QUADS * row);
        words = words.wrapping_add(segment.units * QUADS * tile.stride);
        scale_sums(tile, index, segment.group, &sums, &mut totals);
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of one segment, in runs that fit 16 bits. Not inlined: with the epilogue beside it the compiler would store
/// every sum at every step.
///
/// # Safety
/// `units` units of codes and their activations are there to be read.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums_of_runs<const BITS: u8, const RUN: usize, const W: usize>(
    mut codes: *const u8,
    mut values: *const i8,
    row: usize,
    units: usize,
) -> [[__m256i; HALVES]; W] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); HALVES]; W];
    for _ in 0..units {
        ask_for_lines::<BITS>(codes);
        let mut short = [[_mm256_setzero_si256(); HALVES]; W];
        for_each_quad!(PLACE, {
            // SAFETY: the caller's.
            let quads: [__m256i; HALVES] =
                std::array::from_fn(|half| unsafe { quad::<BITS>(codes, PLACE, half) });
            for token in 0..W {
                // SAFETY: the caller's.
                let value = unsafe { broadcast(values.add(PLACE * row + token * QUAD)) };
                for half in 0..HALVES {
                    let products = _mm256_maddubs_epi16(quads[half], value);
                    let short = &mut short[token][half];
                    *short = if PLACE.is_multiple_of(RUN) {
                        products
                    } else {
                        _mm256_add_epi16(*short, products)
                    };
                    if (PLACE + 1).is_multiple_of(RUN) {
                        let sum = &mut sums[token][half];
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*short, ones));
                    }
                }
            }
        });
        codes = codes.wrapping_add(usize::from(BITS) * LINE);
        values = values.wrapping_add(QUADS * row);
    }
    sums
}

/// Sums of one segment of whole bytes, even and odd columns of each quad as 16 bits.
///
/// # Safety
/// `units` units of codes and their activations are there to be read.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums_widened<const W: usize>(
    mut codes: *const u8,
    mut words: *const [i16; QUAD],
    row: usize,
    units: usize,
) -> [[__m256i; HALVES]; W] {
    let low = _mm256_set1_epi16(0xFF);
    let mut sums = [[_mm256_setzero_si256(); HALVES]; W];
    for _ in 0..units {
        ask_for_lines::<8>(codes);
        for place in 0..QUADS {
            // SAFETY: the caller's.
            let quads: [__m256i; HALVES] =
                std::array::from_fn(|half| unsafe { quad::<8>(codes, place, half) });
            let even = quads.map(|quad| _mm256_and_si256(quad, low));
            let odd = quads.map(|quad| _mm256_srli_epi16::<8>(quad));
            for token in 0..W {
                // SAFETY: the caller's.
                let (even_values, odd_values) = unsafe {
                    let words = words.add(token).cast::<i8>();
                    (broadcast(words), broadcast(words.add(QUAD)))
                };
                for half in 0..HALVES {
                    let sum = &mut sums[token][half];
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(even[half], even_values));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(odd[half], odd_values));
                }
            }
            words = words.wrapping_add(row);
        }
        codes = codes.wrapping_add(8 * LINE);
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn ask_for_lines<const BITS: u8>(codes: *const u8) {
    for line in 0..usize::from(BITS) {
        _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD + line * LINE).cast());
    }
}

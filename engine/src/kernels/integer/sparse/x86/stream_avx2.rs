//! Few tokens on plain AVX2: units go from memory to sums in registers, half a panel at a time.
//!
//! Codes of at most four bits are multiplied as they are, and the activations that meet one are summed beside them:
//! 16 bits hold four octets of the one (`4 * 2 * 15 * 127`) and a whole segment of the other (`128 * 2 * 127`). Codes of
//! eight bits have their zero taken off first and are multiplied as magnitudes, with activations of their sign.

use super::avx2::{broadcast, scale_sums};
use super::unpack256::{ask_for_unit, kept};
use crate::kernels::integer::sparse::panels::{OCTET, OCTETS, unit_bytes};
use crate::kernels::integer::sparse::tile::SparseTile;
use crate::kernels::integer::x86::codes256::{HALVES, load_totals, steps, store_totals};
use std::arch::x86_64::*;

/// Calls `$tile::<$bits, W>($argument)` for the tokens at hand, at most four.
macro_rules! of_tokens {
    ($tile:ident, $bits:literal, $argument:expr) => {
        match $argument.tokens {
            1 => $tile::<$bits, 1>($argument),
            2 => $tile::<$bits, 2>($argument),
            3 => $tile::<$bits, 3>($argument),
            _ => $tile::<$bits, 4>($argument),
        }
    };
}

/// # Safety
/// As `SparseKernel::stream` says: the machine has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn stream(tile: &SparseTile<'_>) {
    match tile.bits {
        2 => of_tokens!(stream_bits, 2, tile),
        4 => of_tokens!(stream_bits, 4, tile),
        _ => of_tokens!(stream_bits, 8, tile),
    }
}

/// `W` tokens times one panel.
#[target_feature(enable = "avx2,fma,f16c")]
fn stream_bits<const BITS: i32, const W: usize>(tile: &SparseTile<'_>) {
    let mut totals = load_totals::<W>(&tile.totals);
    let mut unit = tile.packed.as_ptr();
    let mut octets = tile.octets.as_ptr();
    let row = tile.stride * OCTET;
    for (index, segment) in tile.segments.iter().enumerate() {
        let (_, zeros) = steps(&tile.steps_of_panels[0], segment.group);
        let mut sums = [[_mm256_setzero_si256(); HALVES]; W];
        for half in 0..HALVES {
            let zeros = _mm256_cvtps_epi32(zeros[half]);
            let size = [row, segment.units];
            // SAFETY: `SparseTile::check` found room for every unit of all segments.
            let of_half = unsafe { sums_of_half::<BITS, W>(unit, octets, half, size, zeros) };
            for (sums, sum) in sums.iter_mut().zip(of_half) {
                sums[half] = sum;
            }
        }
        unit = unit.wrapping_add(segment.units * unit_bytes(BITS as u8));
        octets = octets.wrapping_add(segment.units * OCTETS * row);
        scale_sums(tile, index, segment.group, &sums, &mut totals);
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of one segment and half.
///
/// # Safety
/// `units` units and their activations are there to be read.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums_of_half<const BITS: i32, const W: usize>(
    mut unit: *const u8,
    mut octets: *const u8,
    half: usize,
    [row, units]: [usize; 2],
    zeros: __m256i,
) -> [__m256i; W] {
    let ones = _mm256_set1_epi16(1);
    let zeros_of_bytes = _mm256_mullo_epi32(zeros, _mm256_set1_epi32(0x0101_0101));
    let mut sums = [_mm256_setzero_si256(); W];
    let mut met = [_mm256_setzero_si256(); W];
    for _ in 0..units {
        ask_for_unit::<BITS>(unit);
        let mut short = [_mm256_setzero_si256(); W];
        for octet in 0..OCTETS {
            // SAFETY: the caller's.
            let (codes, control) = unsafe { kept::<BITS>(unit, octet, half) };
            for token in 0..W {
                // SAFETY: as above.
                let octet_of = unsafe { broadcast(octets.add(octet * row + token * OCTET)) };
                let picked = _mm256_shuffle_epi8(octet_of, control);
                if BITS == 8 {
                    let value = _mm256_sub_epi8(codes, zeros_of_bytes);
                    let signed = _mm256_sign_epi8(picked, value);
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(value), signed);
                    sums[token] = _mm256_add_epi32(sums[token], _mm256_madd_epi16(pairs, ones));
                } else {
                    let pairs = _mm256_maddubs_epi16(codes, picked);
                    short[token] = _mm256_add_epi16(short[token], pairs);
                    let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), picked);
                    met[token] = _mm256_add_epi16(met[token], pairs);
                }
            }
        }
        if BITS < 8 {
            for (sum, short) in sums.iter_mut().zip(short) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, ones));
            }
        }
        unit = unit.wrapping_add(unit_bytes(BITS as u8));
        octets = octets.wrapping_add(OCTETS * row);
    }
    for (sum, met) in sums.iter_mut().zip(met) {
        let met = _mm256_madd_epi16(met, ones);
        *sum = _mm256_sub_epi32(*sum, _mm256_mullo_epi32(zeros, met));
    }
    sums
}

//! Tiles of AVX2 with AVX-VNNI: as those of AVX-512, with half a panel in each register.
//!
//! Of whole bytes 6 tokens times 16 rows: 12 sums, two registers of codes and a broadcast. Of fewer bits one panel times
//! up to four tokens, unpacked in registers.

use super::codes256::{
    HALVES, VECTOR, broadcast, load_totals, quad, scale_sums, store_totals, unpack,
};
use super::{for_each_quad, stream_of_tokens};
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::QUADS;
use crate::kernels::integer::tile::{Kernel, Tile};
use std::arch::x86_64::*;

pub(in crate::kernels::integer) const KERNEL: Kernel = Kernel {
    tokens: 6,
    panels: 1,
    wants_words: false,
    multiply,
    unpack,
};

/// Bytes that are asked for ahead of their use when codes come from memory.
const AHEAD: usize = 5120;

/// # Safety
/// As `Kernel::multiply` says: the machine has AVX2, FMA, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn multiply(tile: &Tile<'_>) {
    match tile.bits {
        2 => stream_of_tokens!(stream, 2, tile),
        3 => stream_of_tokens!(stream, 3, tile),
        4 => stream_of_tokens!(stream, 4, tile),
        5 => stream_of_tokens!(stream, 5, tile),
        6 => stream_of_tokens!(stream, 6, tile),
        _ => match tile.tokens {
            1 => stream::<8, 1, 4>(tile),
            2 => stream::<8, 2, 2>(tile),
            3 => bytes::<3>(tile),
            4 => bytes::<4>(tile),
            5 => bytes::<5>(tile),
            _ => bytes::<6>(tile),
        },
    }
}

/// `W` tokens times a panel of whole bytes.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn bytes<const W: usize>(tile: &Tile<'_>) {
    let mut totals = load_totals::<W>(&tile.totals);
    let mut codes = tile.codes[0].as_ptr();
    let mut values = tile.values.as_ptr();
    let row = tile.stride * QUAD;
    for (index, segment) in tile.segments.iter().enumerate() {
        let quads = segment.units * QUADS;
        // SAFETY: `Tile::check` found room for every quad of all segments.
        let sums = unsafe { sums_of_bytes::<W>(codes, values, row, quads) };
        codes = codes.wrapping_add(quads * LINE);
        values = values.wrapping_add(quads * row);
        scale_sums(tile, index, segment.group, &sums, &mut totals);
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of one segment. Not inlined: with the epilogue beside it the compiler would store every sum at every step.
///
/// # Safety
/// `quads` quads of codes and rows of activations are there to be read.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn sums_of_bytes<const W: usize>(
    mut codes: *const u8,
    mut values: *const i8,
    row: usize,
    quads: usize,
) -> [[__m256i; HALVES]; W] {
    let mut sums = [[_mm256_setzero_si256(); HALVES]; W];
    for _ in 0..quads {
        // SAFETY: the caller's.
        unsafe {
            let low = _mm256_loadu_si256(codes.cast());
            let high = _mm256_loadu_si256(codes.add(VECTOR).cast());
            for token in 0..W {
                let value = broadcast(values.add(token * QUAD));
                sums[token][0] = _mm256_dpbusd_avx_epi32(sums[token][0], low, value);
                sums[token][1] = _mm256_dpbusd_avx_epi32(sums[token][1], high, value);
            }
        }
        codes = codes.wrapping_add(LINE);
        values = values.wrapping_add(row);
    }
    sums
}

/// `W` tokens times a panel of `BITS`, in `S` separate sums each.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn stream<const BITS: u8, const W: usize, const S: usize>(tile: &Tile<'_>) {
    let mut totals = load_totals::<W>(&tile.totals);
    let mut codes = tile.codes[0].as_ptr();
    let mut values = tile.values.as_ptr();
    let row = tile.stride * QUAD;
    for (index, segment) in tile.segments.iter().enumerate() {
        // SAFETY: `Tile::check` found room for every unit of all segments.
        let sums = unsafe { sums_of_units::<BITS, W, S>(codes, values, row, segment.units) };
        codes = codes.wrapping_add(segment.units * usize::from(BITS) * LINE);
        values = values.wrapping_add(segment.units * QUADS * row);
        scale_sums(tile, index, segment.group, &sums, &mut totals);
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of one segment.
///
/// # Safety
/// `units` units of codes and their activations are there to be read.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn sums_of_units<const BITS: u8, const W: usize, const S: usize>(
    mut codes: *const u8,
    mut values: *const i8,
    row: usize,
    units: usize,
) -> [[__m256i; HALVES]; W] {
    let mut sums = [[[_mm256_setzero_si256(); HALVES]; W]; S];
    for _ in 0..units {
        for line in 0..usize::from(BITS) {
            _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD + line * LINE).cast());
        }
        for_each_quad!(PLACE, {
            // SAFETY: the caller's.
            let quads: [__m256i; HALVES] =
                std::array::from_fn(|half| unsafe { quad::<BITS>(codes, PLACE, half) });
            for token in 0..W {
                // SAFETY: as above.
                let value = unsafe { broadcast(values.add(PLACE * row + token * QUAD)) };
                let sums = &mut sums[PLACE % S][token];
                sums[0] = _mm256_dpbusd_avx_epi32(sums[0], quads[0], value);
                sums[1] = _mm256_dpbusd_avx_epi32(sums[1], quads[1], value);
            }
        });
        codes = codes.wrapping_add(usize::from(BITS) * LINE);
        values = values.wrapping_add(QUADS * row);
    }
    let mut whole = sums[0];
    for other in &sums[1..] {
        for (sum, other) in whole
            .as_flattened_mut()
            .iter_mut()
            .zip(other.as_flattened())
        {
            *sum = _mm256_add_epi32(*sum, *other);
        }
    }
    whole
}

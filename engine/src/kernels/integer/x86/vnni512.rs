//! Tiles of AVX-512 with VNNI: `vpdpbusd` multiplies unsigned codes with signed activations and adds four neighbours
//! into 32 bits without saturation, a row in each lane.
//!
//! Of whole bytes 12 tokens times 32 rows: 24 sums, two registers of codes and a broadcast. Of fewer bits one panel
//! times up to four tokens, unpacked in registers.

use super::codes512::{quads, steps, unpack};
use super::stream_of_tokens;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::{PANEL, QUADS};
use crate::kernels::integer::tile::{Kernel, Tile, Totals};
use std::arch::x86_64::*;

pub(in crate::kernels::integer) const KERNEL: Kernel = Kernel {
    tokens: 12,
    panels: 2,
    wants_words: false,
    multiply,
    unpack,
};

/// Bytes that are asked for ahead of their use when codes come from memory.
const AHEAD: usize = 5120;

/// # Safety
/// As `Kernel::multiply` says: the machine has AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply(tile: &Tile<'_>) {
    match (tile.bits, tile.panels) {
        (2, _) => stream_of_tokens!(stream, 2, tile),
        (3, _) => stream_of_tokens!(stream, 3, tile),
        (4, _) => stream_of_tokens!(stream, 4, tile),
        (5, _) => stream_of_tokens!(stream, 5, tile),
        (6, _) => stream_of_tokens!(stream, 6, tile),
        (_, 1) if tile.tokens <= 4 => stream_of_tokens!(stream, 8, tile),
        (_, 1) => bytes_of_tokens::<1>(tile),
        _ => bytes_of_tokens::<2>(tile),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn bytes_of_tokens<const P: usize>(tile: &Tile<'_>) {
    match tile.tokens {
        1 => bytes::<P, 1>(tile),
        2 => bytes::<P, 2>(tile),
        3 => bytes::<P, 3>(tile),
        4 => bytes::<P, 4>(tile),
        5 => bytes::<P, 5>(tile),
        6 => bytes::<P, 6>(tile),
        7 => bytes::<P, 7>(tile),
        8 => bytes::<P, 8>(tile),
        9 => bytes::<P, 9>(tile),
        10 => bytes::<P, 10>(tile),
        11 => bytes::<P, 11>(tile),
        _ => bytes::<P, 12>(tile),
    }
}

/// `W` tokens times `P` panels of whole bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn bytes<const P: usize, const W: usize>(tile: &Tile<'_>) {
    let mut totals = load_totals::<P, W>(&tile.totals);
    let mut codes: [*const u8; P] = std::array::from_fn(|panel| tile.codes[panel].as_ptr());
    let mut values = tile.values.as_ptr();
    let row = tile.stride * QUAD;
    for (index, segment) in tile.segments.iter().enumerate() {
        let quads = segment.units * QUADS;
        // SAFETY: `Tile::check` found room for every quad of all segments.
        let sums = unsafe { sums_of_bytes::<P, W>(codes, values, row, quads) };
        codes = codes.map(|codes| codes.wrapping_add(quads * LINE));
        values = values.wrapping_add(quads * row);
        for (panel, steps_of_panel) in tile.steps_of_panels[..P].iter().enumerate() {
            let (scale, zero) = steps(steps_of_panel, segment.group);
            for (token, (totals, sums)) in totals.iter_mut().zip(&sums).enumerate() {
                totals[panel] = scaled(tile, index, token, scale, zero, sums[panel], totals[panel]);
            }
        }
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of one segment. Not inlined: with the epilogue beside it the compiler would store every sum at every step.
///
/// # Safety
/// `quads` quads of codes and rows of activations are there to be read.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn sums_of_bytes<const P: usize, const W: usize>(
    mut codes: [*const u8; P],
    mut values: *const i8,
    row: usize,
    quads: usize,
) -> [[__m512i; P]; W] {
    let mut sums = [[_mm512_setzero_si512(); P]; W];
    for _ in 0..quads {
        // SAFETY: the caller's.
        unsafe {
            let quads: [__m512i; P] =
                std::array::from_fn(|panel| _mm512_loadu_si512(codes[panel].cast()));
            for token in 0..W {
                let value = broadcast(values.add(token * QUAD));
                for panel in 0..P {
                    sums[token][panel] =
                        _mm512_dpbusd_epi32(sums[token][panel], quads[panel], value);
                }
            }
        }
        codes = codes.map(|codes| codes.wrapping_add(LINE));
        values = values.wrapping_add(row);
    }
    sums
}

/// `W` tokens times one panel of `BITS`, in `S` separate sums each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn stream<const BITS: u8, const W: usize, const S: usize>(tile: &Tile<'_>) {
    let mut totals = load_totals::<1, W>(&tile.totals);
    let mut codes = tile.codes[0].as_ptr();
    let mut values = tile.values.as_ptr();
    let row = tile.stride * QUAD;
    for (index, segment) in tile.segments.iter().enumerate() {
        let mut sums = [[_mm512_setzero_si512(); S]; W];
        for _ in 0..segment.units {
            for line in 0..usize::from(BITS) {
                _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD + line * LINE).cast());
            }
            // SAFETY: `Tile::check` found room for every unit of all segments.
            let quads = unsafe { quads::<BITS>(codes) };
            for (quad, &codes) in quads.iter().enumerate() {
                for (token, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let value = unsafe { broadcast(values.add(quad * row + token * QUAD)) };
                    let sum = &mut sums[quad % S];
                    *sum = _mm512_dpbusd_epi32(*sum, codes, value);
                }
            }
            codes = codes.wrapping_add(usize::from(BITS) * LINE);
            values = values.wrapping_add(QUADS * row);
        }
        let (scale, zero) = steps(&tile.steps_of_panels[0], segment.group);
        for (token, (totals, sums)) in totals.iter_mut().zip(&sums).enumerate() {
            let sum = sums[1..]
                .iter()
                .fold(sums[0], |sum, &other| _mm512_add_epi32(sum, other));
            totals[0] = scaled(tile, index, token, scale, zero, sum, totals[0]);
        }
    }
    store_totals(&tile.totals, &totals);
}

/// `total + scale * step * (sum - zero * Σ activation)`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn scaled(
    tile: &Tile<'_>,
    segment: usize,
    token: usize,
    scale: __m512,
    zero: __m512,
    sum: __m512i,
    total: __m512,
) -> __m512 {
    let place = segment * tile.stride + token;
    // SAFETY: `Tile::check` found every sum and step.
    let (activations, step) = unsafe {
        (
            *tile.sums.get_unchecked(place),
            *tile.steps.get_unchecked(place),
        )
    };
    let products = _mm512_cvtepi32_ps(sum);
    let centred = _mm512_fnmadd_ps(zero, _mm512_set1_ps(activations), products);
    _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(step)), centred, total)
}

/// Four activations in every lane.
///
/// # Safety
/// Four bytes are there to be read.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn broadcast(values: *const i8) -> __m512i {
    // SAFETY: the caller's.
    _mm512_set1_epi32(unsafe { values.cast::<i32>().read_unaligned() })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn mask_of_rows(place: &Totals, panel: usize) -> __mmask16 {
    let rows = place.rows.saturating_sub(panel * PANEL).min(PANEL);
    ((1u32 << rows) - 1) as __mmask16
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::kernels::integer) fn load_totals<const P: usize, const W: usize>(
    place: &Totals,
) -> [[__m512; P]; W] {
    if place.first {
        return [[_mm512_setzero_ps(); P]; W];
    }
    std::array::from_fn(|token| {
        std::array::from_fn(|panel| {
            let output = place
                .start
                .wrapping_add(token * place.stride + panel * PANEL);
            // SAFETY: the mask leaves only rows that lie in the output.
            unsafe { _mm512_maskz_loadu_ps(mask_of_rows(place, panel), output) }
        })
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::kernels::integer) fn store_totals<const P: usize, const W: usize>(
    place: &Totals,
    totals: &[[__m512; P]; W],
) {
    for (token, totals) in totals.iter().enumerate() {
        for (panel, &total) in totals.iter().enumerate() {
            let output = place
                .start
                .wrapping_add(token * place.stride + panel * PANEL);
            // SAFETY: the mask leaves only rows that lie in the output, which nobody else touches.
            unsafe { _mm512_mask_storeu_ps(output, mask_of_rows(place, panel), total) };
        }
    }
}

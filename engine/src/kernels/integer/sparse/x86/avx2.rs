//! Tiles of plain AVX2: `vpshufb` picks a row's four activations out of eight; `vpmaddubsw` multiplies and adds two
//! neighbours into 16 bits, with saturation, so one factor is kept small.
//!
//! | values | activations | so that two products fit 16 bits |
//! | --- | --- | --- |
//! | -15..=15 | +128: 1..=255 | four pairs are added before they are widened: `4 * 2 * 15 * 255 = 30,600` |
//! | -128..=127 | +64: 0..=127 | `2 * 128 * 127 = 32,512` |
//! | -128..=127 | as they are, -127..=127 | magnitudes of values times activations of their sign: as above |
//!
//! 4 tokens times 16 rows.

use super::stream_avx2::stream;
use super::unpack256::unpack;
use crate::kernels::integer::activations::{ActivationBits, Offset};
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::sparse::panels::{OCTET, OCTETS};
use crate::kernels::integer::sparse::tile::{SparseKernel, SparseTile};
use crate::kernels::integer::x86::codes256::{HALVES, VECTOR, load_totals, steps, store_totals};
use std::arch::x86_64::*;

pub(in crate::kernels::integer::sparse) const KERNEL: SparseKernel = SparseKernel {
    tokens: 4,
    panels: 1,
    offset: |bits, activations| match (bits, activations) {
        (0..=4, _) => Offset::Full,
        (_, ActivationBits::Seven) => Offset::Half,
        (_, ActivationBits::Eight) => Offset::None,
    },
    unpack,
    multiply,
    stream: Some(stream),
};

/// Values and controls of a panel.
pub(super) type Pointers = [*const u8; 2];

/// Values of at most four bits times unsigned activations.
const NARROW: u8 = 0;
/// Values of eight bits times unsigned activations of seven.
const SEVEN: u8 = 1;
/// Values of eight bits times signed activations.
const SIGNED: u8 = 2;

/// # Safety
/// As `SparseKernel::multiply` says: the machine has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply(tile: &SparseTile<'_>) {
    match tile.offset {
        Offset::Full => of_tokens::<NARROW>(tile),
        Offset::Half => of_tokens::<SEVEN>(tile),
        Offset::None => of_tokens::<SIGNED>(tile),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn of_tokens<const KIND: u8>(tile: &SparseTile<'_>) {
    match tile.tokens {
        1 => add::<KIND, 1>(tile),
        2 => add::<KIND, 2>(tile),
        3 => add::<KIND, 3>(tile),
        _ => add::<KIND, 4>(tile),
    }
}

/// `W` tokens times a panel.
#[target_feature(enable = "avx2,fma,f16c")]
fn add<const KIND: u8, const W: usize>(tile: &SparseTile<'_>) {
    let mut totals = load_totals::<W>(&tile.totals);
    let mut values = tile.values[0].as_ptr();
    let mut controls = tile.controls[0].as_ptr();
    let mut octets = tile.octets.as_ptr();
    let row = tile.stride * OCTET;
    for (index, segment) in tile.segments.iter().enumerate() {
        let count = segment.units * OCTETS;
        let first = tile.corrections[0][index].as_ptr().cast();
        let at = [values, controls];
        // SAFETY: `SparseTile::check` found room for every octet of all segments.
        let sums = unsafe { sums::<KIND, W>(first, at, octets, [row, segment.units]) };
        values = values.wrapping_add(count * LINE);
        controls = controls.wrapping_add(count * LINE);
        octets = octets.wrapping_add(count * row);
        scale_sums(tile, index, segment.group, &sums, &mut totals);
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of one segment. Not inlined: with the epilogue beside it the compiler would store every sum at every step.
///
/// # Safety
/// `units` units of values, controls and activations are there to be read, and a panel of first sums.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums<const KIND: u8, const W: usize>(
    first: *const __m256i,
    [mut values, mut controls]: Pointers,
    mut octets: *const u8,
    [row, units]: [usize; 2],
) -> [[__m256i; HALVES]; W] {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: the caller's.
    let mut sums = [unsafe { [_mm256_loadu_si256(first), _mm256_loadu_si256(first.add(1))] }; W];
    for _ in 0..units {
        let mut short = [[_mm256_setzero_si256(); HALVES]; W];
        for _ in 0..OCTETS {
            for token in 0..W {
                for half in 0..HALVES {
                    // SAFETY: the caller's.
                    let (pick, value, octet) = unsafe {
                        (
                            _mm256_loadu_si256(controls.add(half * VECTOR).cast()),
                            _mm256_loadu_si256(values.add(half * VECTOR).cast()),
                            broadcast(octets.add(token * OCTET)),
                        )
                    };
                    let picked = _mm256_shuffle_epi8(octet, pick);
                    let products = if KIND == SIGNED {
                        let signed = _mm256_sign_epi8(picked, value);
                        _mm256_maddubs_epi16(_mm256_abs_epi8(value), signed)
                    } else {
                        _mm256_maddubs_epi16(picked, value)
                    };
                    if KIND == NARROW {
                        let short = &mut short[token][half];
                        *short = _mm256_add_epi16(*short, products);
                    } else {
                        let sum = &mut sums[token][half];
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, ones));
                    }
                }
            }
            values = values.wrapping_add(LINE);
            controls = controls.wrapping_add(LINE);
            octets = octets.wrapping_add(row);
        }
        if KIND == NARROW {
            for (sum, short) in sums.as_flattened_mut().iter_mut().zip(short.as_flattened()) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*short, ones));
            }
        }
    }
    sums
}

/// Eight activations in every half lane.
///
/// # Safety
/// Eight bytes are there to be read.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn broadcast(octet: *const u8) -> __m256i {
    // SAFETY: the caller's.
    _mm256_set1_epi64x(unsafe { octet.cast::<i64>().read_unaligned() })
}

/// `total + scale * step * sum` for every token and half.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn scale_sums<const W: usize>(
    tile: &SparseTile<'_>,
    segment: usize,
    group: usize,
    sums: &[[__m256i; HALVES]; W],
    totals: &mut [[__m256; HALVES]; W],
) {
    let (scales, _) = steps(&tile.steps_of_panels[0], group);
    for (token, (totals, sums)) in totals.iter_mut().zip(sums).enumerate() {
        let step = _mm256_set1_ps(tile.steps[segment * tile.stride + token]);
        for half in 0..HALVES {
            let products = _mm256_cvtepi32_ps(sums[half]);
            let scale = _mm256_mul_ps(scales[half], step);
            totals[half] = _mm256_fmadd_ps(scale, products, totals[half]);
        }
    }
}

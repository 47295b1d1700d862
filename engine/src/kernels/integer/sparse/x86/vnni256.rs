//! Tiles of AVX2 with AVX-VNNI: as those of AVX-512, with half a panel in each register. 4 tokens times 16 rows:
//! eight sums, values and controls of two halves, and two to work with.

use super::avx2::{Pointers, broadcast, scale_sums};
use super::unpack256::{ask_for_unit, kept, unpack};
use crate::kernels::integer::activations::Offset;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::sparse::panels::{OCTET, OCTETS, unit_bytes};
use crate::kernels::integer::sparse::tile::{SparseKernel, SparseTile};
use crate::kernels::integer::x86::codes256::{HALVES, VECTOR, load_totals, steps, store_totals};
use crate::kernels::integer::x86::stream_of_tokens;
use std::arch::x86_64::*;

pub(in crate::kernels::integer::sparse) const KERNEL: SparseKernel = SparseKernel {
    tokens: 4,
    panels: 1,
    offset: |_, _| Offset::Full,
    unpack,
    multiply,
    stream: Some(stream),
};

/// # Safety
/// As `SparseKernel::multiply` says: the machine has AVX2, FMA, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn multiply(tile: &SparseTile<'_>) {
    match tile.tokens {
        1 => add::<1>(tile),
        2 => add::<2>(tile),
        3 => add::<3>(tile),
        _ => add::<4>(tile),
    }
}

/// `W` tokens times a panel.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn add<const W: usize>(tile: &SparseTile<'_>) {
    let mut totals = load_totals::<W>(&tile.totals);
    let mut values = tile.values[0].as_ptr();
    let mut controls = tile.controls[0].as_ptr();
    let mut octets = tile.octets.as_ptr();
    let row = tile.stride * OCTET;
    for (index, segment) in tile.segments.iter().enumerate() {
        let count = segment.units * OCTETS;
        let first = tile.corrections[0][index].as_ptr().cast();
        // SAFETY: `SparseTile::check` found room for every octet of all segments.
        let sums = unsafe { sums::<W>(first, [values, controls], octets, [row, count]) };
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
/// `count` octets of values, controls and rows of activations are there to be read, and a panel of first sums.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn sums<const W: usize>(
    first: *const __m256i,
    [mut values, mut controls]: Pointers,
    mut octets: *const u8,
    [row, count]: [usize; 2],
) -> [[__m256i; HALVES]; W] {
    // SAFETY: the caller's.
    let mut sums = [unsafe { [_mm256_loadu_si256(first), _mm256_loadu_si256(first.add(1))] }; W];
    for _ in 0..count {
        // SAFETY: the caller's.
        unsafe {
            let load = |from: *const u8| -> [__m256i; HALVES] {
                std::array::from_fn(|half| _mm256_loadu_si256(from.add(half * VECTOR).cast()))
            };
            let (picks, of_rows) = (load(controls), load(values));
            for token in 0..W {
                let octet = broadcast(octets.add(token * OCTET));
                for half in 0..HALVES {
                    let picked = _mm256_shuffle_epi8(octet, picks[half]);
                    let sum = &mut sums[token][half];
                    *sum = _mm256_dpbusd_avx_epi32(*sum, picked, of_rows[half]);
                }
            }
        }
        values = values.wrapping_add(LINE);
        controls = controls.wrapping_add(LINE);
        octets = octets.wrapping_add(row);
    }
    sums
}

/// # Safety
/// As `SparseKernel::stream` says.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn stream(tile: &SparseTile<'_>) {
    match tile.bits {
        2 => stream_of_tokens!(stream_bits, 2, tile),
        4 => stream_of_tokens!(stream_bits, 4, tile),
        _ => stream_of_tokens!(stream_bits, 8, tile),
    }
}

/// `W` tokens times one panel, half after half, in `S` separate sums each.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn stream_bits<const BITS: i32, const W: usize, const S: usize>(tile: &SparseTile<'_>) {
    let mut totals = load_totals::<W>(&tile.totals);
    let mut unit = tile.packed.as_ptr();
    let mut octets = tile.octets.as_ptr();
    let row = tile.stride * OCTET;
    for (index, segment) in tile.segments.iter().enumerate() {
        let (_, zeros) = steps(&tile.steps_of_panels[0], segment.group);
        let zeros = zeros.map(|zero| _mm256_cvtps_epi32(zero));
        let mut sums = [[_mm256_setzero_si256(); HALVES]; W];
        for half in 0..HALVES {
            // SAFETY: `SparseTile::check` found room for every unit of all segments.
            let of_half =
                unsafe { sums_of_half::<BITS, W, S>(unit, octets, half, [row, segment.units]) };
            for (sums, [sum, kept]) in sums.iter_mut().zip(of_half) {
                sums[half] = _mm256_sub_epi32(sum, _mm256_mullo_epi32(zeros[half], kept));
            }
        }
        unit = unit.wrapping_add(segment.units * unit_bytes(BITS as u8));
        octets = octets.wrapping_add(segment.units * OCTETS * row);
        scale_sums(tile, index, segment.group, &sums, &mut totals);
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of codes of one segment, and of the activations that meet one.
///
/// # Safety
/// `units` units and their activations are there to be read.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn sums_of_half<const BITS: i32, const W: usize, const S: usize>(
    mut unit: *const u8,
    mut octets: *const u8,
    half: usize,
    [row, units]: [usize; 2],
) -> [[__m256i; 2]; W] {
    let mut sums = [[[_mm256_setzero_si256(); 2]; S]; W];
    for _ in 0..units {
        ask_for_unit::<BITS>(unit);
        for octet in 0..OCTETS {
            // SAFETY: the caller's.
            let (codes, control) = unsafe { kept::<BITS>(unit, octet, half) };
            for (token, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let octet_of = unsafe { broadcast(octets.add(octet * row + token * OCTET)) };
                let picked = _mm256_shuffle_epi8(octet_of, control);
                let [sum, kept] = &mut sums[octet % S];
                *sum = _mm256_dpbusd_avx_epi32(*sum, codes, picked);
                *kept = _mm256_dpbusd_avx_epi32(*kept, _mm256_set1_epi8(1), picked);
            }
        }
        unit = unit.wrapping_add(unit_bytes(BITS as u8));
        octets = octets.wrapping_add(OCTETS * row);
    }
    sums.map(|sums| {
        sums[1..].iter().fold(sums[0], |[sum, kept], other| {
            [
                _mm256_add_epi32(sum, other[0]),
                _mm256_add_epi32(kept, other[1]),
            ]
        })
    })
}

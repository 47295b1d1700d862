//! Tiles of AVX2 with AVX-VNNI: as those of AVX-512, with half a panel in each register. 6 tokens times 16 rows.

use super::avx2::{Pointers, broadcast, scale_sums};
use crate::kernels::integer::activations::Offset;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::sparse::panels::{OCTET, OCTETS};
use crate::kernels::integer::sparse::tile::{SparseKernel, SparseTile};
use crate::kernels::integer::x86::codes256::{HALVES, VECTOR, load_totals, store_totals};
use std::arch::x86_64::*;

pub(in crate::kernels::integer::sparse) const KERNEL: SparseKernel = SparseKernel {
    tokens: 6,
    panels: 1,
    offset: |_, _| Offset::Full,
    multiply,
};

/// # Safety
/// As `SparseKernel::multiply` says: the machine has AVX2, FMA, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn multiply(tile: &SparseTile<'_>) {
    match tile.tokens {
        1 => add::<1>(tile),
        2 => add::<2>(tile),
        3 => add::<3>(tile),
        4 => add::<4>(tile),
        5 => add::<5>(tile),
        _ => add::<6>(tile),
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
        for token in 0..W {
            for half in 0..HALVES {
                // SAFETY: the caller's.
                unsafe {
                    let pick = _mm256_loadu_si256(controls.add(half * VECTOR).cast());
                    let value = _mm256_loadu_si256(values.add(half * VECTOR).cast());
                    let octet = broadcast(octets.add(token * OCTET));
                    let picked = _mm256_shuffle_epi8(octet, pick);
                    let sum = &mut sums[token][half];
                    *sum = _mm256_dpbusd_avx_epi32(*sum, picked, value);
                }
            }
        }
        values = values.wrapping_add(LINE);
        controls = controls.wrapping_add(LINE);
        octets = octets.wrapping_add(row);
    }
    sums
}

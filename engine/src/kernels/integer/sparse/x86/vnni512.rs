//! Tiles of AVX-512 with VNNI: `vpshufb` picks a row's four activations out of eight, `vpdpbusd` multiplies them with
//! the row's kept values. 12 tokens times 32 rows: 24 sums, values and controls of two panels, and two to work with.

use crate::kernels::integer::activations::Offset;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::sparse::panels::{OCTET, OCTETS};
use crate::kernels::integer::sparse::tile::{SparseKernel, SparseTile};
use crate::kernels::integer::x86::codes512::steps;
use crate::kernels::integer::x86::vnni512::{load_totals, store_totals};
use std::arch::x86_64::*;

pub(in crate::kernels::integer::sparse) const KERNEL: SparseKernel = SparseKernel {
    tokens: 12,
    panels: 2,
    offset: |_, _| Offset::Full,
    multiply,
};

/// # Safety
/// As `SparseKernel::multiply` says: the machine has AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply(tile: &SparseTile<'_>) {
    match tile.panels {
        1 => of_tokens::<1>(tile),
        _ => of_tokens::<2>(tile),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn of_tokens<const P: usize>(tile: &SparseTile<'_>) {
    match tile.tokens {
        1 => add::<P, 1>(tile),
        2 => add::<P, 2>(tile),
        3 => add::<P, 3>(tile),
        4 => add::<P, 4>(tile),
        5 => add::<P, 5>(tile),
        6 => add::<P, 6>(tile),
        7 => add::<P, 7>(tile),
        8 => add::<P, 8>(tile),
        9 => add::<P, 9>(tile),
        10 => add::<P, 10>(tile),
        11 => add::<P, 11>(tile),
        _ => add::<P, 12>(tile),
    }
}

/// `W` tokens times `P` panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn add<const P: usize, const W: usize>(tile: &SparseTile<'_>) {
    let mut totals = load_totals::<P, W>(&tile.totals);
    let mut values: [*const u8; P] = std::array::from_fn(|panel| tile.values[panel].as_ptr());
    let mut controls: [*const u8; P] = std::array::from_fn(|panel| tile.controls[panel].as_ptr());
    let mut octets = tile.octets.as_ptr();
    let row = tile.stride * OCTET;
    for (index, segment) in tile.segments.iter().enumerate() {
        let count = segment.units * OCTETS;
        let first = std::array::from_fn(|panel| tile.corrections[panel][index].as_ptr().cast());
        // SAFETY: `SparseTile::check` found room for every octet of all segments.
        let sums = unsafe { sums::<P, W>(first, values, controls, octets, [row, count]) };
        values = values.map(|values| values.wrapping_add(count * LINE));
        controls = controls.map(|controls| controls.wrapping_add(count * LINE));
        octets = octets.wrapping_add(count * row);
        for panel in 0..P {
            let (scale, _) = steps(&tile.steps_of_panels[panel], segment.group);
            for (token, (totals, sums)) in totals.iter_mut().zip(&sums).enumerate() {
                let step = _mm512_set1_ps(tile.steps[index * tile.stride + token]);
                let products = _mm512_cvtepi32_ps(sums[panel]);
                totals[panel] =
                    _mm512_fmadd_ps(_mm512_mul_ps(scale, step), products, totals[panel]);
            }
        }
    }
    store_totals(&tile.totals, &totals);
}

/// Sums of one segment. Not inlined: with the epilogue beside it the compiler would store every sum at every step.
///
/// # Safety
/// `count` octets of values, controls and rows of activations are there to be read, and the first sums.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn sums<const P: usize, const W: usize>(
    first: [*const __m512i; P],
    mut values: [*const u8; P],
    mut controls: [*const u8; P],
    mut octets: *const u8,
    [row, count]: [usize; 2],
) -> [[__m512i; P]; W] {
    // SAFETY: the caller's.
    let mut sums = [first.map(|first| unsafe { _mm512_loadu_si512(first) }); W];
    for _ in 0..count {
        // SAFETY: the caller's.
        unsafe {
            let of_panels = values.map(|values| _mm512_loadu_si512(values.cast()));
            let picks = controls.map(|controls| _mm512_loadu_si512(controls.cast()));
            for token in 0..W {
                let octet = octets.add(token * OCTET).cast::<i64>().read_unaligned();
                let octet = _mm512_set1_epi64(octet);
                for panel in 0..P {
                    let picked = _mm512_shuffle_epi8(octet, picks[panel]);
                    let sum = &mut sums[token][panel];
                    *sum = _mm512_dpbusd_epi32(*sum, picked, of_panels[panel]);
                }
            }
        }
        values = values.map(|values| values.wrapping_add(LINE));
        controls = controls.map(|controls| controls.wrapping_add(LINE));
        octets = octets.wrapping_add(row);
    }
    sums
}

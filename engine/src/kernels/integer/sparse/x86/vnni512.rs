//! Tiles of AVX-512 with VNNI: `vpshufb` picks a row's four activations out of eight, `vpdpbusd` multiplies them with
//! the row's kept values. 12 tokens times 32 rows: 24 sums, values and controls of two panels, and two to work with.

use crate::kernels::integer::activations::Offset;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::panels::PANEL;
use crate::kernels::integer::sparse::panels::{OCTET, OCTETS, lines_of_codes, unit_bytes};
use crate::kernels::integer::sparse::tile::{SparseKernel, SparseTile};
use crate::kernels::integer::sparse::unpack::{HALVES_OF_ROW, UNPACKED, Unpack};
use crate::kernels::integer::x86::codes512::steps;
use crate::kernels::integer::x86::stream_of_tokens;
use crate::kernels::integer::x86::vnni512::{load_totals, store_totals};
use std::arch::x86_64::*;

pub(in crate::kernels::integer::sparse) const KERNEL: SparseKernel = SparseKernel {
    tokens: 12,
    panels: 2,
    offset: |_, _| Offset::Full,
    unpack,
    multiply,
    stream: Some(stream),
};

/// Bytes that are asked for ahead of their use when codes come from memory.
const AHEAD: usize = 5120;

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

/// # Safety
/// As `SparseKernel::unpack` says.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn unpack(work: Unpack<'_>) -> [i32; PANEL] {
    match work.bits {
        2 => unpack_units::<2>(work),
        4 => unpack_units::<4>(work),
        _ => unpack_units::<8>(work),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn unpack_units<const BITS: i32>(work: Unpack<'_>) -> [i32; PANEL] {
    let count = work.check();
    let mut unit = work.units.as_ptr();
    let (mut values, mut controls) = (work.values.as_mut_ptr(), work.controls.as_mut_ptr());
    // SAFETY: a line is a vector.
    let zeros = unsafe { _mm512_loadu_si512(work.zeros_of_line().as_ptr().cast()) };
    // One for each octet of a unit: a product's latency is hidden.
    let mut sums = [_mm512_setzero_si512(); OCTETS];
    for _ in 0..count {
        ask_for_unit::<BITS>(unit);
        // SAFETY: `check` found room for every unit.
        unsafe {
            for octet in 0..OCTETS {
                let (codes, control) = kept::<BITS>(unit, octet);
                let value = _mm512_sub_epi8(codes, zeros);
                sums[octet] = _mm512_dpbusd_epi32(sums[octet], _mm512_set1_epi8(1), value);
                _mm512_storeu_si512(values.add(octet * LINE).cast(), value);
                _mm512_storeu_si512(controls.add(octet * LINE).cast(), control);
            }
        }
        unit = unit.wrapping_add(unit_bytes(BITS as u8));
        values = values.wrapping_add(UNPACKED);
        controls = controls.wrapping_add(UNPACKED);
    }
    let [a, b, c, d] = sums;
    let sums = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
    let mut rows = [0; PANEL];
    // SAFETY: sixteen sums.
    unsafe { _mm512_storeu_si512(rows.as_mut_ptr().cast(), sums) };
    rows
}

#[inline]
#[target_feature(enable = "avx512f")]
fn ask_for_unit<const BITS: i32>(unit: *const u8) {
    for line in 0..=lines_of_codes(BITS as u8) {
        _mm_prefetch::<_MM_HINT_T0>(unit.wrapping_add(AHEAD + line * LINE).cast());
    }
}

/// Codes and controls of an octet.
///
/// # Safety
/// The unit is there to be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn kept<const BITS: i32>(unit: *const u8, octet: usize) -> (__m512i, __m512i) {
    let (lines, per_line) = (lines_of_codes(BITS as u8), 8 / BITS as usize);
    // SAFETY: the caller's.
    let load = |line: usize| unsafe { _mm512_loadu_si512(unit.add(line * LINE).cast()) };
    let moved = |line: __m512i, shift: i32| _mm512_srl_epi16(line, _mm_cvtsi32_si128(shift));
    let codes = moved(load(octet / per_line), (octet % per_line) as i32 * BITS);
    let codes = match BITS {
        8 => codes,
        _ => _mm512_and_si512(codes, _mm512_set1_epi8(((1 << BITS) - 1) as i8)),
    };
    let places = moved(load(lines), 2 * octet as i32);
    // (places & 3) | halves
    let halves = _mm512_set1_epi32(i32::from_le_bytes(HALVES_OF_ROW));
    let control = _mm512_ternarylogic_epi32::<0xEA>(places, _mm512_set1_epi8(3), halves);
    (codes, control)
}

/// # Safety
/// As `SparseKernel::stream` says.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn stream(tile: &SparseTile<'_>) {
    match tile.bits {
        2 => stream_of_tokens!(stream_bits, 2, tile),
        4 => stream_of_tokens!(stream_bits, 4, tile),
        _ => stream_of_tokens!(stream_bits, 8, tile),
    }
}

/// `W` tokens times one panel, in `S` separate sums each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn stream_bits<const BITS: i32, const W: usize, const S: usize>(tile: &SparseTile<'_>) {
    let mut totals = load_totals::<1, W>(&tile.totals);
    let mut unit = tile.packed.as_ptr();
    let mut octets = tile.octets.as_ptr();
    let row = tile.stride * OCTET;
    for (index, segment) in tile.segments.iter().enumerate() {
        // Of codes, and of the activations that meet one.
        let mut sums = [[[_mm512_setzero_si512(); 2]; S]; W];
        for _ in 0..segment.units {
            ask_for_unit::<BITS>(unit);
            for octet in 0..OCTETS {
                // SAFETY: `SparseTile::check` found room for every unit of all segments.
                let (codes, control) = unsafe { kept::<BITS>(unit, octet) };
                for (token, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let octet_of = unsafe {
                        let at = octets.add(octet * row + token * OCTET);
                        _mm512_set1_epi64(at.cast::<i64>().read_unaligned())
                    };
                    let picked = _mm512_shuffle_epi8(octet_of, control);
                    let [sum, kept] = &mut sums[octet % S];
                    *sum = _mm512_dpbusd_epi32(*sum, codes, picked);
                    *kept = _mm512_dpbusd_epi32(*kept, _mm512_set1_epi8(1), picked);
                }
            }
            unit = unit.wrapping_add(unit_bytes(BITS as u8));
            octets = octets.wrapping_add(OCTETS * row);
        }
        let (scale, zero) = steps(&tile.steps_of_panels[0], segment.group);
        let zero = _mm512_cvtps_epi32(zero);
        for (token, (totals, sums)) in totals.iter_mut().zip(&sums).enumerate() {
            let [sum, kept] = sums[1..].iter().fold(sums[0], |[sum, kept], other| {
                [
                    _mm512_add_epi32(sum, other[0]),
                    _mm512_add_epi32(kept, other[1]),
                ]
            });
            let sum = _mm512_sub_epi32(sum, _mm512_mullo_epi32(zero, kept));
            let step = _mm512_set1_ps(tile.steps[index * tile.stride + token]);
            let scale = _mm512_mul_ps(scale, step);
            totals[0] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), totals[0]);
        }
    }
    store_totals(&tile.totals, &totals);
}

//! Units of kept codes to bytes with 256-bit vectors.

use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::panels::PANEL;
use crate::kernels::integer::sparse::panels::{OCTETS, lines_of_codes, unit_bytes};
use crate::kernels::integer::sparse::unpack::{HALVES_OF_ROW, UNPACKED, Unpack};
use crate::kernels::integer::x86::codes256::VECTOR;
use std::arch::x86_64::*;

/// Bytes that are asked for ahead of their use when codes come from memory.
const AHEAD: usize = 5120;
/// Vectors of a line.
const PARTS: usize = LINE / VECTOR;

/// # Safety
/// As `SparseKernel::unpack` says: the machine has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn unpack(work: Unpack<'_>) -> [i32; PANEL] {
    match work.bits {
        2 => unpack_units::<2>(work),
        4 => unpack_units::<4>(work),
        _ => unpack_units::<8>(work),
    }
}

#[target_feature(enable = "avx2")]
fn unpack_units<const BITS: i32>(work: Unpack<'_>) -> [i32; PANEL] {
    let count = work.check();
    let mut unit = work.units.as_ptr();
    let (mut values, mut controls) = (work.values.as_mut_ptr(), work.controls.as_mut_ptr());
    let parts = |line: &[u8; LINE]| -> [__m256i; PARTS] {
        // SAFETY: a line is two vectors.
        std::array::from_fn(|part| unsafe {
            _mm256_loadu_si256(line.as_ptr().add(part * VECTOR).cast())
        })
    };
    let zeros = parts(&work.zeros_of_line());
    // Pairs of values in 16 bits: of 128 octets no less than `-128 * 256`.
    let mut sums = [_mm256_setzero_si256(); PARTS];
    for _ in 0..count {
        ask_for_unit::<BITS>(unit);
        for octet in 0..OCTETS {
            for part in 0..PARTS {
                // SAFETY: `check` found room for every unit.
                unsafe {
                    let (codes, control) = kept::<BITS>(unit, octet, part);
                    let value = _mm256_sub_epi8(codes, zeros[part]);
                    let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), value);
                    sums[part] = _mm256_add_epi16(sums[part], pairs);
                    let at = octet * LINE + part * VECTOR;
                    _mm256_storeu_si256(values.add(at).cast(), value);
                    _mm256_storeu_si256(controls.add(at).cast(), control);
                }
            }
        }
        unit = unit.wrapping_add(unit_bytes(BITS as u8));
        values = values.wrapping_add(UNPACKED);
        controls = controls.wrapping_add(UNPACKED);
    }
    let mut rows = [0; PANEL];
    for (rows, sums) in rows.chunks_mut(PANEL / PARTS).zip(sums) {
        let sums = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
        // SAFETY: eight sums.
        unsafe { _mm256_storeu_si256(rows.as_mut_ptr().cast(), sums) };
    }
    rows
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn ask_for_unit<const BITS: i32>(unit: *const u8) {
    for line in 0..=lines_of_codes(BITS as u8) {
        _mm_prefetch::<_MM_HINT_T0>(unit.wrapping_add(AHEAD + line * LINE).cast());
    }
}

/// Codes and controls of half an octet.
///
/// # Safety
/// The unit is there to be read.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn kept<const BITS: i32>(
    unit: *const u8,
    octet: usize,
    part: usize,
) -> (__m256i, __m256i) {
    let (lines, per_line) = (lines_of_codes(BITS as u8), 8 / BITS as usize);
    let load = |line: usize| {
        // SAFETY: the caller's.
        unsafe { _mm256_loadu_si256(unit.add(line * LINE + part * VECTOR).cast()) }
    };
    let moved = |line: __m256i, shift: i32| _mm256_srl_epi16(line, _mm_cvtsi32_si128(shift));
    let codes = moved(load(octet / per_line), (octet % per_line) as i32 * BITS);
    let codes = match BITS {
        8 => codes,
        _ => _mm256_and_si256(codes, _mm256_set1_epi8(((1 << BITS) - 1) as i8)),
    };
    let places = moved(load(lines), 2 * octet as i32);
    let places = _mm256_and_si256(places, _mm256_set1_epi8(3));
    let halves = _mm256_set1_epi32(i32::from_le_bytes(HALVES_OF_ROW));
    (codes, _mm256_or_si256(places, halves))
}

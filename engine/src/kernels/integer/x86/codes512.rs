//! What the tiles of 512-bit vectors share: codes in registers, scales and zeros. A panel's quad fills a vector.

use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::panels::QUADS;
use crate::kernels::integer::tile::{PanelSteps, ScaleRow, ZeroRow};
use std::arch::x86_64::*;

/// The eight quads of a unit.
///
/// # Safety
/// `BITS` lines are there to be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(in crate::kernels::integer) unsafe fn quads<const BITS: u8>(
    unit: *const u8,
) -> [__m512i; QUADS] {
    // SAFETY: the caller's.
    let line = |line: usize| unsafe { _mm512_loadu_si512(unit.add(line * LINE).cast()) };
    match BITS {
        2 => pairs(line(0), line(1)),
        3 => {
            let high = line(2);
            let low = pairs(line(0), line(1));
            std::array::from_fn(|quad| with_bits::<4>(low[quad], high, quad as i32 - 2))
        }
        4 => nibbles(line(0), line(1), line(2), line(3)),
        5 => {
            let high = line(4);
            let low = nibbles(line(0), line(1), line(2), line(3));
            std::array::from_fn(|quad| with_bits::<0x10>(low[quad], high, quad as i32 - 4))
        }
        6 => {
            let high = [line(4), line(5)];
            let low = nibbles(line(0), line(1), line(2), line(3));
            std::array::from_fn(|quad| {
                with_bits::<0x30>(low[quad], high[quad / 4], 2 * (quad as i32 % 4) - 4)
            })
        }
        _ => std::array::from_fn(line),
    }
}

/// Quads of two lines of two bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pairs(one: __m512i, other: __m512i) -> [__m512i; QUADS] {
    let mask = _mm512_set1_epi8(3);
    [
        _mm512_and_si512(one, mask),
        _mm512_and_si512(_mm512_srli_epi16::<2>(one), mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(one), mask),
        _mm512_and_si512(_mm512_srli_epi16::<6>(one), mask),
        _mm512_and_si512(other, mask),
        _mm512_and_si512(_mm512_srli_epi16::<2>(other), mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(other), mask),
        _mm512_and_si512(_mm512_srli_epi16::<6>(other), mask),
    ]
}

/// Quads of four lines of four bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn nibbles(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; QUADS] {
    let mask = _mm512_set1_epi8(15);
    let low = |line| _mm512_and_si512(line, mask);
    let high = |line| _mm512_and_si512(_mm512_srli_epi16::<4>(line), mask);
    [
        low(a),
        high(a),
        low(b),
        high(b),
        low(c),
        high(c),
        low(d),
        high(d),
    ]
}

/// `low` with the bits of `line` that reach `MASK` when moved down by `shift` (up where negative).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn with_bits<const MASK: i8>(low: __m512i, line: __m512i, shift: i32) -> __m512i {
    let moved = match shift {
        -4 => _mm512_slli_epi16::<4>(line),
        -3 => _mm512_slli_epi16::<3>(line),
        -2 => _mm512_slli_epi16::<2>(line),
        -1 => _mm512_slli_epi16::<1>(line),
        0 => line,
        1 => _mm512_srli_epi16::<1>(line),
        2 => _mm512_srli_epi16::<2>(line),
        3 => _mm512_srli_epi16::<3>(line),
        4 => _mm512_srli_epi16::<4>(line),
        _ => _mm512_srli_epi16::<5>(line),
    };
    // low | (moved & MASK)
    _mm512_ternarylogic_epi32::<0xF8>(low, moved, _mm512_set1_epi8(MASK))
}

/// Scales and zeros of a group, a row in each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(in crate::kernels::integer) fn steps(panel: &PanelSteps<'_>, group: usize) -> (__m512, __m512) {
    // SAFETY: each row of scales and zeros is 16 values.
    unsafe {
        let scale = match panel.scales {
            ScaleRow::F16(rows) => _mm512_cvtph_ps(_mm256_loadu_si256(rows[group].as_ptr().cast())),
            ScaleRow::F32(rows) => _mm512_loadu_ps(rows[group].as_ptr()),
        };
        let zero = match panel.zeros {
            ZeroRow::Same(zero) => _mm512_set1_ps(zero),
            ZeroRow::Bytes(rows) => {
                let bytes = _mm_loadu_si128(rows[group].as_ptr().cast());
                _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
            }
            ZeroRow::F32(rows) => _mm512_loadu_ps(rows[group].as_ptr()),
        };
        (scale, zero)
    }
}

/// # Safety
/// As `Kernel::unpack` says.
#[target_feature(enable = "avx512f,avx512bw")]
pub(in crate::kernels::integer) fn unpack(bits: u8, packed: &[u8], bytes: &mut [u8]) {
    match bits {
        2 => unpack_units::<2>(packed, bytes),
        3 => unpack_units::<3>(packed, bytes),
        4 => unpack_units::<4>(packed, bytes),
        5 => unpack_units::<5>(packed, bytes),
        6 => unpack_units::<6>(packed, bytes),
        _ => bytes.copy_from_slice(packed),
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn unpack_units<const BITS: u8>(packed: &[u8], bytes: &mut [u8]) {
    let units = packed.chunks_exact(usize::from(BITS) * LINE);
    for (unit, bytes) in units.zip(bytes.chunks_exact_mut(QUADS * LINE)) {
        // SAFETY: the unit has `BITS` lines and there is room for its eight quads.
        unsafe {
            for (quad, codes) in quads::<BITS>(unit.as_ptr()).into_iter().enumerate() {
                _mm512_storeu_si512(bytes.as_mut_ptr().add(quad * LINE).cast(), codes);
            }
        }
    }
}

//! What the tiles of 256-bit vectors share: codes in registers, scales and zeros, totals. Half a panel fills a vector.

use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::panels::{PANEL, QUADS};
use crate::kernels::integer::tile::{PanelSteps, ScaleRow, Tile, Totals, ZeroRow};
use std::arch::x86_64::*;

/// Vectors of a panel.
pub(in crate::kernels::integer) const HALVES: usize = 2;
/// Rows of a vector.
pub(in crate::kernels::integer) const LANES: usize = PANEL / HALVES;
/// Bytes of a vector.
pub(in crate::kernels::integer) const VECTOR: usize = LINE / HALVES;

/// One quad of one half of a panel.
///
/// # Safety
/// `unit` has `BITS` lines to be read.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::kernels::integer) unsafe fn quad<const BITS: u8>(
    unit: *const u8,
    quad: usize,
    half: usize,
) -> __m256i {
    // SAFETY: the caller's; lines are whole.
    let line =
        |line: usize| unsafe { _mm256_loadu_si256(unit.add(line * LINE + half * VECTOR).cast()) };
    let nibble = || {
        let line = line(quad / 2);
        let moved = if quad.is_multiple_of(2) {
            line
        } else {
            _mm256_srli_epi16::<4>(line)
        };
        _mm256_and_si256(moved, _mm256_set1_epi8(15))
    };
    let pair = || moved::<3>(line(quad / 4), 2 * (quad as i32 % 4));
    match BITS {
        2 => pair(),
        3 => _mm256_or_si256(pair(), moved::<4>(line(2), quad as i32 - 2)),
        4 => nibble(),
        5 => _mm256_or_si256(nibble(), moved::<0x10>(line(4), quad as i32 - 4)),
        6 => {
            let high = moved::<0x30>(line(4 + quad / 4), 2 * (quad as i32 % 4) - 4);
            _mm256_or_si256(nibble(), high)
        }
        _ => line(quad),
    }
}

/// `line` moved down by `shift` (up where negative), of which `MASK` is left.
#[inline]
#[target_feature(enable = "avx2")]
fn moved<const MASK: i8>(line: __m256i, shift: i32) -> __m256i {
    let moved = match shift {
        -4 => _mm256_slli_epi16::<4>(line),
        -3 => _mm256_slli_epi16::<3>(line),
        -2 => _mm256_slli_epi16::<2>(line),
        -1 => _mm256_slli_epi16::<1>(line),
        0 => line,
        1 => _mm256_srli_epi16::<1>(line),
        2 => _mm256_srli_epi16::<2>(line),
        3 => _mm256_srli_epi16::<3>(line),
        4 => _mm256_srli_epi16::<4>(line),
        5 => _mm256_srli_epi16::<5>(line),
        _ => _mm256_srli_epi16::<6>(line),
    };
    _mm256_and_si256(moved, _mm256_set1_epi8(MASK))
}

/// Four activations in every lane.
///
/// # Safety
/// Four bytes are there to be read.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::kernels::integer) unsafe fn broadcast(values: *const i8) -> __m256i {
    // SAFETY: the caller's.
    _mm256_set1_epi32(unsafe { values.cast::<i32>().read_unaligned() })
}

/// `total + scale * step * (sum - zero * Σ activation)` for every token and half, then the sums are of no more use.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernels::integer) fn scale_sums<const W: usize>(
    tile: &Tile<'_>,
    segment: usize,
    group: usize,
    sums: &[[__m256i; HALVES]; W],
    totals: &mut [[__m256; HALVES]; W],
) {
    let (scales, zeros) = steps(&tile.steps_of_panels[0], group);
    for (token, (totals, sums)) in totals.iter_mut().zip(sums).enumerate() {
        let place = segment * tile.stride + token;
        // SAFETY: `Tile::check` found every sum and step.
        let (activations, step) = unsafe {
            (
                _mm256_set1_ps(*tile.sums.get_unchecked(place)),
                _mm256_set1_ps(*tile.steps.get_unchecked(place)),
            )
        };
        for half in 0..HALVES {
            let products = _mm256_cvtepi32_ps(sums[half]);
            let centred = _mm256_fnmadd_ps(zeros[half], activations, products);
            let scale = _mm256_mul_ps(scales[half], step);
            totals[half] = _mm256_fmadd_ps(scale, centred, totals[half]);
        }
    }
}

/// Scales and zeros of a group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernels::integer) fn steps(
    panel: &PanelSteps<'_>,
    group: usize,
) -> ([__m256; HALVES], [__m256; HALVES]) {
    // SAFETY: each row of scales and zeros is 16 values.
    unsafe {
        let scales = std::array::from_fn(|half| match panel.scales {
            ScaleRow::F16(rows) => {
                let halves = rows[group].as_ptr().add(half * LANES);
                _mm256_cvtph_ps(_mm_loadu_si128(halves.cast()))
            }
            ScaleRow::F32(rows) => _mm256_loadu_ps(rows[group].as_ptr().add(half * LANES)),
        });
        let zeros = std::array::from_fn(|half| match panel.zeros {
            ZeroRow::Same(zero) => _mm256_set1_ps(zero),
            ZeroRow::Bytes(rows) => {
                let bytes = _mm_loadl_epi64(rows[group].as_ptr().add(half * LANES).cast());
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
            }
            ZeroRow::F32(rows) => _mm256_loadu_ps(rows[group].as_ptr().add(half * LANES)),
        });
        (scales, zeros)
    }
}

/// Lanes of a half that are rows and no padding.
#[inline]
#[target_feature(enable = "avx2")]
fn mask_of_rows(place: &Totals, half: usize) -> __m256i {
    let rows = place.rows.saturating_sub(half * LANES).min(LANES) as i32;
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(rows), lanes)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::kernels::integer) fn load_totals<const W: usize>(
    place: &Totals,
) -> [[__m256; HALVES]; W] {
    if place.first {
        return [[_mm256_setzero_ps(); HALVES]; W];
    }
    std::array::from_fn(|token| {
        std::array::from_fn(|half| {
            let output = place
                .start
                .wrapping_add(token * place.stride + half * LANES);
            // SAFETY: the mask leaves only rows that lie in the output.
            unsafe { _mm256_maskload_ps(output, mask_of_rows(place, half)) }
        })
    })
}

#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::kernels::integer) fn store_totals<const W: usize>(
    place: &Totals,
    totals: &[[__m256; HALVES]; W],
) {
    for (token, totals) in totals.iter().enumerate() {
        for (half, &total) in totals.iter().enumerate() {
            let output = place
                .start
                .wrapping_add(token * place.stride + half * LANES);
            // SAFETY: the mask leaves only rows that lie in the output, which nobody else touches.
            unsafe { _mm256_maskstore_ps(output, mask_of_rows(place, half), total) };
        }
    }
}

/// # Safety
/// As `Kernel::unpack` says: the machine has AVX2.
#[target_feature(enable = "avx2")]
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

#[target_feature(enable = "avx2")]
fn unpack_units<const BITS: u8>(packed: &[u8], bytes: &mut [u8]) {
    let units = packed.chunks_exact(usize::from(BITS) * LINE);
    for (unit, bytes) in units.zip(bytes.chunks_exact_mut(QUADS * LINE)) {
        for index in 0..QUADS {
            for half in 0..HALVES {
                // SAFETY: the unit has `BITS` lines and there is room for its eight quads.
                unsafe {
                    let codes = quad::<BITS>(unit.as_ptr(), index, half);
                    let place = bytes.as_mut_ptr().add(index * LINE + half * VECTOR);
                    _mm256_storeu_si256(place.cast(), codes);
                }
            }
        }
    }
}

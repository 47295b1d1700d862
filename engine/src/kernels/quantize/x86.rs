//! Errors of candidate grids in named vector instructions: left to itself the compiler cuts a candidate's lanes into
//! quarters. The same operations in the same order as the portable body, so the same bits.

use super::{Candidates, LANES, ROUNDER, total};
use std::arch::x86_64::*;

/// Two blocks of candidates side by side.
const PAIR: usize = 2 * LANES;

#[target_feature(enable = "avx2")]
pub(super) fn errors_avx2<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &[Candidates; B],
) -> [[f64; LANES]; B] {
    total(weights, importance, |weights, importance| {
        let grids = std::array::from_fn(|block| Eight::of(&blocks[block]));
        errors_of_eights(weights, importance, &grids)
    })
}

/// `Candidates` in registers.
#[derive(Clone, Copy)]
struct Eight {
    inverse: __m256,
    scale: __m256,
    low: __m256,
    high: __m256,
}

impl Eight {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn of(candidates: &Candidates) -> Self {
        Self {
            inverse: eight(&candidates.inverse),
            scale: eight(&candidates.scale),
            low: eight(&candidates.low),
            high: eight(&candidates.high),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn eight(values: &[f32; LANES]) -> __m256 {
    // SAFETY: eight values are there to be read.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn errors_of_eights<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    grids: &[Eight; B],
) -> [[f32; LANES]; B] {
    let rounder = _mm256_set1_ps(ROUNDER);
    let mut sums = [_mm256_setzero_ps(); B];
    for (index, &weight) in weights.iter().enumerate() {
        let importance = importance.map_or(1.0, |importance| importance[index]);
        let (weight, importance) = (_mm256_set1_ps(weight), _mm256_set1_ps(importance));
        for (sum, grid) in sums.iter_mut().zip(grids) {
            let level = _mm256_mul_ps(weight, grid.inverse);
            let level = _mm256_min_ps(_mm256_max_ps(level, grid.low), grid.high);
            let level = _mm256_sub_ps(_mm256_add_ps(level, rounder), rounder);
            let error = _mm256_sub_ps(weight, _mm256_mul_ps(level, grid.scale));
            let square = _mm256_mul_ps(_mm256_mul_ps(error, importance), error);
            *sum = _mm256_add_ps(*sum, square);
        }
    }
    let mut errors = [[0.0; LANES]; B];
    for (errors, sum) in errors.iter_mut().zip(sums) {
        // SAFETY: there is room for eight values.
        unsafe { _mm256_storeu_ps(errors.as_mut_ptr(), sum) };
    }
    errors
}

#[target_feature(enable = "avx512f")]
pub(super) fn errors_avx512<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &[Candidates; B],
) -> [[f64; LANES]; B] {
    total(weights, importance, |weights, importance| {
        let mut errors = [[0.0; LANES]; B];
        let pairs = blocks.chunks(2).zip(errors.chunks_mut(2));
        if B > 2 {
            // Two pairs at once hide each other's latency.
            let (first, last) = (Sixteen::of(&blocks[..2]), Sixteen::of(&blocks[2..]));
            let sums = errors_of_sixteens(weights, importance, &[first, last]);
            for (sums, (_, errors)) in sums.iter().zip(pairs) {
                let len = errors.len();
                errors.copy_from_slice(&sums.as_chunks::<LANES>().0[..len]);
            }
        } else {
            let sums = errors_of_sixteens(weights, importance, &[Sixteen::of(blocks)]);
            for (sums, (_, errors)) in sums.iter().zip(pairs) {
                let len = errors.len();
                errors.copy_from_slice(&sums.as_chunks::<LANES>().0[..len]);
            }
        }
        errors
    })
}

/// One or two `Candidates` in registers; one fills both halves.
#[derive(Clone, Copy)]
struct Sixteen {
    inverse: __m512,
    scale: __m512,
    low: __m512,
    high: __m512,
}

impl Sixteen {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn of(blocks: &[Candidates]) -> Self {
        let (one, other) = (&blocks[0], &blocks[blocks.len() - 1]);
        Self {
            inverse: sixteen(&one.inverse, &other.inverse),
            scale: sixteen(&one.scale, &other.scale),
            low: sixteen(&one.low, &other.low),
            high: sixteen(&one.high, &other.high),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sixteen(one: &[f32; LANES], other: &[f32; LANES]) -> __m512 {
    let mut values = [0.0; PAIR];
    values[..LANES].copy_from_slice(one);
    values[LANES..].copy_from_slice(other);
    // SAFETY: sixteen values are there to be read.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn errors_of_sixteens<const V: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    grids: &[Sixteen; V],
) -> [[f32; PAIR]; V] {
    let rounder = _mm512_set1_ps(ROUNDER);
    let mut sums = [_mm512_setzero_ps(); V];
    for (index, &weight) in weights.iter().enumerate() {
        let importance = importance.map_or(1.0, |importance| importance[index]);
        let (weight, importance) = (_mm512_set1_ps(weight), _mm512_set1_ps(importance));
        for (sum, grid) in sums.iter_mut().zip(grids) {
            let level = _mm512_mul_ps(weight, grid.inverse);
            let level = _mm512_min_ps(_mm512_max_ps(level, grid.low), grid.high);
            let level = _mm512_sub_ps(_mm512_add_ps(level, rounder), rounder);
            let error = _mm512_sub_ps(weight, _mm512_mul_ps(level, grid.scale));
            let square = _mm512_mul_ps(_mm512_mul_ps(error, importance), error);
            *sum = _mm512_add_ps(*sum, square);
        }
    }
    let mut errors = [[0.0; PAIR]; V];
    for (errors, sum) in errors.iter_mut().zip(sums) {
        // SAFETY: there is room for sixteen values.
        unsafe { _mm512_storeu_ps(errors.as_mut_ptr(), sum) };
    }
    errors
}

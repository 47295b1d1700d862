//! Panels of levels in named vector instructions: the same operations in the same order as the portable body.

use super::{CHAINS, CODES, Line, PANEL, PanelSums, blocks_of};
use std::arch::x86_64::*;

/// All 16 levels stand in one register, and a permutation reads only the lowest four bits of each lane.
#[target_feature(enable = "avx512f")]
pub(super) fn panel_avx512<const T: usize>(
    lines: &[Line],
    levels: &[f32; 16],
    block: usize,
    inputs: &[&[f32]; T],
) -> PanelSums<T> {
    // SAFETY: sixteen levels are there to be read.
    let levels = unsafe { _mm512_loadu_ps(levels.as_ptr()) };
    let mut totals = [_mm512_setzero_ps(); T];
    for (scales, codes, columns) in blocks_of(lines, block, inputs[0].len()) {
        let mut sums = [[_mm512_setzero_ps(); CHAINS]; T];
        let whole = columns.len() / CODES;
        for (line, first) in codes[..whole].iter().zip(columns.clone().step_by(CODES)) {
            let codes = line_512(line);
            let inputs: [&[f32; CODES]; T] =
                std::array::from_fn(|index| line_of_input(inputs[index], first));
            for place in 0..CODES {
                let codes = _mm512_srlv_epi32(codes, _mm512_set1_epi32(4 * place as i32));
                let level = _mm512_permutexvar_ps(codes, levels);
                for (sums, input) in sums.iter_mut().zip(inputs) {
                    let sum = &mut sums[place % CHAINS];
                    *sum = _mm512_fmadd_ps(level, _mm512_set1_ps(input[place]), *sum);
                }
            }
        }
        if let Some(line) = codes.get(whole) {
            let first = columns.start + whole * CODES;
            for (place, column) in (first..columns.end).enumerate() {
                let shift = _mm512_set1_epi32(4 * place as i32);
                let level = _mm512_permutexvar_ps(_mm512_srlv_epi32(line_512(line), shift), levels);
                for (sums, input) in sums.iter_mut().zip(inputs) {
                    let sum = &mut sums[place % CHAINS];
                    *sum = _mm512_fmadd_ps(level, _mm512_set1_ps(input[column]), *sum);
                }
            }
        }
        let scales = _mm512_castsi512_ps(line_512(scales));
        for (total, [a, b, c, d]) in totals.iter_mut().zip(sums) {
            let sum = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
            *total = _mm512_fmadd_ps(sum, scales, *total);
        }
    }
    totals.map(|total| {
        let mut values = [0.0; PANEL];
        // SAFETY: there is room for sixteen values.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), total) };
        values
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn line_512(line: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes that begin on a multiple of 64.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

#[inline(always)]
fn line_of_input(input: &[f32], first: usize) -> &[f32; CODES] {
    input[first..first + CODES]
        .try_into()
        .expect("a slice of 8 values is an array of 8 values")
}

/// The levels as two registers; the highest bit of a code chooses between them.
#[derive(Clone, Copy)]
struct Halves {
    low: __m256,
    high: __m256,
}

impl Halves {
    /// Levels of the codes at `place` of each lane.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn level(self, codes: __m256i, place: usize) -> __m256 {
        let place = 4 * place as i32;
        let codes_right = _mm256_srlv_epi32(codes, _mm256_set1_epi32(place));
        // Permutations read the lowest three bits of a lane, blends its sign.
        let sign = _mm256_sllv_epi32(codes, _mm256_set1_epi32(28 - place));
        let low = _mm256_permutevar8x32_ps(self.low, codes_right);
        let high = _mm256_permutevar8x32_ps(self.high, codes_right);
        _mm256_blendv_ps(low, high, _mm256_castsi256_ps(sign))
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn panel_avx2<const T: usize>(
    lines: &[Line],
    levels: &[f32; 16],
    block: usize,
    inputs: &[&[f32]; T],
) -> PanelSums<T> {
    // SAFETY: sixteen levels are there to be read.
    let levels = unsafe {
        Halves {
            low: _mm256_loadu_ps(levels.as_ptr()),
            high: _mm256_loadu_ps(levels[8..].as_ptr()),
        }
    };
    let mut totals = [[_mm256_setzero_ps(); 2]; T];
    for (scales, codes, columns) in blocks_of(lines, block, inputs[0].len()) {
        for half in 0..2 {
            let sums = block_avx2(codes, columns.clone(), levels, half, inputs);
            let scales = _mm256_castsi256_ps(half_of(scales, half));
            for (total, [a, b, c, d]) in totals.iter_mut().zip(sums) {
                let sum = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
                total[half] = _mm256_fmadd_ps(sum, scales, total[half]);
            }
        }
    }
    totals.map(|total| {
        let mut values = [0.0; PANEL];
        for (values, total) in values.as_chunks_mut::<8>().0.iter_mut().zip(total) {
            // SAFETY: there is room for eight values.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), total) };
        }
        values
    })
}

/// Sums of eight rows over one block.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn block_avx2<const T: usize>(
    codes: &[Line],
    columns: std::ops::Range<usize>,
    levels: Halves,
    half: usize,
    inputs: &[&[f32]; T],
) -> [[__m256; CHAINS]; T] {
    let mut sums = [[_mm256_setzero_ps(); CHAINS]; T];
    let whole = columns.len() / CODES;
    for (line, first) in codes[..whole].iter().zip(columns.clone().step_by(CODES)) {
        let codes = half_of(line, half);
        let inputs: [&[f32; CODES]; T] =
            std::array::from_fn(|index| line_of_input(inputs[index], first));
        for place in 0..CODES {
            let level = levels.level(codes, place);
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let sum = &mut sums[place % CHAINS];
                *sum = _mm256_fmadd_ps(level, _mm256_set1_ps(input[place]), *sum);
            }
        }
    }
    if let Some(line) = codes.get(whole) {
        let first = columns.start + whole * CODES;
        for (place, column) in (first..columns.end).enumerate() {
            let level = levels.level(half_of(line, half), place);
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let sum = &mut sums[place % CHAINS];
                *sum = _mm256_fmadd_ps(level, _mm256_set1_ps(input[column]), *sum);
            }
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn half_of(line: &Line, half: usize) -> __m256i {
    let lanes = &line.0.as_chunks::<8>().0[half];
    // SAFETY: half a line is 32 bytes that begin on a multiple of 32.
    unsafe { _mm256_load_si256(lanes.as_ptr().cast()) }
}

//! Lanes in one 512-bit or two 256-bit registers.

use super::{LANES, Lanes, OverLanes};
use half::{bf16, f16};
use std::arch::x86_64::*;

/// Made by `with_avx512` alone: the machine has AVX-512 F.
#[derive(Clone, Copy)]
struct Avx512(());

/// Made by `with_avx2` alone: the machine has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
struct Avx2(());

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn with_avx512<W: OverLanes>(work: W) -> W::Output {
    work.run(Avx512(()))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn with_avx2<W: OverLanes>(work: W) -> W::Output {
    work.run(Avx2(()))
}

/// 8 -> 4 -> 2 -> 1.
#[inline(always)]
fn sum_of_eight(vector: __m256) -> f32 {
    // SAFETY: whoever has eight lanes has AVX, and with it SSE3.
    unsafe {
        let four = _mm_add_ps(
            _mm256_castps256_ps128(vector),
            _mm256_extractf128_ps::<1>(vector),
        );
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The highest bit of a code chooses between two registers of eight levels.
#[inline(always)]
fn level_of_eight(levels: [__m256; 2], codes: __m256i, place: usize) -> __m256 {
    let place = 4 * place as i32;
    // SAFETY: whoever calls this has AVX2.
    unsafe {
        // Permutations read the lowest three bits of a lane, blends its sign.
        let sign = _mm256_sllv_epi32(codes, _mm256_set1_epi32(28 - place));
        let codes = _mm256_srlv_epi32(codes, _mm256_set1_epi32(place));
        let low = _mm256_permutevar8x32_ps(levels[0], codes);
        let high = _mm256_permutevar8x32_ps(levels[1], codes);
        _mm256_blendv_ps(low, high, _mm256_castsi256_ps(sign))
    }
}

// In both: SAFETY of arithmetic: the token is proof of the instruction set. SAFETY of loads and stores: the same, and
// an array of sixteen is there to be read or written.

impl Lanes for Avx512 {
    type Vector = __m512;
    type Codes = __m512i;
    type Levels = __m512;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_bf16(self, values: &[bf16; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(values.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    fn load_i8(self, values: &[i8; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let codes = _mm_loadu_si128(values.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes))
        }
    }

    #[inline(always)]
    fn store(self, vector: __m512, values: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), vector) };
    }

    #[inline(always)]
    fn store_f16(self, vector: __m512, values: &mut [f16; LANES]) {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: see above.
        unsafe {
            let half = _mm512_cvtps_ph::<NEAREST>(vector);
            _mm256_storeu_si256(values.as_mut_ptr().cast(), half);
        }
    }

    #[inline(always)]
    fn add(self, left: __m512, right: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(left, right) }
    }

    #[inline(always)]
    fn multiply_add(self, left: __m512, right: __m512, sum: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(left, right, sum) }
    }

    #[inline(always)]
    fn multiply(self, left: __m512, right: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(left, right) }
    }

    #[inline(always)]
    fn load_codes(self, codes: &[u32; LANES]) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_levels(self, levels: &[f32; 16]) -> __m512 {
        self.load(levels)
    }

    /// A permutation reads only the lowest four bits of each lane.
    #[inline(always)]
    fn level(self, levels: __m512, codes: __m512i, place: usize) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let codes = _mm512_srlv_epi32(codes, _mm512_set1_epi32(4 * place as i32));
            _mm512_permutexvar_ps(codes, levels)
        }
    }

    #[inline(always)]
    fn signed_byte(self, codes: __m512i, place: usize) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let up = _mm512_set1_epi32(24 - 8 * place as i32);
            let moved = _mm512_sllv_epi32(codes, up);
            _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(moved))
        }
    }

    #[inline(always)]
    fn sum(self, vector: __m512) -> f32 {
        // SAFETY: see above; `with_avx512` has AVX-512 DQ too.
        sum_of_eight(unsafe {
            _mm256_add_ps(
                _mm512_castps512_ps256(vector),
                _mm512_extractf32x8_ps::<1>(vector),
            )
        })
    }
}

impl Lanes for Avx2 {
    type Vector = [__m256; 2];
    type Codes = [__m256i; 2];
    type Levels = [__m256; 2];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        // SAFETY: see above.
        [unsafe { _mm256_set1_ps(value) }; 2]
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Vector {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_loadu_ps(values.as_ptr()),
                _mm256_loadu_ps(values.as_ptr().add(8)),
            ]
        }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; LANES]) -> Self::Vector {
        // SAFETY: see above.
        unsafe {
            let half = _mm256_loadu_si256(values.as_ptr().cast());
            [
                _mm256_cvtph_ps(_mm256_castsi256_si128(half)),
                _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(half)),
            ]
        }
    }

    #[inline(always)]
    fn load_bf16(self, values: &[bf16; LANES]) -> Self::Vector {
        // SAFETY: see above.
        unsafe {
            let half = _mm256_loadu_si256(values.as_ptr().cast());
            let bits = [
                _mm256_cvtepu16_epi32(_mm256_castsi256_si128(half)),
                _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(half)),
            ];
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[0])),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[1])),
            ]
        }
    }

    #[inline(always)]
    fn load_i8(self, values: &[i8; LANES]) -> Self::Vector {
        // SAFETY: see above.
        unsafe {
            let codes = _mm_loadu_si128(values.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(codes, codes))),
            ]
        }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, values: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe {
            _mm256_storeu_ps(values.as_mut_ptr(), vector[0]);
            _mm256_storeu_ps(values.as_mut_ptr().add(8), vector[1]);
        }
    }

    #[inline(always)]
    fn store_f16(self, vector: Self::Vector, values: &mut [f16; LANES]) {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
        // SAFETY: see above.
        unsafe {
            let target: *mut __m128i = values.as_mut_ptr().cast();
            _mm_storeu_si128(target, _mm256_cvtps_ph::<NEAREST>(vector[0]));
            _mm_storeu_si128(target.add(1), _mm256_cvtps_ph::<NEAREST>(vector[1]));
        }
    }

    #[inline(always)]
    fn add(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_add_ps(left[0], right[0]),
                _mm256_add_ps(left[1], right[1]),
            ]
        }
    }

    #[inline(always)]
    fn multiply_add(
        self,
        left: Self::Vector,
        right: Self::Vector,
        sum: Self::Vector,
    ) -> Self::Vector {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_fmadd_ps(left[0], right[0], sum[0]),
                _mm256_fmadd_ps(left[1], right[1], sum[1]),
            ]
        }
    }

    #[inline(always)]
    fn multiply(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_mul_ps(left[0], right[0]),
                _mm256_mul_ps(left[1], right[1]),
            ]
        }
    }

    #[inline(always)]
    fn load_codes(self, codes: &[u32; LANES]) -> Self::Codes {
        // SAFETY: see above.
        unsafe {
            let codes: *const __m256i = codes.as_ptr().cast();
            [_mm256_loadu_si256(codes), _mm256_loadu_si256(codes.add(1))]
        }
    }

    #[inline(always)]
    fn load_levels(self, levels: &[f32; 16]) -> Self::Levels {
        self.load(levels)
    }

    #[inline(always)]
    fn level(self, levels: Self::Levels, codes: Self::Codes, place: usize) -> Self::Vector {
        [
            level_of_eight(levels, codes[0], place),
            level_of_eight(levels, codes[1], place),
        ]
    }

    #[inline(always)]
    fn signed_byte(self, codes: Self::Codes, place: usize) -> Self::Vector {
        // SAFETY: see above.
        codes.map(|codes| unsafe {
            let up = _mm256_set1_epi32(24 - 8 * place as i32);
            let moved = _mm256_sllv_epi32(codes, up);
            _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(moved))
        })
    }

    #[inline(always)]
    fn sum(self, vector: Self::Vector) -> f32 {
        // SAFETY: see above.
        sum_of_eight(unsafe { _mm256_add_ps(vector[0], vector[1]) })
    }
}

//! Vectors of tokens for x86: of VNNI with activations +128, of plain AVX2 with activations of the values' sign.

use super::tokens::Tokens;
use crate::kernels::integer::activations::Offset;
use std::arch::x86_64::*;

/// 16 tokens of AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(super) struct Wide;
/// 8 tokens of AVX-VNNI.
#[derive(Clone, Copy)]
pub(super) struct Vnni;
/// 4 tokens of AVX-VNNI.
#[derive(Clone, Copy)]
pub(super) struct FewVnni;
/// 4 tokens of AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(super) struct FewWide;
/// 8 tokens of AVX2.
#[derive(Clone, Copy)]
pub(super) struct Plain;
/// 4 tokens of AVX2.
#[derive(Clone, Copy)]
pub(super) struct FewPlain;

/// Unsigned activations times signed values, added four by four.
macro_rules! vnni {
    ($kind:ident, $lanes:literal, $sums:ty, $zero:ident, $load:ident, $splat:ident, $dot:ident, $add:ident, $store:ident) => {
        impl Tokens for $kind {
            const LANES: usize = $lanes;
            const OFFSET: Offset = Offset::Full;
            type Sums = $sums;

            #[inline(always)]
            unsafe fn zero() -> $sums {
                // SAFETY: the caller's.
                unsafe { $zero() }
            }

            #[inline(always)]
            unsafe fn add(sums: $sums, activations: *const u8, values: i32) -> $sums {
                // SAFETY: the caller's.
                unsafe { $dot(sums, $load(activations.cast()), $splat(values)) }
            }

            #[inline(always)]
            unsafe fn plus(left: $sums, right: $sums) -> $sums {
                // SAFETY: the caller's.
                unsafe { $add(left, right) }
            }

            #[inline(always)]
            unsafe fn store(sums: $sums, to: *mut i32) {
                // SAFETY: the caller's.
                unsafe { $store(to.cast(), sums) };
            }
        }
    };
}

#[rustfmt::skip]
vnni!(Wide, 16, __m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_dpbusd_epi32,
    _mm512_add_epi32, _mm512_storeu_si512);
#[rustfmt::skip]
vnni!(FewWide, 4, __m128i, _mm_setzero_si128, _mm_loadu_si128, _mm_set1_epi32, _mm_dpbusd_epi32,
    _mm_add_epi32, _mm_storeu_si128);
#[rustfmt::skip]
vnni!(Vnni, 8, __m256i, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_dpbusd_avx_epi32,
    _mm256_add_epi32, _mm256_storeu_si256);
#[rustfmt::skip]
vnni!(FewVnni, 4, __m128i, _mm_setzero_si128, _mm_loadu_si128, _mm_set1_epi32, _mm_dpbusd_avx_epi32,
    _mm_add_epi32, _mm_storeu_si128);

/// Magnitudes of values times activations of their sign: two products reach `2 * 128 * 127`, which 16 bits hold.
macro_rules! plain {
    ($kind:ident, $lanes:literal, $sums:ty, $zero:ident, $load:ident, $splat:ident, $abs:ident, $sign:ident,
     $pairs:ident, $fours:ident, $ones:ident, $add:ident, $store:ident) => {
        impl Tokens for $kind {
            const LANES: usize = $lanes;
            const OFFSET: Offset = Offset::None;
            type Sums = $sums;

            #[inline(always)]
            unsafe fn zero() -> $sums {
                // SAFETY: the caller's.
                unsafe { $zero() }
            }

            #[inline(always)]
            unsafe fn add(sums: $sums, activations: *const u8, values: i32) -> $sums {
                // SAFETY: the caller's.
                unsafe {
                    let values = $splat(values);
                    let signed = $sign($load(activations.cast()), values);
                    let pairs = $pairs($abs(values), signed);
                    $add(sums, $fours(pairs, $ones(1)))
                }
            }

            #[inline(always)]
            unsafe fn plus(left: $sums, right: $sums) -> $sums {
                // SAFETY: the caller's.
                unsafe { $add(left, right) }
            }

            #[inline(always)]
            unsafe fn store(sums: $sums, to: *mut i32) {
                // SAFETY: the caller's.
                unsafe { $store(to.cast(), sums) };
            }
        }
    };
}

plain!(
    Plain,
    8,
    __m256i,
    _mm256_setzero_si256,
    _mm256_loadu_si256,
    _mm256_set1_epi32,
    _mm256_abs_epi8,
    _mm256_sign_epi8,
    _mm256_maddubs_epi16,
    _mm256_madd_epi16,
    _mm256_set1_epi16,
    _mm256_add_epi32,
    _mm256_storeu_si256
);
plain!(
    FewPlain,
    4,
    __m128i,
    _mm_setzero_si128,
    _mm_loadu_si128,
    _mm_set1_epi32,
    _mm_abs_epi8,
    _mm_sign_epi8,
    _mm_maddubs_epi16,
    _mm_madd_epi16,
    _mm_set1_epi16,
    _mm_add_epi32,
    _mm_storeu_si128
);

//! Lanes as an array: what all others mean.

use super::{LANES, Lanes};
use half::{bf16, f16};

/// Every machine has it.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Lanes for Portable {
    type Vector = [f32; LANES];
    type Codes = [u32; LANES];
    type Levels = [f32; 16];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Vector {
        *values
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; LANES]) -> Self::Vector {
        values.map(f16::to_f32)
    }

    #[inline(always)]
    fn load_bf16(self, values: &[bf16; LANES]) -> Self::Vector {
        values.map(bf16::to_f32)
    }

    #[inline(always)]
    fn load_i8(self, values: &[i8; LANES]) -> Self::Vector {
        values.map(f32::from)
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, values: &mut [f32; LANES]) {
        *values = vector;
    }

    #[inline(always)]
    fn store_f16(self, vector: Self::Vector, values: &mut [f16; LANES]) {
        *values = vector.map(f16::from_f32);
    }

    #[inline(always)]
    fn add(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| left[lane] + right[lane])
    }

    #[inline(always)]
    fn multiply_add(
        self,
        left: Self::Vector,
        right: Self::Vector,
        sum: Self::Vector,
    ) -> Self::Vector {
        std::array::from_fn(|lane| left[lane].mul_add(right[lane], sum[lane]))
    }

    #[inline(always)]
    fn multiply(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| left[lane] * right[lane])
    }

    #[inline(always)]
    fn load_codes(self, codes: &[u32; LANES]) -> Self::Codes {
        *codes
    }

    #[inline(always)]
    fn load_levels(self, levels: &[f32; 16]) -> Self::Levels {
        *levels
    }

    #[inline(always)]
    fn level(self, levels: Self::Levels, codes: Self::Codes, place: usize) -> Self::Vector {
        codes.map(|codes| levels[(codes >> (4 * place) & 15) as usize])
    }

    #[inline(always)]
    fn signed_byte(self, codes: Self::Codes, place: usize) -> Self::Vector {
        codes.map(|code| f32::from((code >> (8 * place)) as i8))
    }

    #[inline(always)]
    fn sum(self, mut vector: Self::Vector) -> f32 {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                vector[lane] += vector[lane + half];
            }
        }
        vector[0]
    }
}

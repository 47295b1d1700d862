//! The contract of one instruction set: vectors with a token in each 32-bit lane, and what a block adds to them.

use crate::kernels::integer::activations::Offset;

/// Most tokens of a stripe: with the longest segment it stays in the first-level cache.
pub(super) const MOST_TOKENS: usize = 32;

/// Sums of as many tokens as a vector has lanes.
pub(super) trait Tokens: Copy {
    /// Tokens of a vector.
    const LANES: usize;
    /// What is added to activations, to be taken off the sums later.
    const OFFSET: Offset;
    /// 32-bit sums.
    type Sums: Copy;

    /// # Safety
    /// The machine has the instruction set.
    unsafe fn zero() -> Self::Sums;

    /// Adds the products of four values, one in each byte, with four activations of each token.
    ///
    /// # Safety
    /// As above, and four bytes of each lane are there to be read.
    unsafe fn add(sums: Self::Sums, activations: *const u8, values: i32) -> Self::Sums;

    /// `left + right`.
    ///
    /// # Safety
    /// As above.
    unsafe fn plus(left: Self::Sums, right: Self::Sums) -> Self::Sums;

    /// To where the lanes have room.
    ///
    /// # Safety
    /// As above.
    unsafe fn store(sums: Self::Sums, to: *mut i32);
}

/// Tokens in plain loops.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Tokens for Portable {
    const LANES: usize = 4;
    const OFFSET: Offset = Offset::None;
    type Sums = [i32; 4];

    #[inline(always)]
    unsafe fn zero() -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    unsafe fn add(mut sums: [i32; 4], activations: *const u8, values: i32) -> [i32; 4] {
        for (lane, sum) in sums.iter_mut().enumerate() {
            for (place, value) in values.to_le_bytes().into_iter().enumerate() {
                // SAFETY: the caller's.
                let activation = unsafe { *activations.add(4 * lane + place) };
                *sum += i32::from(value as i8) * i32::from(activation as i8);
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn plus(left: [i32; 4], right: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| left[lane] + right[lane])
    }

    #[inline(always)]
    unsafe fn store(sums: [i32; 4], to: *mut i32) {
        // SAFETY: the caller's.
        unsafe { to.cast::<[i32; 4]>().write_unaligned(sums) };
    }
}

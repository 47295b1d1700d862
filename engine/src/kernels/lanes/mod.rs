//! Sixteen f32 side by side, in whatever registers a machine has: loops are written once and compiled for each.
//!
//! Left to itself the compiler keeps arrays of sums in memory; here each is one 512-bit, two 256-bit or four 128-bit
//! registers. Every operation rounds alike everywhere, so results are equal to the last bit.
//! A token stands for an instruction set; only `with_lanes` makes one, after looking.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::dispatch::{InstructionSet, instruction_set};
use half::{bf16, f16};

/// Values in one vector.
pub(super) const LANES: usize = 16;

/// Proof that the machine has an instruction set, and its operations.
pub(super) trait Lanes: Copy {
    /// Sixteen f32.
    type Vector: Copy;
    /// Sixteen u32.
    type Codes: Copy;
    /// Sixteen f32 to look up in.
    type Levels: Copy;

    /// `value` in each lane.
    fn splat(self, value: f32) -> Self::Vector;
    /// As they lie.
    fn load(self, values: &[f32; LANES]) -> Self::Vector;
    /// Widened; exact.
    fn load_f16(self, values: &[f16; LANES]) -> Self::Vector;
    /// Widened; exact.
    fn load_bf16(self, values: &[bf16; LANES]) -> Self::Vector;
    /// Widened; exact.
    fn load_i8(self, values: &[i8; LANES]) -> Self::Vector;
    /// As they lie.
    fn store(self, vector: Self::Vector, values: &mut [f32; LANES]);
    /// Rounded to nearest, ties to even.
    fn store_f16(self, vector: Self::Vector, values: &mut [f16; LANES]);
    /// Lane by lane.
    fn add(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// `left * right + sum`, rounded once.
    fn multiply_add(
        self,
        left: Self::Vector,
        right: Self::Vector,
        sum: Self::Vector,
    ) -> Self::Vector;

    /// Lane by lane.
    fn multiply(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// As they lie.
    fn load_codes(self, codes: &[u32; LANES]) -> Self::Codes;
    /// As they lie.
    fn load_levels(self, levels: &[f32; 16]) -> Self::Levels;
    /// In each lane the level that bits `4 * place..4 * place + 4` of its code name.
    fn level(self, levels: Self::Levels, codes: Self::Codes, place: usize) -> Self::Vector;

    /// In each lane byte `place` of its code, as a signed number.
    fn signed_byte(self, codes: Self::Codes, place: usize) -> Self::Vector;

    /// Lanes added in pairs: `16 -> 8 -> 4 -> 2 -> 1`, each lane with that half the vector further.
    fn sum(self, vector: Self::Vector) -> f32;
}

/// A loop over lanes; `run` has to be `#[inline(always)]`, and so has all that it hands its token to.
pub(super) trait OverLanes {
    /// What comes out.
    type Output;

    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Runs `work` with the best registers of this machine.
#[inline]
pub(super) fn with_lanes<W: OverLanes>(work: W) -> W::Output {
    let set = instruction_set();
    #[cfg(target_arch = "x86_64")]
    if set <= InstructionSet::Avx512 {
        // SAFETY: `instruction_set` found the features on this machine.
        return unsafe { x86::with_avx512(work) };
    } else if set <= InstructionSet::Avx2 {
        // SAFETY: as above.
        return unsafe { x86::with_avx2(work) };
    }
    #[cfg(target_arch = "aarch64")]
    if set < InstructionSet::Portable {
        return neon::with_neon(work);
    }
    let _ = set;
    work.run(portable::Portable)
}

/// A number as it is stored, sixteen of them readable as lanes.
pub(super) trait Stored: Copy + Send + Sync {
    /// Widened to f32; exact.
    fn load<L: Lanes>(lanes: L, values: &[Self; LANES]) -> L::Vector;

    /// Widened to f32; exact.
    fn widen(self) -> f32;

    /// The values themselves where they need no widening.
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }
}

impl Stored for f32 {
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, values: &[Self; LANES]) -> L::Vector {
        lanes.load(values)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, values: &[Self; LANES]) -> L::Vector {
        lanes.load_f16(values)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, values: &[Self; LANES]) -> L::Vector {
        lanes.load_bf16(values)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Stored for i8 {
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, values: &[Self; LANES]) -> L::Vector {
        lanes.load_i8(values)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }
}

/// `target = source`, widened.
pub(super) fn widen<W: Stored>(target: &mut [f32], source: &[W]) {
    with_lanes(Widen(target, source));
}

struct Widen<'a, W>(&'a mut [f32], &'a [W]);

impl<W: Stored> OverLanes for Widen<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (target, last) = self.0.as_chunks_mut();
        let (source, rest) = self.1.as_chunks();
        for (target, source) in target.iter_mut().zip(source) {
            lanes.store(W::load(lanes, source), target);
        }
        for (target, value) in last.iter_mut().zip(rest) {
            *target = value.widen();
        }
    }
}

/// `target = source`, rounded to nearest, ties to even.
pub(super) fn narrow_to_f16(target: &mut [f16], source: &[f32]) {
    with_lanes(Narrow(target, source));
}

struct Narrow<'a>(&'a mut [f16], &'a [f32]);

impl OverLanes for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (target, last) = self.0.as_chunks_mut();
        let (source, rest) = self.1.as_chunks();
        for (target, source) in target.iter_mut().zip(source) {
            lanes.store_f16(lanes.load(source), target);
        }
        for (target, &value) in last.iter_mut().zip(rest) {
            *target = f16::from_f32(value);
        }
    }
}

#[cfg(test)]
mod tests;

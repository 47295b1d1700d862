//! One choice of instruction set for the whole process, and the macro that compiles a loop once for each of them.
//!
//! Bodies are plain Rust that the compiler vectorizes; they use no fused multiply-add and sum in a fixed lane order, so
//! that they give the same bits on every instruction set.

use std::sync::OnceLock;

/// What this machine's vector units can do, as far as kernels care; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// 512-bit vectors: AVX-512 F, BW, DQ and VL.
    Avx512,
    /// 256-bit vectors: AVX2 and FMA.
    Avx2,
    /// What every machine of the target has.
    Portable,
}

impl InstructionSet {
    /// The name that reports print.
    pub fn word(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }
}

/// The instruction set of this machine, found once.
pub fn instruction_set() -> InstructionSet {
    static FOUND: OnceLock<InstructionSet> = OnceLock::new();
    let found = *FOUND.get_or_init(detect);
    #[cfg(test)]
    let found = found.max(LEAST.get());
    found
}

#[cfg(test)]
thread_local! {
    /// Tests of this thread see no better instruction set than this one.
    static LEAST: std::cell::Cell<InstructionSet> = const { std::cell::Cell::new(InstructionSet::Avx512) };
}

/// Runs `work` on every instruction set that this machine has and asserts that all results are equal.
#[cfg(test)]
pub(crate) fn same_on_every_instruction_set<R: PartialEq>(work: impl Fn() -> R) {
    LEAST.set(InstructionSet::Portable);
    let expected = work();
    for set in [InstructionSet::Avx2, InstructionSet::Avx512] {
        LEAST.set(set);
        assert!(work() == expected, "{set:?} differs from the portable body");
    }
    LEAST.set(InstructionSet::Avx512);
}

#[cfg(target_arch = "x86_64")]
fn detect() -> InstructionSet {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => InstructionSet::Avx512,
        (true, false) => InstructionSet::Avx2,
        (false, _) => InstructionSet::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> InstructionSet {
    InstructionSet::Portable
}

/// Compiles a function's body once per instruction set and calls the one that this machine has.
macro_rules! per_instruction_set {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident $(<$element:ident: $bound:path>)? (
            $($argument:ident: $kind:ty),* $(,)?
        ) $(-> $result:ty)? $body:block
    ) => {
        $(#[$attribute])*
        $visibility fn $name $(<$element: $bound>)? ($($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn portable $(<$element: $bound>)? ($($argument: $kind),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::dispatch::{InstructionSet, instruction_set};

                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512 $(<$element: $bound>)? ($($argument: $kind),*) $(-> $result)? {
                    portable($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$element: $bound>)? ($($argument: $kind),*) $(-> $result)? {
                    portable($($argument),*)
                }
                match instruction_set() {
                    // SAFETY: `instruction_set` found these features on this machine.
                    InstructionSet::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    InstructionSet::Avx2 => return unsafe { avx2($($argument),*) },
                    InstructionSet::Portable => {}
                }
            }
            portable($($argument),*)
        }
    };
}
pub(crate) use per_instruction_set;

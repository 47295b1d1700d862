//! One choice of instruction set for the whole process, and the macro that compiles a loop once for each of them.
//!
//! Bodies are plain Rust that the compiler vectorizes; they use no fused multiply-add and sum in a fixed lane order, so
//! that they give the same bits on every instruction set.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// How many sets there are.
const SETS: usize = 8;

/// What a machine's vector units can do, as far as kernels care; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// 512-bit vectors with products of four bytes: AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// 512-bit vectors: AVX-512 F, BW, DQ and VL.
    Avx512,
    /// 256-bit vectors with products of four bytes: AVX2, FMA, F16C and AVX-VNNI.
    Avx2Vnni,
    /// 256-bit vectors: AVX2, FMA and F16C.
    Avx2,
    /// 128-bit vectors of arm64 with products of four bytes, unsigned times signed: i8mm and dotprod.
    NeonI8mm,
    /// 128-bit vectors of arm64 with products of four signed bytes: dotprod.
    NeonDot,
    /// 128-bit vectors of arm64: NEON.
    Neon,
    /// What every machine of the target has.
    Portable,
}

impl InstructionSet {
    /// All sets, the best first.
    pub const ALL: [Self; SETS] = [
        Self::Avx512Vnni,
        Self::Avx512,
        Self::Avx2Vnni,
        Self::Avx2,
        Self::NeonI8mm,
        Self::NeonDot,
        Self::Neon,
        Self::Portable,
    ];

    /// The name that reports print.
    pub fn word(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx512 => "avx512",
            Self::Avx2Vnni => "avx2-vnni",
            Self::Avx2 => "avx2",
            Self::NeonI8mm => "neon-i8mm",
            Self::NeonDot => "neon-dotprod",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// Whether this machine has it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match self {
            Self::Avx512Vnni => avx512 && is_x86_feature_detected!("avx512vnni"),
            Self::Avx512 => avx512,
            Self::Avx2Vnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Self::Avx2 => avx2,
            Self::NeonI8mm | Self::NeonDot | Self::Neon => false,
            Self::Portable => true,
        }
    }

    /// Whether this machine has it.
    #[cfg(target_arch = "aarch64")]
    pub fn is_available(self) -> bool {
        use std::arch::is_aarch64_feature_detected;
        let dotprod = is_aarch64_feature_detected!("dotprod");
        match self {
            Self::NeonI8mm => dotprod && is_aarch64_feature_detected!("i8mm"),
            Self::NeonDot => dotprod,
            Self::Neon | Self::Portable => true,
            Self::Avx512Vnni | Self::Avx512 | Self::Avx2Vnni | Self::Avx2 => false,
        }
    }

    /// Whether this machine has it.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn is_available(self) -> bool {
        self == Self::Portable
    }

    /// The best set of this machine that is no better than `self`.
    fn best_available(self) -> Self {
        let mut sets = Self::ALL.into_iter().filter(|&set| set >= self);
        sets.find(|set| set.is_available())
            .unwrap_or(Self::Portable)
    }
}

/// Nothing better than the set of this index is used: all but benches leave it at the best.
static LIMIT: AtomicU8 = AtomicU8::new(0);

/// Lets this process use nothing better than `set`, so that a bench can show what a lesser machine would do. Results
/// are the same.
pub fn limit_instruction_set(set: InstructionSet) {
    LIMIT.store(set as u8, Ordering::Relaxed);
}

/// The instruction set that kernels use: the best of this machine, found once.
#[inline]
pub fn instruction_set() -> InstructionSet {
    static FOUND: OnceLock<[InstructionSet; SETS]> = OnceLock::new();
    let best = FOUND.get_or_init(|| InstructionSet::ALL.map(InstructionSet::best_available));
    let limit = LIMIT.load(Ordering::Relaxed);
    #[cfg(test)]
    let limit = limit.max(LEAST.get() as u8);
    best[usize::from(limit)]
}

#[cfg(test)]
thread_local! {
    /// Tests of this thread see no better instruction set than this one.
    static LEAST: std::cell::Cell<InstructionSet> =
        const { std::cell::Cell::new(InstructionSet::Avx512Vnni) };
}

/// Runs `work` on every instruction set that this machine has and asserts that all results are equal.
#[cfg(test)]
pub(crate) fn same_on_every_instruction_set<R: PartialEq>(work: impl Fn() -> R) {
    LEAST.set(InstructionSet::Portable);
    let expected = work();
    for set in InstructionSet::ALL.into_iter().rev() {
        LEAST.set(set);
        assert!(work() == expected, "{set:?} differs from the portable body");
    }
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
                    InstructionSet::Avx512Vnni | InstructionSet::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    InstructionSet::Avx2Vnni | InstructionSet::Avx2 => return unsafe { avx2($($argument),*) },
                    _ => {}
                }
            }
            portable($($argument),*)
        }
    };
}
pub(crate) use per_instruction_set;

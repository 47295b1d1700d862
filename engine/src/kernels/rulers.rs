//! What this machine can do at best, on one thread: multiply-adds of floats and of bytes in registers, reads from memory.
//!
//! Benchmarks run these beside the kernels, in the same seconds, and report fractions. No clock here.

/// Vectors that are updated in turn: more than latency times pipes, fewer than registers.
const CHAINS: usize = 12;

/// Runs `rounds` of independent f32 multiply-adds in registers. Returns the floating point operations done (a
/// multiply-add counts two) and a value that depends on all of them, so that nothing is optimized away.
pub fn multiply_adds(rounds: u64) -> (u64, f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use super::dispatch::{InstructionSet, instruction_set};
        match instruction_set() {
            InstructionSet::Avx512Vnni | InstructionSet::Avx512 => {
                // SAFETY: `instruction_set` found the features on this machine.
                return unsafe { x86::multiply_adds_512(rounds) };
            }
            InstructionSet::Avx2Vnni | InstructionSet::Avx2 => {
                // SAFETY: as above.
                return unsafe { x86::multiply_adds_256(rounds) };
            }
            _ => {}
        }
    }
    multiply_adds_portable(rounds)
}

/// Runs `rounds` of independent products of bytes in registers, as the integer kernels of this instruction set do them.
/// Returns the multiply-adds done (each counts one) and a value that depends on all of them.
pub fn integer_multiply_adds(rounds: u64) -> (u64, i32) {
    #[cfg(target_arch = "x86_64")]
    {
        use super::dispatch::{InstructionSet, instruction_set};
        match instruction_set() {
            // SAFETY: `instruction_set` found the features on this machine.
            InstructionSet::Avx512Vnni => return unsafe { x86::integers_vnni_512(rounds) },
            // SAFETY: as above.
            InstructionSet::Avx2Vnni => return unsafe { x86::integers_vnni_256(rounds) },
            InstructionSet::Avx512 | InstructionSet::Avx2 => {
                // SAFETY: as above.
                return unsafe { x86::integers_256(rounds) };
            }
            _ => {}
        }
    }
    integers_portable(rounds)
}

fn integers_portable(rounds: u64) -> (u64, i32) {
    const LANES: usize = 4;
    let mut sums = [[1i32; LANES]; CHAINS];
    let factor = std::hint::black_box(3i16);
    for _ in 0..rounds {
        for value in sums.as_flattened_mut() {
            *value = value.wrapping_add(i32::from(*value as i16) * i32::from(factor));
        }
    }
    let count = rounds * (CHAINS * LANES) as u64;
    (
        count,
        sums.as_flattened()
            .iter()
            .fold(0, |sum, &value| sum.wrapping_add(value)),
    )
}

fn multiply_adds_portable(rounds: u64) -> (u64, f32) {
    const LANES: usize = 4;
    let mut sums = [[0.5f32; LANES]; CHAINS];
    let factor = std::hint::black_box(0.999f32);
    for _ in 0..rounds {
        for value in sums.as_flattened_mut() {
            *value = *value * factor + factor;
        }
    }
    let flops = rounds * 2 * (CHAINS * LANES) as u64;
    (flops, sums.as_flattened().iter().sum())
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::CHAINS;
    use crate::kernels::prefetch::{AHEAD, prefetch};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub(super) fn multiply_adds_512(rounds: u64) -> (u64, f32) {
        let factor = _mm512_set1_ps(std::hint::black_box(0.999));
        let mut sums = [factor; CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, factor);
            }
        }
        let total = sums
            .into_iter()
            .fold(_mm512_setzero_ps(), |total, sum| _mm512_add_ps(total, sum));
        (
            rounds * 2 * (CHAINS * 16) as u64,
            _mm512_reduce_add_ps(total),
        )
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn multiply_adds_256(rounds: u64) -> (u64, f32) {
        let factor = _mm256_set1_ps(std::hint::black_box(0.999));
        let mut sums = [factor; CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        let total = sums
            .into_iter()
            .fold(_mm256_setzero_ps(), |total, sum| _mm256_add_ps(total, sum));
        (
            rounds * 2 * (CHAINS * 8) as u64,
            _mm_cvtss_f32(_mm256_castps256_ps128(total)),
        )
    }

    /// Words of a pass of the reading loops: four cache lines.
    const PASS: usize = 32;

    #[target_feature(enable = "avx512f")]
    pub(super) fn read_all_512(words: &[u64]) -> u64 {
        let (passes, last) = words.as_chunks::<PASS>();
        let mut sums = [_mm512_setzero_si512(); 4];
        for (index, pass) in passes.iter().enumerate() {
            ask_ahead(passes, index);
            for (sum, line) in sums.iter_mut().zip(pass.as_chunks::<8>().0) {
                // SAFETY: eight words are there to be read.
                let line = unsafe { _mm512_loadu_si512(line.as_ptr().cast()) };
                *sum = _mm512_add_epi64(*sum, line);
            }
        }
        let mut lanes = [[0u64; 8]; 4];
        for (lanes, sum) in lanes.iter_mut().zip(sums) {
            // SAFETY: there is room for eight words.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sum) };
        }
        super::read_all_portable(lanes.as_flattened()).wrapping_add(super::read_all_portable(last))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn read_all_256(words: &[u64]) -> u64 {
        let (passes, last) = words.as_chunks::<PASS>();
        let mut sums = [_mm256_setzero_si256(); 8];
        for (index, pass) in passes.iter().enumerate() {
            ask_ahead(passes, index);
            for (sum, part) in sums.iter_mut().zip(pass.as_chunks::<4>().0) {
                // SAFETY: four words are there to be read.
                let part = unsafe { _mm256_loadu_si256(part.as_ptr().cast()) };
                *sum = _mm256_add_epi64(*sum, part);
            }
        }
        let mut lanes = [[0u64; 4]; 8];
        for (lanes, sum) in lanes.iter_mut().zip(sums) {
            // SAFETY: there is room for four words.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        }
        super::read_all_portable(lanes.as_flattened()).wrapping_add(super::read_all_portable(last))
    }

    /// As the kernels do.
    #[inline(always)]
    fn ask_ahead(passes: &[[u64; PASS]], index: usize) {
        for line in 0..4 {
            prefetch(&passes[index], AHEAD + 64 * line);
        }
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn integers_vnni_512(rounds: u64) -> (u64, i32) {
        let factor = _mm512_set1_epi8(std::hint::black_box(3));
        let mut sums = [factor; CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        let total = sums
            .into_iter()
            .fold(factor, |total, sum| _mm512_add_epi32(total, sum));
        (
            rounds * (CHAINS * 64) as u64,
            _mm512_reduce_add_epi32(total),
        )
    }

    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) fn integers_vnni_256(rounds: u64) -> (u64, i32) {
        let factor = _mm256_set1_epi8(std::hint::black_box(3));
        let mut sums = [factor; CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_dpbusd_avx_epi32(*sum, factor, factor);
            }
        }
        total_256(rounds, sums)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn integers_256(rounds: u64) -> (u64, i32) {
        let factor = _mm256_set1_epi8(std::hint::black_box(3));
        let ones = _mm256_set1_epi16(std::hint::black_box(1));
        let mut sums = [factor; CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                // Depends on the sum, so that the product is not taken out of the loop.
                let products = _mm256_madd_epi16(_mm256_maddubs_epi16(*sum, factor), ones);
                *sum = _mm256_add_epi32(factor, products);
            }
        }
        total_256(rounds, sums)
    }

    #[target_feature(enable = "avx2")]
    fn total_256(rounds: u64, sums: [__m256i; CHAINS]) -> (u64, i32) {
        let total = sums.into_iter().fold(_mm256_setzero_si256(), |total, sum| {
            _mm256_add_epi32(total, sum)
        });
        (
            rounds * (CHAINS * 32) as u64,
            _mm_cvtsi128_si32(_mm256_castsi256_si128(total)),
        )
    }
}

/// Reads every word once and returns their wrapping sum.
pub fn read_all(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        use super::dispatch::{InstructionSet, instruction_set};
        match instruction_set() {
            InstructionSet::Avx512Vnni | InstructionSet::Avx512 => {
                // SAFETY: `instruction_set` found the features on this machine.
                return unsafe { x86::read_all_512(words) };
            }
            InstructionSet::Avx2Vnni | InstructionSet::Avx2 => {
                // SAFETY: as above.
                return unsafe { x86::read_all_256(words) };
            }
            _ => {}
        }
    }
    read_all_portable(words)
}

fn read_all_portable(words: &[u64]) -> u64 {
    const LANES: usize = 8;
    let mut sums = [0u64; LANES];
    let (whole, last) = words.as_chunks::<LANES>();
    for words in whole {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    let all = sums.iter().chain(last);
    all.fold(0, |sum, &word| sum.wrapping_add(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::same_on_every_instruction_set;

    #[test]
    fn reading_sums_every_word() {
        for len in [0, 1, 31, 32, 33, 100] {
            let words: Vec<u64> = (1..=len).collect();
            same_on_every_instruction_set(|| assert_eq!(read_all(&words), len * (len + 1) / 2));
        }
    }

    #[test]
    fn multiply_adds_count_their_operations() {
        let (flops, value) = multiply_adds(10);
        assert!(flops >= 10 * 2 * CHAINS as u64 && value.is_finite());
        assert!(integer_multiply_adds(10).0 >= 10 * CHAINS as u64);
    }
}

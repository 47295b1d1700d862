//! Rounding loops: the error of many candidate grids over one group, and codes from weights.
//!
//! Candidates sit in lanes, eight to a block; weights are broadcast. So no sum runs across lanes, no group has a tail,
//! and each candidate's error is the same sequence of f32 operations on every instruction set: results are equal to the
//! last bit whichever variant runs. Multiply and add stay separate for the same reason.
//! Knows no grid type: scales and code bounds come as plain numbers.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
use super::dispatch::InstructionSet;
use super::dispatch::instruction_set;

/// Candidates of one block.
pub const LANES: usize = 8;

/// Adding and subtracting `1.5 * 2^23` rounds to the nearest integer, ties to even, for magnitudes below `2^22`.
const ROUNDER: f32 = 12_582_912.0;

/// Weights summed in f32 before they are added to the f64 total.
const CHUNK: usize = 256;

/// Eight candidate grids: a weight is rounded to `scale * clamp(round(weight * inverse), low, high)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidates {
    /// `1 / scale`.
    pub inverse: [f32; LANES],
    /// Distance between levels.
    pub scale: [f32; LANES],
    /// Least level, a whole number: minus the zero point.
    pub low: [f32; LANES],
    /// Largest level, a whole number: largest code minus the zero point.
    pub high: [f32; LANES],
}

/// `errors[block][lane] = Σ_j importance_j (weight_j - rounded_j)²` for every candidate. No importance means 1.
///
/// # Panics
/// If `importance` is shorter than `weights` or `errors` than `blocks`.
pub fn candidate_errors(
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &[Candidates],
    errors: &mut [[f64; LANES]],
) {
    let mut done = 0;
    while done < blocks.len() {
        let (blocks, errors) = (&blocks[done..], &mut errors[done..]);
        done += if let Some(blocks) = blocks.first_chunk::<3>() {
            dispatch_errors(weights, importance, blocks, errors)
        } else if let Some(blocks) = blocks.first_chunk::<2>() {
            dispatch_errors(weights, importance, blocks, errors)
        } else {
            dispatch_errors(weights, importance, &[blocks[0]], errors)
        };
    }
}

/// Codes of `weights` on one grid: `clamp(round(weight / scale + zero), 0, max_code)`, ties to even, NaN to 0.
pub fn encode(weights: &[f32], scale: f32, zero: f32, max_code: f32, codes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if instruction_set() != InstructionSet::Portable {
        // SAFETY: `instruction_set` found AVX2 on this machine.
        return unsafe { encode_avx2(weights, scale, zero, max_code, codes) };
    }
    encode_body(weights, scale, zero, max_code, codes);
}

/// Smallest and largest of `weights` and 0. NaN is passed over.
pub fn range_with_zero(weights: &[f32]) -> (f32, f32) {
    let mut low = [0.0f32; LANES];
    let mut high = [0.0f32; LANES];
    let (whole, rest) = weights.as_chunks::<LANES>();
    let mut fold = |lane: usize, weight: f32| {
        low[lane] = if weight < low[lane] {
            weight
        } else {
            low[lane]
        };
        high[lane] = if weight > high[lane] {
            weight
        } else {
            high[lane]
        };
    };
    for chunk in whole {
        for (lane, &weight) in chunk.iter().enumerate() {
            fold(lane, weight);
        }
    }
    for (lane, &weight) in rest.iter().enumerate() {
        fold(lane, weight);
    }
    (
        low.into_iter().fold(0.0, f32::min),
        high.into_iter().fold(0.0, f32::max),
    )
}

/// Runs the best variant for `B` blocks and returns `B`.
#[inline(always)]
fn dispatch_errors<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &[Candidates; B],
    errors: &mut [[f64; LANES]],
) -> usize {
    let sums = match instruction_set() {
        // SAFETY: `instruction_set` found the features on this machine.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni | InstructionSet::Avx512 => unsafe {
            x86::errors_avx512(weights, importance, blocks)
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2Vnni | InstructionSet::Avx2 => unsafe {
            x86::errors_avx2(weights, importance, blocks)
        },
        _ => errors_body(weights, importance, blocks),
    };
    errors[..B].copy_from_slice(&sums);
    B
}

fn errors_body<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &[Candidates; B],
) -> [[f64; LANES]; B] {
    total(weights, importance, |weights, importance| {
        let mut sums = [[0.0f32; LANES]; B];
        for (index, &weight) in weights.iter().enumerate() {
            let importance = importance.map_or(1.0, |importance| importance[index]);
            for (sums, candidates) in sums.iter_mut().zip(blocks) {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let level = weight * candidates.inverse[lane];
                    let level = larger(level, candidates.low[lane]);
                    let level = smaller(level, candidates.high[lane]);
                    let level = (level + ROUNDER) - ROUNDER;
                    let error = weight - level * candidates.scale[lane];
                    *sum += (error * importance) * error;
                }
            }
        }
        sums
    })
}

/// Adds up, in f64, what `chunk_errors` gives for each chunk of weights and their importance.
#[inline(always)]
fn total<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    chunk_errors: impl Fn(&[f32], Option<&[f32]>) -> [[f32; LANES]; B],
) -> [[f64; LANES]; B] {
    let mut totals = [[0.0f64; LANES]; B];
    for (index, chunk) in weights.chunks(CHUNK).enumerate() {
        let start = index * CHUNK;
        let importance = importance.map(|importance| &importance[start..start + chunk.len()]);
        let sums = chunk_errors(chunk, importance);
        for (totals, sums) in totals.iter_mut().zip(&sums) {
            for (total, &sum) in totals.iter_mut().zip(sums) {
                *total += f64::from(sum);
            }
        }
    }
    totals
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn encode_avx2(weights: &[f32], scale: f32, zero: f32, max_code: f32, codes: &mut [u8]) {
    encode_body(weights, scale, zero, max_code, codes);
}

#[inline(always)]
fn encode_body(weights: &[f32], scale: f32, zero: f32, max_code: f32, codes: &mut [u8]) {
    for (code, &weight) in codes.iter_mut().zip(weights) {
        let level = smaller(larger(weight / scale + zero, 0.0), max_code);
        // The sum's lowest mantissa bits are the rounded code.
        *code = (level + ROUNDER).to_bits() as u8;
    }
}

/// The larger value, `bound` for NaN: one instruction, unlike `f32::max`.
#[inline(always)]
fn larger(value: f32, bound: f32) -> f32 {
    if value > bound { value } else { bound }
}

/// The smaller value, `bound` for NaN.
#[inline(always)]
fn smaller(value: f32, bound: f32) -> f32 {
    if value < bound { value } else { bound }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::same_on_every_instruction_set;
    use crate::rng::Rng;

    fn normals(count: usize, stream: u64) -> Vec<f32> {
        let mut rng = Rng::new(7, stream);
        (0..count).map(|_| rng.normal() as f32).collect()
    }

    fn some_candidates(seed: f32) -> Candidates {
        let scale = std::array::from_fn(|lane| (lane as f32 + 1.0 + seed) * 0.07);
        Candidates {
            scale,
            inverse: scale.map(|scale| 1.0 / scale),
            low: std::array::from_fn(|lane| -(lane as f32)),
            high: std::array::from_fn(|lane| 15.0 - lane as f32),
        }
    }

    /// The slow twin: the formula in f64.
    fn slow_error(
        weights: &[f32],
        importance: &[f32],
        candidates: &Candidates,
        lane: usize,
    ) -> f64 {
        let (scale, low, high) = (
            f64::from(candidates.scale[lane]),
            f64::from(candidates.low[lane]),
            f64::from(candidates.high[lane]),
        );
        weights
            .iter()
            .zip(importance)
            .map(|(&weight, &importance)| {
                let level = (f64::from(weight) / scale)
                    .round_ties_even()
                    .clamp(low, high);
                f64::from(importance) * (f64::from(weight) - level * scale).powi(2)
            })
            .sum()
    }

    #[test]
    fn errors_follow_the_slow_twin_at_every_length_and_block_count() {
        for length in [0, 1, 7, 8, 31, 128, 255, 256, 257, 700] {
            let weights = normals(length, 1);
            let importance: Vec<f32> = normals(length, 2).iter().map(|x| x * x).collect();
            for count in 1..=7 {
                let blocks: Vec<_> = (0..count)
                    .map(|index| some_candidates(index as f32))
                    .collect();
                let mut errors = vec![[f64::NAN; LANES]; count];
                candidate_errors(&weights, Some(&importance), &blocks, &mut errors);
                for (block, errors) in blocks.iter().zip(&errors) {
                    for (lane, &error) in errors.iter().enumerate() {
                        let expected = slow_error(&weights, &importance, block, lane);
                        assert!(
                            (error - expected).abs() <= 1e-4 * expected,
                            "length {length}, {count} blocks, lane {lane}: expected {expected}, found {error}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let (weights, importance) = (normals(300, 3), normals(300, 4));
        let blocks: Vec<_> = (0..4).map(|seed| some_candidates(seed as f32)).collect();
        for count in 1..=4 {
            for importance in [None, Some(&importance[..])] {
                same_on_every_instruction_set(|| {
                    let mut errors = vec![[0.0; LANES]; count];
                    candidate_errors(&weights, importance, &blocks[..count], &mut errors);
                    errors
                });
            }
        }
        same_on_every_instruction_set(|| {
            let mut codes = [0; 300];
            encode(&weights, 0.3, 7.0, 15.0, &mut codes);
            codes
        });
    }

    #[test]
    fn codes_are_rounded_ties_to_even_and_clamped() {
        let weights = [
            0.5,
            1.5,
            2.5,
            -0.5,
            -1e30,
            1e30,
            f32::INFINITY,
            f32::NAN,
            254.5,
            255.5,
            3.0,
        ];
        let mut codes = [9; 11];
        encode(&weights, 1.0, 0.0, 255.0, &mut codes);
        assert_eq!(codes, [0, 2, 2, 0, 0, 255, 255, 0, 254, 255, 3]);
        for length in 0..70 {
            let weights = normals(length, 5);
            let mut codes = vec![0; length];
            encode(&weights, 0.21, 6.4, 15.0, &mut codes);
            let expected: Vec<u8> = weights
                .iter()
                .map(|weight| (weight / 0.21 + 6.4).round_ties_even().clamp(0.0, 15.0) as u8)
                .collect();
            assert_eq!(codes, expected, "length {length}");
        }
    }

    #[test]
    fn the_range_always_holds_zero() {
        assert_eq!(range_with_zero(&[]), (0.0, 0.0));
        assert_eq!(range_with_zero(&[3.0, 2.0]), (0.0, 3.0));
        assert_eq!(range_with_zero(&[-3.0, f32::NAN]), (-3.0, 0.0));
        let weights = normals(77, 6);
        let (low, high) = range_with_zero(&weights);
        assert!(
            weights
                .iter()
                .all(|&weight| low <= weight && weight <= high)
        );
        assert!(weights.contains(&low) && weights.contains(&high));
    }
}

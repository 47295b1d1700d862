//! Rounding loops: the error of many candidate grids over one group, and codes from weights.
//!
//! Candidates sit in lanes, eight to a block; weights are broadcast. So no sum runs across lanes, no group has a tail,
//! and each candidate's error is the same sequence of f32 operations on every instruction set: results are equal to the
//! last bit whichever variant runs. Multiply and add stay separate for the same reason.
//! Knows no grid type: scales and code bounds come as plain numbers.
#![allow(unsafe_code)]

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
        done += match blocks {
            [a, b, c, ..] => dispatch_errors(weights, importance, &[*a, *b, *c], errors),
            [a, b] => dispatch_errors(weights, importance, &[*a, *b], errors),
            [a] => dispatch_errors(weights, importance, &[*a], errors),
            [] => 0,
        };
    }
}

/// Codes of `weights` on one grid: `clamp(round(weight / scale + zero), 0, max_code)`, ties to even, NaN to 0.
pub fn encode(weights: &[f32], scale: f32, zero: f32, max_code: f32, codes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
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
    let sums = 'sums: {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            break 'sums unsafe { errors_avx2(weights, importance, blocks) };
        }
        errors_body(weights, importance, blocks)
    };
    errors[..B].copy_from_slice(&sums);
    B
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn errors_avx2<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &[Candidates; B],
) -> [[f64; LANES]; B] {
    errors_body(weights, importance, blocks)
}

#[inline(always)]
fn errors_body<const B: usize>(
    weights: &[f32],
    importance: Option<&[f32]>,
    blocks: &[Candidates; B],
) -> [[f64; LANES]; B] {
    let mut totals = [[0.0f64; LANES]; B];
    for (index, chunk) in weights.chunks(CHUNK).enumerate() {
        let start = index * CHUNK;
        let sums = match importance {
            Some(importance) => {
                let importance = &importance[start..start + chunk.len()];
                chunk_errors(
                    blocks,
                    chunk.iter().copied().zip(importance.iter().copied()),
                )
            }
            None => chunk_errors(blocks, chunk.iter().map(|&weight| (weight, 1.0))),
        };
        for block in 0..B {
            for lane in 0..LANES {
                totals[block][lane] += f64::from(sums[block][lane]);
            }
        }
    }
    totals
}

#[inline(always)]
fn chunk_errors<const B: usize>(
    blocks: &[Candidates; B],
    weighted: impl Iterator<Item = (f32, f32)>,
) -> [[f32; LANES]; B] {
    let mut sums = [[0.0f32; LANES]; B];
    for (weight, importance) in weighted {
        for block in 0..B {
            let candidates = &blocks[block];
            for lane in 0..LANES {
                let level = weight * candidates.inverse[lane];
                let level = larger(level, candidates.low[lane]);
                let level = smaller(level, candidates.high[lane]);
                let level = (level + ROUNDER) - ROUNDER;
                let error = weight - level * candidates.scale[lane];
                sums[block][lane] += (error * importance) * error;
            }
        }
    }
    sums
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
    fn every_variant_gives_the_same_bits() {
        let (weights, importance) = (normals(300, 3), normals(300, 4));
        let blocks = [
            some_candidates(0.0),
            some_candidates(0.5),
            some_candidates(2.0),
        ];
        let mut errors = [[0.0; LANES]; 3];
        candidate_errors(&weights, Some(&importance), &blocks, &mut errors);
        assert_eq!(errors, errors_body(&weights, Some(&importance), &blocks));
        candidate_errors(&weights, None, &blocks, &mut errors);
        assert_eq!(errors, errors_body(&weights, Some(&[1.0; 300]), &blocks));
        let (mut fast, mut plain) = ([0; 300], [0; 300]);
        encode(&weights, 0.3, 7.0, 15.0, &mut fast);
        encode_body(&weights, 0.3, 7.0, 15.0, &mut plain);
        assert_eq!(fast, plain);
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

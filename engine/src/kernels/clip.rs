//! The inner loop of clip searches: which of several grids rounds a group of weights best.

use super::dispatch::per_instruction_set;

/// One grid to try: `weight -> scale * clamp(round(weight * inverse), low, high)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Distance between levels.
    pub scale: f32,
    /// `1 / scale`.
    pub inverse: f32,
    /// Lowest level, in steps: minus the zero point. At most 0.
    pub low: f32,
    /// Highest level, in steps: the largest code minus the zero point. At least 0.
    pub high: f32,
}

/// Lanes that errors are summed in: the same on every instruction set.
const LANES: usize = 16;

per_instruction_set! {
    /// Index of the candidate with the least `Σ importance (rounded - weight)²`; the first of equals; 0 where there are none.
    ///
    /// Without importance every weight counts the same.
    ///
    /// # Panics
    /// If `importance` is given and its length differs from the weights'.
    pub fn best_candidate(
        weights: &[f32],
        importance: Option<&[f32]>,
        candidates: &[Candidate],
    ) -> usize {
        let mut best = (0, f32::INFINITY);
        for (index, &candidate) in candidates.iter().enumerate() {
            let error = match importance {
                Some(importance) => weighted_error(weights, importance, candidate),
                None => plain_error(weights, candidate),
            };
            if error < best.1 {
                best = (index, error);
            }
        }
        best.0
    }
}

#[inline(always)]
fn difference(weight: f32, candidate: Candidate) -> f32 {
    let level = (weight * candidate.inverse)
        .round_ties_even()
        .max(candidate.low)
        .min(candidate.high);
    level * candidate.scale - weight
}

#[inline(always)]
fn weighted_error(weights: &[f32], importance: &[f32], candidate: Candidate) -> f32 {
    assert_eq!(weights.len(), importance.len(), "one importance per weight");
    let mut sums = [0.0f32; LANES];
    let (whole_weights, last_weights) = weights.as_chunks::<LANES>();
    let (whole_importance, last_importance) = importance.as_chunks::<LANES>();
    for (weights, importance) in whole_weights.iter().zip(whole_importance) {
        for lane in 0..LANES {
            let miss = difference(weights[lane], candidate);
            sums[lane] += importance[lane] * (miss * miss);
        }
    }
    for (lane, (&weight, &share)) in last_weights.iter().zip(last_importance).enumerate() {
        let miss = difference(weight, candidate);
        sums[lane] += share * (miss * miss);
    }
    sum_of(sums)
}

#[inline(always)]
fn plain_error(weights: &[f32], candidate: Candidate) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (whole, last) = weights.as_chunks::<LANES>();
    for weights in whole {
        for lane in 0..LANES {
            let miss = difference(weights[lane], candidate);
            sums[lane] += miss * miss;
        }
    }
    for (lane, &weight) in last.iter().enumerate() {
        let miss = difference(weight, candidate);
        sums[lane] += miss * miss;
    }
    sum_of(sums)
}

/// The sum of all lanes, halves first.
#[inline(always)]
fn sum_of(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference;

    #[test]
    fn agrees_with_its_slow_twin_around_lane_edges() {
        let candidate = |scale: f32| Candidate {
            scale,
            inverse: 1.0 / scale,
            low: -3.0,
            high: 4.0,
        };
        let candidates: Vec<Candidate> =
            (1..20).map(|step| candidate(step as f32 * 0.07)).collect();
        for len in [0, 1, 5, 15, 16, 17, 32, 128, 130] {
            let weights: Vec<f32> = (0..len).map(|index| (index as f32 * 1.7).sin()).collect();
            let importance: Vec<f32> = (0..len).map(|index| 1.0 + (index % 5) as f32).collect();
            for importance in [None, Some(&importance[..])] {
                let error = |index: usize| {
                    reference::candidate_error(&weights, importance, candidates[index])
                };
                let least = (0..candidates.len())
                    .map(error)
                    .fold(f64::INFINITY, f64::min);
                let found = error(best_candidate(&weights, importance, &candidates));
                assert!(
                    found <= least * (1.0 + 1e-5),
                    "{len} weights: error {found}, least {least}"
                );
            }
        }
    }
}

//! Masks: which weights are kept. N of every M along a row, or the largest of a whole slice.
//!
//! Knows no scores' origin: magnitude, Wanda and SparseGPT all come as "larger is kept". On ties the earlier weight is
//! kept, so that a mask depends on nothing but its scores.

mod pattern;

pub use pattern::{Among, BLOCK_WIDTH, LARGEST_M, NoPattern, PruneMethod, SparsityPattern};

use std::cmp::Ordering;

/// Which weights of a matrix are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// What shape the zeros have.
    pub pattern: SparsityPattern,
    /// Inputs.
    pub columns: usize,
    /// One for each weight, row-major; false = zero.
    pub keep: Vec<bool>,
}

impl Mask {
    /// One row.
    pub fn row(&self, row: usize) -> &[bool] {
        &self.keep[row * self.columns..(row + 1) * self.columns]
    }

    /// Weights that stay.
    pub fn kept(&self) -> usize {
        self.keep.iter().filter(|&&keep| keep).count()
    }

    /// Share of zeros, 0 to 1.
    pub fn sparsity(&self) -> f64 {
        1.0 - self.kept() as f64 / self.keep.len().max(1) as f64
    }
}

/// Keeps the `kept` largest of every `of` scores along one row; a shorter tail keeps at most `kept`.
///
/// # Panics
/// If `keep` and `scores` differ in length or `of` is 0.
pub fn keep_n_of_m(scores: &[f32], kept: usize, of: usize, keep: &mut [bool]) {
    assert_eq!(scores.len(), keep.len(), "one mask bit per score");
    assert!(of > 0, "a pattern N:M needs M above 0");
    for (scores, keep) in scores.chunks(of).zip(keep.chunks_mut(of)) {
        for (index, bit) in keep.iter_mut().enumerate() {
            let better = (0..scores.len()).filter(|&other| comes_before(scores, other, index));
            *bit = better.count() < kept;
        }
    }
}

/// Keeps the `count` largest scores of the whole slice.
///
/// # Panics
/// If `keep` and `scores` differ in length.
pub fn keep_largest(scores: &[f32], count: usize, keep: &mut [bool]) {
    assert_eq!(scores.len(), keep.len(), "one mask bit per score");
    keep.fill(count >= scores.len());
    if count == 0 || count >= scores.len() {
        return;
    }
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.select_nth_unstable_by(count - 1, |&left, &right| {
        if comes_before(scores, left as usize, right as usize) {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    });
    for &index in &order[..count] {
        keep[index as usize] = true;
    }
}

/// How many of `total` weights stay at a sparsity of `0..=1`, rounded to nearest.
pub fn kept_count(total: usize, sparsity: f64) -> usize {
    let kept = total as f64 * (1.0 - sparsity.clamp(0.0, 1.0));
    (kept.round() as usize).min(total)
}

/// Whether score `left` is kept rather than score `right`: larger first, then earlier; NaN last.
fn comes_before(scores: &[f32], left: usize, right: usize) -> bool {
    let rank = |index: usize| {
        let score = scores[index];
        if score.is_nan() {
            f32::NEG_INFINITY
        } else {
            score
        }
    };
    match rank(left).total_cmp(&rank(right)) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => left < right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_keep_the_earlier_and_nan_goes_first() {
        let mut keep = [false; 6];
        keep_n_of_m(&[1.0, 1.0, 1.0, f32::NAN, 3.0, 2.0], 2, 4, &mut keep);
        assert_eq!(keep, [true, true, false, false, true, true]);
        keep_largest(&[1.0, 1.0, 1.0, f32::NAN, 3.0, 2.0], 3, &mut keep);
        assert_eq!(keep, [true, false, false, false, true, true]);
    }

    #[test]
    fn sparsity_is_a_count_rounded_to_nearest() {
        assert_eq!(kept_count(10, 0.5), 5);
        assert_eq!(kept_count(7, 1.0), 0);
        assert_eq!(kept_count(7, -1.0), 7);
        assert_eq!(kept_count(3, 0.34), 2);
    }

    proptest! {
        #[test]
        fn exactly_n_of_every_m_are_kept_and_they_are_the_largest(
            scores in prop::collection::vec(prop_oneof![-2.0f32..2.0, Just(0.0), Just(-0.0)], 0..60),
            of in 1usize..9,
            kept in 0usize..9,
        ) {
            let kept = kept.min(of);
            let mut keep = vec![false; scores.len()];
            keep_n_of_m(&scores, kept, of, &mut keep);
            for (scores, keep) in scores.chunks(of).zip(keep.chunks(of)) {
                let count = keep.iter().filter(|&&bit| bit).count();
                prop_assert_eq!(count, kept.min(scores.len()));
                check_largest(scores, keep)?;
            }
        }

        #[test]
        fn exactly_the_largest_are_kept(
            scores in prop::collection::vec(prop_oneof![-2.0f32..2.0, Just(0.0)], 0..80),
            count in 0usize..90,
        ) {
            let mut keep = vec![true; scores.len()];
            keep_largest(&scores, count, &mut keep);
            let found = keep.iter().filter(|&&bit| bit).count();
            prop_assert_eq!(found, count.min(scores.len()));
            check_largest(&scores, &keep)?;
        }
    }

    fn check_largest(scores: &[f32], keep: &[bool]) -> Result<(), TestCaseError> {
        let least_kept = scores.iter().zip(keep).filter(|(_, keep)| **keep);
        let least_kept = least_kept
            .map(|(score, _)| *score)
            .fold(f32::INFINITY, f32::min);
        for (score, keep) in scores.iter().zip(keep) {
            prop_assert!(
                *keep || *score <= least_kept,
                "{score} dropped, {least_kept} kept"
            );
        }
        Ok(())
    }
}

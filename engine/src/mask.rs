//! Masks: which weights are kept. N of every M along a row, or the largest of a whole slice.
//!
//! Knows no scores' origin: magnitude, Wanda and SparseGPT all come as "larger is kept". On ties the earlier weight is
//! kept, so that a mask depends on nothing but its scores.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Where zeros may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SparsityPattern {
    /// Anywhere.
    #[default]
    Unstructured,
    /// Of every `of` neighbours in a row `kept` stay; of a shorter tail at most so many.
    NOfM {
        /// N.
        kept: u8,
        /// M, above `kept`.
        of: u8,
    },
    /// `width` neighbours in a row stay or go together; the last of a row may be fewer.
    Block {
        /// Weights of a block.
        width: u8,
    },
}

/// Most weights of which an N:M pattern can speak.
pub const LARGEST_M: u8 = 32;

/// The width of blocks that kernels skip.
pub const BLOCK_WIDTH: u8 = 4;

impl SparsityPattern {
    /// The pattern of hardware and of our kernels.
    pub const TWO_OF_FOUR: Self = Self::NOfM { kept: 2, of: 4 };
    /// Blocks of four weights in a row.
    pub const BLOCK: Self = Self::Block { width: BLOCK_WIDTH };

    /// Share of zeros that the pattern itself fixes.
    pub fn sparsity(self) -> Option<f64> {
        match self {
            Self::NOfM { kept, of } => Some(1.0 - f64::from(kept) / f64::from(of)),
            Self::Unstructured | Self::Block { .. } => None,
        }
    }
}

impl fmt::Display for SparsityPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => formatter.write_str("unstructured"),
            Self::NOfM { kept, of } => write!(formatter, "{kept}:{of}"),
            Self::Block { width } => write!(formatter, "1x{width}"),
        }
    }
}

/// A word that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern; write unstructured, N:M with N below M and M at most 32 (2:4), or 1x4"
)]
pub struct NoPattern(String);

impl FromStr for SparsityPattern {
    type Err = NoPattern;

    fn from_str(word: &str) -> Result<Self, NoPattern> {
        let unknown = || NoPattern(word.to_owned());
        if word == "unstructured" {
            return Ok(Self::Unstructured);
        }
        if word == Self::BLOCK.to_string() {
            return Ok(Self::BLOCK);
        }
        let (kept, of) = word.split_once(':').ok_or_else(unknown)?;
        match (kept.parse(), of.parse()) {
            (Ok(kept), Ok(of)) if 0 < kept && kept < of && of <= LARGEST_M => {
                Ok(Self::NOfM { kept, of })
            }
            _ => Err(unknown()),
        }
    }
}

impl serde::Serialize for SparsityPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SparsityPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

/// Among which weights an unstructured or block pattern chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Those of a row.
    Row,
    /// Those of a layer.
    Layer,
    /// Those of so many columns, over all rows; the last span may be narrower.
    Span(usize),
    /// Those of so many columns, row by row; the last span may be narrower.
    RowSpan(usize),
}

impl SparsityPattern {
    /// Values that a `[rows, columns]` layer of this pattern stores; whole blocks are stored of tail blocks too. The same
    /// for all weights, so that sizes are known before anything is solved.
    pub fn stored_values(self, rows: usize, columns: usize, sparsity: f64, among: Among) -> usize {
        let unit = match self {
            Self::NOfM { kept, of } => {
                let (whole, tail) = (columns / usize::from(of), columns % usize::from(of));
                let kept = usize::from(kept);
                return rows.saturating_mul(whole * kept + tail.min(kept));
            }
            Self::Unstructured => 1,
            Self::Block { width } => usize::from(width.max(1)),
        };
        let units = columns.div_ceil(unit);
        let stored = match among {
            Among::Row => rows.saturating_mul(kept_count(units, sparsity)),
            Among::Layer => kept_count(rows.saturating_mul(units), sparsity),
            Among::Span(columns_of_span) => {
                let span = (columns_of_span / unit).max(1);
                let of_span = |units: usize| kept_count(rows.saturating_mul(units), sparsity);
                let whole = (units / span).saturating_mul(of_span(span));
                whole.saturating_add(of_span(units % span))
            }
            Among::RowSpan(columns_of_span) => {
                let span = (columns_of_span / unit).max(1);
                let whole = (units / span) * kept_count(span, sparsity);
                rows.saturating_mul(whole + kept_count(units % span, sparsity))
            }
        };
        stored.saturating_mul(unit)
    }
}

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
    fn patterns_are_their_words() {
        for word in ["unstructured", "2:4", "4:8", "1:32", "1x4"] {
            let pattern: SparsityPattern = word.parse().expect("these are patterns");
            assert_eq!(pattern.to_string(), word);
        }
        for word in [
            "", "2", "4:4", "0:4", "5:4", "1:33", "1x0", "1x8", "2:4 ", "-1:4",
        ] {
            assert!(word.parse::<SparsityPattern>().is_err(), "{word:?}");
        }
        assert_eq!(SparsityPattern::TWO_OF_FOUR.sparsity(), Some(0.5));
    }

    #[test]
    fn stored_values_are_counted_before_anything_is_solved() {
        let stored = |word: &str, columns, among| {
            let pattern: SparsityPattern = word.parse().expect("these are patterns");
            pattern.stored_values(3, columns, 0.5, among)
        };
        assert_eq!(stored("2:4", 11, Among::Row), 3 * (2 + 2 + 2));
        assert_eq!(stored("unstructured", 11, Among::Row), 3 * 6);
        assert_eq!(stored("unstructured", 11, Among::Layer), 17);
        assert_eq!(stored("unstructured", 11, Among::Span(4)), 6 + 6 + 5);
        assert_eq!(stored("1x4", 11, Among::Row), 3 * 2 * 4);
        assert_eq!(stored("1x4", 11, Among::Layer), 5 * 4);
        assert_eq!(stored("1x4", 11, Among::Span(8)), (3 + 2) * 4);
        assert_eq!(
            stored("unstructured", 11, Among::RowSpan(4)),
            3 * (2 + 2 + 2)
        );
        assert_eq!(stored("1x4", 11, Among::RowSpan(8)), 3 * (1 + 1) * 4);
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

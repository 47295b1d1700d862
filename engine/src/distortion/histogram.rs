//! Histograms of weights: 256 bins over a range whose ends are powers of two, so that counts of two parts merge exactly.

use super::difference;
use crate::mask::Mask;
use crate::tensor::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Bins of a histogram.
pub const BINS: usize = 256;

/// Histograms over the same layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// Original weights.
    pub before: Histogram,
    /// Weights as reopened.
    pub after: Histogram,
    /// `after - before`.
    pub error: Histogram,
    /// Those of `before` that became zero, over the same range; null where nothing was pruned.
    #[serde(default)]
    pub pruned: Option<Histogram>,
}

impl Histograms {
    /// Histograms of `original`, of `solved`, of what moved and of what `mask` does not keep.
    pub fn of(original: &Matrix, solved: &Matrix, mask: Option<&Mask>) -> Self {
        let before = Histogram::of(original.data());
        let pruned = mask.map(|mask| {
            let weights = original.data().iter().zip(&mask.keep);
            let pruned = weights.filter(|(_, keep)| !**keep);
            let pruned: Vec<f32> = pruned.map(|(&weight, _)| weight).collect();
            Histogram::of(&pruned).over(before.limit)
        });
        Self {
            before,
            after: Histogram::of(solved.data()),
            error: Histogram::of(difference(solved, original).data()),
            pruned,
        }
    }
}

/// 256 equal bins over `[-limit, limit]`; `limit` is a power of two, so that two histograms merge exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Half the covered range.
    pub limit: f32,
    /// Counts, 256 of them.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Counts `values` within the smallest power of two above them all. Non-finite values are not counted.
    pub fn of(values: &[f32]) -> Self {
        let count = |values| {
            let mut counter = HistogramCounter::default();
            counter.add(values);
            counter
        };
        values
            .par_chunks(1 << 14)
            .map(count)
            .reduce(HistogramCounter::default, HistogramCounter::merge)
            .finish()
    }

    /// The histogram of both sets of values, exactly as if they had been counted together.
    pub fn merge(&self, other: &Self) -> Self {
        let limit = self.limit.max(other.limit);
        Self {
            limit,
            counts: add_counts(self.widened(limit), other.widened(limit)),
        }
    }

    /// The same values over `[-limit, limit]`, a power of two above them all. Zeros lie in the middle of any range.
    pub fn over(&self, limit: f32) -> Self {
        Self {
            limit,
            counts: self.widened(limit),
        }
    }

    /// Counts as they are over a range of `limit`, a power of two not below the own.
    fn widened(&self, limit: f32) -> Vec<u64> {
        let mut counts = self.counts.clone();
        let mut reached = f64::from(self.limit);
        while reached < f64::from(limit) {
            let pairs = counts.chunks(2).map(|pair| pair.iter().sum());
            let inner: Vec<u64> = pairs.collect();
            counts = vec![0; BINS];
            counts[BINS / 4..BINS / 4 * 3].copy_from_slice(&inner);
            reached *= 2.0;
        }
        counts
    }
}

/// A histogram that grows: values are counted as they come, in one pass and in any order, and parts merge exactly.
#[derive(Debug, Clone)]
pub struct HistogramCounter {
    /// Its limit is 0 while only zeros were met: they lie in the middle of any range.
    counted: Histogram,
}

impl Default for HistogramCounter {
    fn default() -> Self {
        Self {
            counted: Histogram {
                limit: 0.0,
                counts: vec![0; BINS],
            },
        }
    }
}

impl HistogramCounter {
    /// Counts `values`; those that are not finite are passed over.
    pub fn add(&mut self, values: &[f32]) {
        let largest = largest_magnitude(values);
        let Some(largest) = largest else {
            let finite: Vec<f32> = values
                .iter()
                .copied()
                .filter(|value| value.is_finite())
                .collect();
            return self.add(&finite);
        };
        if largest > 0.0 && largest >= self.counted.limit {
            self.widen(power_of_two_above(largest));
        }
        let Some(counts) = self.counted.counts.first_chunk_mut::<BINS>() else {
            return;
        };
        let bins_per_unit = match self.counted.limit {
            0.0 => 0.0,
            limit => BINS as f64 / 2.0 / f64::from(limit),
        };
        for &value in values {
            counts[usize::from(bin(f64::from(value) * bins_per_unit))] += 1;
        }
    }

    /// Both together, exactly as if one had counted all.
    pub fn merge(mut self, mut other: Self) -> Self {
        let limit = self.counted.limit.max(other.counted.limit);
        self.widen(limit);
        other.widen(limit);
        self.counted.counts = add_counts(self.counted.counts, other.counted.counts);
        self
    }

    /// The histogram of all values counted.
    pub fn finish(mut self) -> Histogram {
        if self.counted.limit == 0.0 {
            self.counted.limit = power_of_two_above(0.0);
        }
        self.counted
    }

    fn widen(&mut self, limit: f32) {
        if self.counted.limit > 0.0 && self.counted.limit < limit {
            self.counted.counts = self.counted.widened(limit);
        }
        self.counted.limit = self.counted.limit.max(limit);
    }
}

/// The largest magnitude; `None` where a value is not finite.
fn largest_magnitude(values: &[f32]) -> Option<f32> {
    // Bits of magnitudes are ordered as the magnitudes are, and whole numbers compare several at a time.
    let magnitudes = values.iter().map(|value| value.to_bits() & 0x7fff_ffff);
    let largest = f32::from_bits(magnitudes.fold(0, u32::max));
    largest.is_finite().then_some(largest)
}

/// The bin of a value in units of bins, 0 in the middle: rounded down, so that halving a range halves its bins exactly.
#[inline(always)]
fn bin(place: f64) -> u8 {
    let toward_zero = place as i32;
    let down = toward_zero - i32::from(f64::from(toward_zero) > place);
    (down + BINS as i32 / 2).clamp(0, BINS as i32 - 1) as u8
}

/// The smallest power of two strictly above `value`, 1 for 0: so that no value lies on the edge, where bins could not be
/// halved exactly. Above `2^127` no f32 is a power of two; the outer bins then take the rest.
fn power_of_two_above(value: f32) -> f32 {
    if value == 0.0 {
        return 1.0;
    }
    let exponent = f64::from(value).log2().floor() as i32 + 1;
    let limit = 2f64.powi(exponent);
    let limit = if limit > f64::from(value) {
        limit
    } else {
        limit * 2.0
    };
    limit.min(2f64.powi(127)) as f32
}

fn add_counts(mut left: Vec<u64>, right: Vec<u64>) -> Vec<u64> {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_range_is_the_smallest_power_of_two_above_all() {
        for (largest, limit) in [
            (0.0, 1.0),
            (1.0, 2.0),
            (1.5, 2.0),
            (0.3, 0.5),
            (-0.25, 0.5),
            (1e-40, 2f32.powi(-132)),
            (3e38, 2f32.powi(127)),
        ] {
            let histogram = Histogram::of(&[largest, 0.0, f32::NAN]);
            assert_eq!(histogram.limit, limit, "largest {largest}");
            assert_eq!(histogram.counts.iter().sum::<u64>(), 2);
        }
        let edges = Histogram::of(&[-0.999, 0.999, 0.0]).counts;
        assert_eq!((edges[0], edges[128], edges[255]), (1, 1, 1));
    }

    #[test]
    fn tiny_negative_values_lie_below_the_middle_at_every_range() {
        for values in [&[-1e-30f32][..], &[-1e-30, 1.0], &[-1e-30, 1e30]] {
            let counts = Histogram::of(values).counts;
            assert_eq!(counts[..BINS / 2].iter().sum::<u64>(), 1, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn merging_is_counting_together(
            left in prop::collection::vec(-3.0f32..3.0, 0..50),
            right in prop::collection::vec(-0.2f32..0.2, 0..50),
        ) {
            let merged = Histogram::of(&left).merge(&Histogram::of(&right));
            let both: Vec<f32> = left.iter().chain(&right).copied().collect();
            let together = Histogram::of(&both);
            if !left.is_empty() && !right.is_empty() {
                prop_assert_eq!(merged, together);
            }
        }

        #[test]
        fn counting_in_parts_is_counting_at_once(
            values in prop::collection::vec(
                prop_oneof![Just(0.0f32), Just(f32::NAN), -1e-20f32..1e-20, -3.0f32..3.0, any::<f32>()],
                0..60,
            ),
            part in 1usize..9,
        ) {
            let counted = values.chunks(part).map(|values| {
                let mut counter = HistogramCounter::default();
                counter.add(values);
                counter
            });
            let merged = counted.fold(HistogramCounter::default(), HistogramCounter::merge);
            let mut grown = HistogramCounter::default();
            values.chunks(part).for_each(|values| grown.add(values));
            let at_once = Histogram::of(&values);
            prop_assert_eq!(merged.finish(), at_once.clone());
            prop_assert_eq!(grown.finish(), at_once);
        }
    }
}

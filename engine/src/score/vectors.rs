//! Measures on plain vectors: cosine, ranks, Spearman's correlation, percentiles.
//!
//! A measure that is not defined for its input (a zero vector, a constant series) is `None`, never NaN.

/// Cosine of two vectors; `None` where one of them is all zeros or not finite.
///
/// # Panics
/// If the lengths differ.
pub fn cosine(left: &[f32], right: &[f32]) -> Option<f64> {
    assert_eq!(left.len(), right.len(), "vectors of one length");
    let product = dot(left, right);
    let cosine = product / (dot(left, left) * dot(right, right)).sqrt();
    cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
}

/// Ranks from 1; equal values share the mean of their ranks.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&left, &right| values[left].total_cmp(&values[right]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for run in order.chunk_by(|&left, &right| values[left] == values[right]) {
        // Ranks start + 1 to start + len.
        let shared = start as f64 + (run.len() as f64 + 1.0) / 2.0;
        run.iter().for_each(|&index| ranks[index] = shared);
        start += run.len();
    }
    ranks
}

/// Spearman's rank correlation: Pearson's correlation of the ranks. `None` where a series is constant or has fewer than
/// two values.
///
/// # Panics
/// If the lengths differ.
pub fn spearman(left: &[f64], right: &[f64]) -> Option<f64> {
    assert_eq!(left.len(), right.len(), "series of one length");
    pearson(&ranks(left), &ranks(right))
}

/// The value below which `share` of the sorted values lie, linear between neighbours; 0 = smallest, 1 = largest.
///
/// # Panics
/// If there are no values.
pub fn percentile(sorted: &[f32], share: f64) -> f64 {
    assert!(!sorted.is_empty(), "a percentile of no values");
    let position = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (low, high) = (f64::from(sorted[below]), f64::from(sorted[above]));
    low + (high - low) * (position - below as f64)
}

/// The middle of `values`, between the two middle ones where there is none; `None` where there are no values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    let products = left.iter().zip(right);
    products
        .map(|(&left, &right)| f64::from(left) * f64::from(right))
        .sum()
}

fn pearson(left: &[f64], right: &[f64]) -> Option<f64> {
    let count = left.len() as f64;
    let mean = |series: &[f64]| series.iter().sum::<f64>() / count;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let (mut covariance, mut left_square, mut right_square) = (0.0, 0.0, 0.0);
    for (&left, &right) in left.iter().zip(right) {
        let (left, right) = (left - left_mean, right - right_mean);
        covariance += left * right;
        left_square += left * left;
        right_square += right * right;
    }
    let correlation = covariance / (left_square * right_square).sqrt();
    correlation
        .is_finite()
        .then(|| correlation.clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
    }

    #[test]
    fn spearman_by_hand() {
        // Without ties: 1 - 6 sum d^2 / (n (n^2 - 1)), d = (1, -1, 0, 0).
        let correlation = spearman(&[1.0, 2.0, 3.0, 4.0], &[20.0, 10.0, 30.0, 400.0]).unwrap();
        assert!((correlation - 0.8).abs() < 1e-15, "{correlation}");
        // Ranks (1.5, 1.5, 3, 4) against (1, 2, 3.5, 3.5): covariance 4, both squares 4.5.
        let tied = spearman(&[0.0, 0.0, 1.0, 2.0], &[5.0, 6.0, 7.0, 7.0]).unwrap();
        assert!((tied - 4.0 / 4.5).abs() < 1e-15, "{tied}");
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[], &[]), None);
    }

    #[test]
    fn cosine_by_hand() {
        assert_eq!(cosine(&[3.0, 4.0], &[4.0, 3.0]), Some(0.96));
        assert_eq!(cosine(&[0.0, 0.0], &[4.0, 3.0]), None);
        assert_eq!(cosine(&[f32::NAN, 0.0], &[4.0, 3.0]), None);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let values = [1.0, 2.0, 4.0];
        let at = |share| percentile(&values, share);
        assert_eq!(
            [at(0.0), at(0.25), at(0.5), at(0.75), at(1.0)],
            [1.0, 1.5, 2.0, 3.0, 4.0]
        );
    }

    proptest! {
        #[test]
        fn spearman_sees_order_only(values in prop::collection::vec((-9i32..9, -9i32..9), 3..30)) {
            let (left, right): (Vec<f64>, Vec<f64>) =
                values.into_iter().map(|(left, right)| (f64::from(left), f64::from(right))).unzip();
            let stretched: Vec<f64> = left.iter().map(|value| value.exp()).collect();
            let opposite: Vec<f64> = left.iter().map(|value| -value).collect();
            let plain = spearman(&left, &right);
            prop_assert_eq!(plain, spearman(&stretched, &right));
            if let (Some(plain), Some(turned)) = (plain, spearman(&opposite, &right)) {
                prop_assert!((plain + turned).abs() < 1e-12);
            }
        }
    }
}

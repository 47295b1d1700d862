//! Scores of one window's tokens, a row of logits at a time.
//!
//! Knows nothing of where rows come from: a caller may compute the output head for a few positions at once, so that
//! the logits of a long window with a large vocabulary never exist together.

use super::exponential::exponential;

/// Sums over the scored tokens of one window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowScore {
    /// Scored tokens.
    pub scored: u64,
    /// Sum of negative log-likelihoods, nats.
    pub nll: f64,
    /// Tokens where the most likely token is the true one.
    pub correct: u64,
    /// The same tokens under the reference, where there is one.
    pub comparison: Option<Comparison>,
}

/// What a reference says of the same tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Sum of the reference's negative log-likelihoods, nats.
    pub reference_nll: f64,
    /// Sum of KL(reference || model), nats.
    pub kl: f64,
    /// KL of each token, nats, in token order.
    pub kl_per_token: Vec<f32>,
    /// Tokens with the same most likely token.
    pub same_top: u64,
    /// Tokens whose correctness changed.
    pub flips: u64,
}

impl WindowScore {
    /// Scores rows `logits` (`[targets, vocabulary]`), row `i` predicting `targets[i]`.
    ///
    /// # Panics
    /// If a target is no column, or `logits` is no whole number of rows: mistakes of the caller.
    pub fn add(&mut self, logits: &[f32], vocabulary: usize, targets: &[u32]) {
        assert_eq!(logits.len(), targets.len() * vocabulary, "rows of logits");
        for (row, &target) in logits.chunks_exact(vocabulary).zip(targets) {
            let row = Row::new(row);
            let sum = row.sum_of_exponentials();
            self.add_token(row.nll(sum, target), row.top == target);
        }
    }

    /// As `add`, and compares with the reference's rows of the same shape.
    ///
    /// # Panics
    /// As `add`.
    pub fn add_compared(
        &mut self,
        logits: &[f32],
        reference: &[f32],
        vocabulary: usize,
        targets: &[u32],
    ) {
        assert_eq!(logits.len(), targets.len() * vocabulary, "rows of logits");
        assert_eq!(logits.len(), reference.len(), "rows of the reference");
        let rows = logits.chunks_exact(vocabulary);
        let reference_rows = reference.chunks_exact(vocabulary);
        for ((row, reference_row), &target) in rows.zip(reference_rows).zip(targets) {
            self.add_compared_token(&Row::new(row), &Row::new(reference_row), target);
        }
    }

    /// Whether every sum is a number: not so where a model's outputs were NaN or infinite.
    pub fn is_finite(&self) -> bool {
        let compared = self.comparison.as_ref();
        self.nll.is_finite()
            && compared.is_none_or(|sums| sums.reference_nll.is_finite() && sums.kl.is_finite())
    }

    fn add_token(&mut self, nll: f64, correct: bool) {
        self.scored += 1;
        self.nll += nll;
        self.correct += u64::from(correct);
    }

    fn add_compared_token(&mut self, row: &Row<'_>, reference: &Row<'_>, target: u32) {
        let (sum, reference_sum, cross) = row.sums_beside(reference);
        self.add_token(row.nll(sum, target), row.top == target);
        let comparison = self.comparison.get_or_insert_default();
        // Rounding can leave -1e-16 where both distributions are equal. NaN stays, unlike with `max`.
        let divergence = cross / reference_sum - reference_sum.ln() + sum.ln();
        let divergence = if divergence < 0.0 { 0.0 } else { divergence };
        comparison.kl += divergence;
        comparison.kl_per_token.push(divergence as f32);
        comparison.reference_nll += reference.nll(reference_sum, target);
        comparison.same_top += u64::from(row.top == reference.top);
        comparison.flips += u64::from((row.top == target) != (reference.top == target));
    }
}

/// One row of logits with its largest value and the first place where it stands.
struct Row<'a> {
    logits: &'a [f32],
    largest: f64,
    top: u32,
}

/// Partial sums side by side: a fixed order of summation that vectorizes.
const LANES: usize = 8;

impl<'a> Row<'a> {
    fn new(logits: &'a [f32]) -> Self {
        let largest = largest(logits);
        let top = logits.iter().position(|&logit| logit == largest);
        Self {
            logits,
            largest: f64::from(largest),
            top: top.map_or(u32::MAX, |index| index as u32),
        }
    }

    /// -log softmax at `target`, given the sum of exp(logit - largest).
    fn nll(&self, sum: f64, target: u32) -> f64 {
        sum.ln() + self.largest - f64::from(self.logits[target as usize])
    }

    fn sum_of_exponentials(&self) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let mut chunks = self.logits.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (lane, &logit) in lanes.iter_mut().zip(chunk) {
                *lane += exponential(f64::from(logit) - self.largest);
            }
        }
        for (lane, &logit) in lanes.iter_mut().zip(chunks.remainder()) {
            *lane += exponential(f64::from(logit) - self.largest);
        }
        lanes.iter().sum()
    }

    /// With `a` the reference's and `b` our logits less their largest: (sum e^b, sum e^a, sum e^a (a - b)), in one pass.
    fn sums_beside(&self, reference: &Row<'_>) -> (f64, f64, f64) {
        let mut lanes = [[0.0f64; LANES]; 3];
        let mut add = |lane: usize, ours: f32, theirs: f32| {
            let ours = f64::from(ours) - self.largest;
            let theirs = f64::from(theirs) - reference.largest;
            let weight = exponential(theirs);
            lanes[0][lane] += exponential(ours);
            lanes[1][lane] += weight;
            lanes[2][lane] += weight * (theirs - ours);
        };
        let mut chunks = self.logits.chunks_exact(LANES);
        let mut reference_chunks = reference.logits.chunks_exact(LANES);
        for (ours, theirs) in (&mut chunks).zip(&mut reference_chunks) {
            for lane in 0..LANES {
                add(lane, ours[lane], theirs[lane]);
            }
        }
        let rest = chunks.remainder().iter().zip(reference_chunks.remainder());
        for (lane, (&ours, &theirs)) in rest.enumerate() {
            add(lane, ours, theirs);
        }
        let [ours, theirs, cross] = lanes.map(|lanes| lanes.iter().sum());
        (ours, theirs, cross)
    }
}

/// The largest value, NaN aside.
fn largest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = logits.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    let rest = chunks.remainder().iter().copied();
    lanes
        .iter()
        .copied()
        .chain(rest)
        .fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn log_softmax(row: &[f32]) -> Vec<f64> {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        row.iter()
            .map(|&logit| f64::from(logit) - sum.ln())
            .collect()
    }

    #[test]
    fn hand_computed_row() {
        // Softmax of (0, ln 2, ln 5) is (1/8, 2/8, 5/8).
        let row = [0.0, 2f32.ln(), 5f32.ln()];
        let mut score = WindowScore::default();
        score.add(&[row, row].concat(), 3, &[1, 2]);
        assert_eq!((score.scored, score.correct), (2, 1));
        let expected = 4f64.ln() + 1.6f64.ln();
        assert!(
            (score.nll - expected).abs() < 1e-6,
            "{} and {expected}",
            score.nll
        );
    }

    #[test]
    fn hand_computed_comparison() {
        // Model (3/4, 1/4), reference (1/4, 3/4): KL = 1/2 ln 3.
        let mut score = WindowScore::default();
        score.add_compared(&[3f32.ln(), 0.0], &[0.0, 3f32.ln()], 2, &[1]);
        let comparison = score.comparison.unwrap();
        assert!((comparison.kl - 0.5 * 3f64.ln()).abs() < 1e-7);
        assert_eq!((comparison.same_top, comparison.flips), (0, 1));
        assert!((comparison.reference_nll - (4f64 / 3.0).ln()).abs() < 1e-7);
        assert!((score.nll - 4f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn equal_rows_have_no_divergence() {
        let row: Vec<f32> = (0..1001).map(|index| (index as f32 * 0.37).sin()).collect();
        let mut score = WindowScore::default();
        score.add_compared(&row, &row, row.len(), &[7]);
        let comparison = score.comparison.unwrap();
        assert!(
            comparison.kl < 1e-15,
            "KL of a row with itself: {}",
            comparison.kl
        );
        assert_eq!((comparison.same_top, comparison.flips), (1, 0));
        assert_eq!(comparison.reference_nll, score.nll);
    }

    #[test]
    fn what_is_not_finite_is_seen() {
        for wrong in [f32::NAN, f32::INFINITY] {
            let mut score = WindowScore::default();
            score.add(&[0.0, wrong, 1.0], 3, &[0]);
            assert!(!score.is_finite(), "{wrong} went unseen");
            let mut score = WindowScore::default();
            score.add_compared(&[0.0, 1.0, 2.0], &[0.0, wrong, 1.0], 3, &[0]);
            assert!(!score.is_finite(), "{wrong} went unseen in the reference");
        }
    }

    #[test]
    fn chunks_of_a_window_add_up() {
        let logits: Vec<f32> = (0..60)
            .map(|index| (index as f32 * 1.3).cos() * 4.0)
            .collect();
        let targets = [3, 1, 0, 9, 5, 2];
        let mut whole = WindowScore::default();
        whole.add(&logits, 10, &targets);
        let mut parts = WindowScore::default();
        parts.add(&logits[..20], 10, &targets[..2]);
        parts.add(&logits[20..], 10, &targets[2..]);
        assert_eq!(whole, parts);
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            rows in prop::collection::vec((-30.0f32..30.0, -30.0f32..30.0), 2..40),
            target in 0usize..40,
        ) {
            let (logits, reference): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
            let target = target % logits.len();
            let (ours, theirs) = (log_softmax(&logits), log_softmax(&reference));
            let divergence: f64 = ours.iter().zip(&theirs).map(|(our, their)| their.exp() * (their - our)).sum();
            let mut score = WindowScore::default();
            score.add_compared(&logits, &reference, logits.len(), &[target as u32]);
            let comparison = score.comparison.unwrap();
            prop_assert!((score.nll + ours[target]).abs() < 1e-12 * (1.0 + ours[target].abs()));
            prop_assert!((comparison.kl - divergence).abs() < 1e-12 * (1.0 + divergence));
        }
    }
}

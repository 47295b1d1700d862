//! Windows put together: means, standard errors, distributions.
//!
//! Windows are pushed in index order, so that every sum is the same at any thread count.

use super::tokens::{Comparison, WindowScore};
use super::vectors::percentile;

/// Scores of windows, in index order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    windows: Vec<WindowScore>,
}

/// A mean per scored token, and its standard error with windows as the unit (`None` with fewer than two windows).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Mean per scored token.
    pub mean: f64,
    /// Standard error of the mean.
    pub stderr: Option<f64>,
}

impl Tally {
    /// Adds the next window.
    pub fn push(&mut self, window: WindowScore) {
        self.windows.push(window);
    }

    /// Number of windows.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Scored tokens of all windows.
    pub fn scored(&self) -> u64 {
        self.windows.iter().map(|window| window.scored).sum()
    }

    /// Mean negative log-likelihood; `None` where nothing was scored.
    pub fn nll(&self) -> Option<Ratio> {
        self.ratio(|window| Some(window.nll))
    }

    /// The reference's mean negative log-likelihood; `None` without a reference.
    pub fn reference_nll(&self) -> Option<Ratio> {
        self.ratio(|window| compared(window, |sums| sums.reference_nll))
    }

    /// Mean of (model's - reference's) negative log-likelihood. Paired, so its error is far smaller than that of two
    /// separate means; exp of it is the ratio of perplexities.
    pub fn nll_difference(&self) -> Option<Ratio> {
        self.ratio(|window| compared(window, |sums| window.nll - sums.reference_nll))
    }

    /// Mean KL(reference || model).
    pub fn kl(&self) -> Option<Ratio> {
        self.ratio(|window| compared(window, |sums| sums.kl))
    }

    /// Share of scored tokens with the same most likely token.
    pub fn same_top(&self) -> Option<f64> {
        let ratio = self.ratio(|window| compared(window, |sums| sums.same_top as f64))?;
        Some(ratio.mean)
    }

    /// Share of scored tokens whose correctness changed.
    pub fn flips(&self) -> Option<f64> {
        let ratio = self.ratio(|window| compared(window, |sums| sums.flips as f64))?;
        Some(ratio.mean)
    }

    /// KL of single tokens at `shares` (0.5 = median), over all scored tokens.
    pub fn kl_percentiles<const N: usize>(&self, shares: [f64; N]) -> Option<[f64; N]> {
        let comparisons = self
            .windows
            .iter()
            .filter_map(|window| window.comparison.as_ref());
        let mut tokens: Vec<f32> = comparisons
            .flat_map(|sums| sums.kl_per_token.iter().copied())
            .collect();
        tokens.sort_unstable_by(f32::total_cmp);
        if tokens.is_empty() {
            return None;
        }
        Some(shares.map(|share| percentile(&tokens, share)))
    }

    /// Sum over windows of `value` by sum of tokens. The error is that of a ratio of sums, from each window's residual
    /// `value - mean * tokens` (Cochran 1977, section 6.4); with windows of one length it is that of their means.
    fn ratio(&self, value: impl Fn(&WindowScore) -> Option<f64>) -> Option<Ratio> {
        let scored = self.scored() as f64;
        if scored == 0.0 {
            return None;
        }
        let values: Vec<f64> = self.windows.iter().map(value).collect::<Option<_>>()?;
        let mean = values.iter().sum::<f64>() / scored;
        let residuals = values.iter().zip(&self.windows);
        let squares: f64 = residuals
            .map(|(value, window)| (value - mean * window.scored as f64).powi(2))
            .sum();
        let count = values.len() as f64;
        let stderr = (values.len() > 1).then(|| (squares * count / (count - 1.0)).sqrt() / scored);
        Some(Ratio { mean, stderr })
    }
}

fn compared(window: &WindowScore, value: impl Fn(&Comparison) -> f64) -> Option<f64> {
    window.comparison.as_ref().map(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn window(scored: u64, nll: f64) -> WindowScore {
        WindowScore {
            scored,
            nll,
            ..WindowScore::default()
        }
    }

    fn tally(windows: Vec<WindowScore>) -> Tally {
        let mut tally = Tally::default();
        windows.into_iter().for_each(|window| tally.push(window));
        tally
    }

    #[test]
    fn error_of_equal_windows_is_that_of_their_means() {
        // Means 1, 2, 3 and 6: mean 3, sample variance (4 + 1 + 0 + 9) / 3, over 4 windows.
        let windows = [10.0, 20.0, 30.0, 60.0].map(|nll| window(10, nll));
        let ratio = tally(windows.to_vec()).nll().unwrap();
        assert!((ratio.mean - 3.0).abs() < 1e-15);
        let expected = (14.0f64 / 3.0 / 4.0).sqrt();
        assert!((ratio.stderr.unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn one_window_has_no_error_and_none_has_no_mean() {
        let ratio = tally(vec![window(4, 2.0)]).nll().unwrap();
        assert_eq!((ratio.mean, ratio.stderr), (0.5, None));
        assert_eq!(Tally::default().nll(), None);
    }

    #[test]
    fn without_a_reference_there_is_no_comparison() {
        let tally = tally(vec![window(4, 2.0)]);
        assert_eq!((tally.kl(), tally.same_top()), (None, None));
        assert_eq!(tally.kl_percentiles([0.5]), None);
    }

    #[test]
    fn comparisons_add_up() {
        let compared = |kl: Vec<f32>, nll| WindowScore {
            scored: kl.len() as u64,
            nll,
            correct: 0,
            comparison: Some(Comparison {
                reference_nll: nll - 1.0,
                kl: kl.iter().map(|&value| f64::from(value)).sum(),
                same_top: 1,
                flips: 1,
                kl_per_token: kl,
            }),
        };
        let tally = tally(vec![
            compared(vec![4.0, 0.0], 5.0),
            compared(vec![1.0, 3.0, 2.0], 3.0),
        ]);
        assert_eq!(tally.kl().unwrap().mean, 2.0);
        assert_eq!(
            tally.kl_percentiles([0.5, 0.75, 1.0]),
            Some([2.0, 3.0, 4.0])
        );
        assert_eq!((tally.same_top(), tally.flips()), (Some(0.4), Some(0.4)));
        assert_eq!(tally.nll_difference().unwrap().mean, 0.4);
        assert_eq!(tally.reference_nll().unwrap().mean, 1.2);
    }
}

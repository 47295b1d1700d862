//! The next token from logits: the most likely one, or one drawn by its probability among the likeliest.

use crate::rng::Rng;

/// The random stream of tokens.
const TOKEN_STREAM: u64 = 0x544f_4b45;

/// Chooses tokens; the same seed makes the same choices.
pub(super) struct Draw {
    sampling: Sampling,
    rng: Rng,
}

/// Which tokens may be drawn, and how boldly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 = the most likely token; else logits are divided by it before the draw.
    pub temperature: f64,
    /// So many of the most likely tokens only; `None` = all.
    pub top_k: Option<usize>,
    /// Of those, as many of the most likely ones as it takes to have this probability together; 1 = all.
    pub top_p: f64,
}

impl Sampling {
    /// The most likely token each time.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: None,
        top_p: 1.0,
    };
}

impl Draw {
    pub(super) fn new(sampling: Sampling, seed: u64) -> Self {
        Self {
            sampling,
            rng: Rng::new(seed, TOKEN_STREAM),
        }
    }

    /// `None` where a logit is NaN or infinite.
    pub(super) fn next(&mut self, logits: &[f32]) -> Option<u32> {
        if logits.is_empty() || !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let top = top(logits);
        if self.sampling.temperature == 0.0 {
            return Some(top as u32);
        }
        let largest = f64::from(logits[top]);
        let mut weights: Vec<f64> = logits
            .iter()
            .map(|&logit| ((f64::from(logit) - largest) / self.sampling.temperature).exp())
            .collect();
        self.sampling.keep_likeliest(&mut weights);
        let mut left = self.rng.uniform() * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a sliver beyond the last weight.
        Some(chosen.unwrap_or(top) as u32)
    }
}

impl Sampling {
    /// Sets the weights of all tokens that may not be drawn to zero; of equal ones the first come first.
    fn keep_likeliest(self, weights: &mut [f64]) {
        let count = self.top_k.unwrap_or(usize::MAX).min(weights.len());
        if count == weights.len() && self.top_p >= 1.0 {
            return;
        }
        let mut order = self.candidates(weights, count);
        let likeliest_first = |&left: &usize, &right: &usize| {
            weights[right]
                .total_cmp(&weights[left])
                .then(left.cmp(&right))
        };
        if count < order.len() {
            order.select_nth_unstable_by(count - 1, likeliest_first);
            order.truncate(count);
        }
        order.sort_unstable_by(likeliest_first);
        let all: f64 = if count == weights.len() {
            weights.iter().sum()
        } else {
            order.iter().map(|&token| weights[token]).sum()
        };
        let mut together = 0.0;
        let enough = order.iter().position(|&token| {
            together += weights[token];
            together >= self.top_p * all
        });
        order.truncate(enough.map_or(order.len(), |last| last + 1));
        let kept: Vec<(usize, f64)> = order.iter().map(|&token| (token, weights[token])).collect();
        weights.fill(0.0);
        for (token, weight) in kept {
            weights[token] = weight;
        }
    }

    /// Tokens among which the kept ones are, in order: where only a probability bounds them, all those below its rest's
    /// even share together do not have that rest, so that a large vocabulary need not be sorted.
    fn candidates(self, weights: &[f64], count: usize) -> Vec<usize> {
        let least = if count == weights.len() {
            (1.0 - self.top_p) * weights.iter().sum::<f64>() / weights.len() as f64
        } else {
            0.0
        };
        (0..weights.len())
            .filter(|&token| weights[token] >= least)
            .collect()
    }
}

/// The first of the largest.
fn top(logits: &[f32]) -> usize {
    let mut top = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if logit > logits[top] {
            top = index;
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let mut draw = Draw::new(Sampling::GREEDY, 0);
        assert_eq!(draw.next(&[0.0, 3.0, 1.0, 3.0]), Some(1));
        assert_eq!(draw.next(&[0.0, f32::NAN]), None);
        assert_eq!(draw.next(&[]), None);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        // Softmax of (0, ln 3) is (1/4, 3/4); at temperature 1/2 it is (1/10, 9/10).
        for (temperature, expected) in [(1.0, 0.75), (0.5, 0.9)] {
            let sampling = Sampling {
                temperature,
                ..Sampling::GREEDY
            };
            let mut draw = Draw::new(sampling, 7);
            let ones = (0..20_000).filter(|_| draw.next(&[0.0, 3f32.ln()]) == Some(1));
            let share = ones.count() as f64 / 20_000.0;
            assert!(
                (share - expected).abs() < 0.01,
                "share {share} at temperature {temperature}, expected {expected}"
            );
        }
    }

    #[test]
    fn only_the_likeliest_are_drawn() {
        // Weights 1, 4, 2, 4, 1 of 12.
        let logits = [1f32, 4.0, 2.0, 4.0, 1.0].map(f32::ln);
        let cases: [(Option<usize>, f64, &[u32]); 9] = [
            (None, 1.0, &[0, 1, 2, 3, 4]),
            (Some(1), 1.0, &[1]),
            (Some(3), 1.0, &[1, 2, 3]),
            (Some(4), 1.0, &[0, 1, 2, 3]),
            (Some(99), 1.0, &[0, 1, 2, 3, 4]),
            (None, 1e-9, &[1]),
            (None, 0.6, &[1, 3]),
            (None, 0.7, &[1, 2, 3]),
            // Of the two that are left, the first has half.
            (Some(2), 0.45, &[1]),
        ];
        for (top_k, top_p, expected) in cases {
            let sampling = Sampling {
                temperature: 1.0,
                top_k,
                top_p,
            };
            let mut draw = Draw::new(sampling, 3);
            let drawn: std::collections::BTreeSet<u32> =
                (0..500).filter_map(|_| draw.next(&logits)).collect();
            assert!(
                drawn.iter().eq(expected),
                "{sampling:?}: {drawn:?}, expected {expected:?}"
            );
        }
    }
}

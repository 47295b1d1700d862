//! The next token from logits: the most likely one, or one drawn by its probability.

use crate::rng::Rng;

/// The random stream of tokens.
const TOKEN_STREAM: u64 = 0x544f_4b45;

/// Chooses tokens; the same seed makes the same choices.
pub(super) struct Draw {
    temperature: f64,
    rng: Rng,
}

impl Draw {
    pub(super) fn new(temperature: f64, seed: u64) -> Self {
        Self {
            temperature,
            rng: Rng::new(seed, TOKEN_STREAM),
        }
    }

    /// `None` where a logit is NaN or infinite.
    pub(super) fn next(&mut self, logits: &[f32]) -> Option<u32> {
        if logits.is_empty() || !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let top = top(logits);
        if self.temperature == 0.0 {
            return Some(top as u32);
        }
        let largest = f64::from(logits[top]);
        let weights: Vec<f64> = logits
            .iter()
            .map(|&logit| ((f64::from(logit) - largest) / self.temperature).exp())
            .collect();
        let mut left = self.rng.uniform() * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a sliver beyond the last weight.
        Some(chosen.unwrap_or(top) as u32)
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
        let mut draw = Draw::new(0.0, 0);
        assert_eq!(draw.next(&[0.0, 3.0, 1.0, 3.0]), Some(1));
        assert_eq!(draw.next(&[0.0, f32::NAN]), None);
        assert_eq!(draw.next(&[]), None);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        // Softmax of (0, ln 3) is (1/4, 3/4); at temperature 1/2 it is (1/10, 9/10).
        for (temperature, expected) in [(1.0, 0.75), (0.5, 0.9)] {
            let mut draw = Draw::new(temperature, 7);
            let ones = (0..20_000).filter(|_| draw.next(&[0.0, 3f32.ln()]) == Some(1));
            let share = ones.count() as f64 / 20_000.0;
            assert!(
                (share - expected).abs() < 0.01,
                "share {share} at temperature {temperature}, expected {expected}"
            );
        }
    }
}

//! Losses of one row of outputs with their gradients, in f64 where sums are long. Each gradient is checked against finite
//! differences.
//!
//! Knows no batch, network or teacher.

use crate::score::exponential;

/// A distribution over the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// The log of every probability.
    pub logs: Vec<f64>,
    /// Every probability.
    pub shares: Vec<f64>,
}

/// A teacher's distribution, at the temperature of the loss.
#[derive(Debug, Clone, Copy)]
pub enum Taught<'a> {
    /// All of it.
    Whole(&'a Distribution),
    /// Some tokens with the log of their probability; all others are one event, that holds the rest.
    Top {
        /// Different token ids.
        tokens: &'a [u32],
        /// The log of their probabilities, which add up to at most 1.
        logs: &'a [f32],
    },
}

/// Partial sums side by side: one order of summation, that vectorizes.
const LANES: usize = 8;

/// The sum of `values`.
fn sum(values: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum::<f64>() + rest.iter().sum::<f64>()
}

impl Distribution {
    /// `softmax(logits / temperature)`.
    pub fn softmax(logits: &[f32], temperature: f64) -> Self {
        let most = logits
            .iter()
            .fold(f32::NEG_INFINITY, |most, &logit| most.max(logit));
        let mut logs: Vec<f64> = logits
            .iter()
            .map(|&logit| (f64::from(logit) - f64::from(most)) / temperature)
            .collect();
        let mut shares: Vec<f64> = logs.iter().map(|&log| exponential(log)).collect();
        let total = sum(&shares);
        let log_total = total.ln();
        logs.iter_mut().for_each(|log| *log -= log_total);
        shares.iter_mut().for_each(|share| *share /= total);
        Self { logs, shares }
    }

    /// The distribution with these probabilities.
    pub fn of_shares(shares: Vec<f64>) -> Self {
        let logs = shares.iter().map(|share| share.max(f64::MIN_POSITIVE).ln());
        Self {
            logs: logs.collect(),
            shares,
        }
    }
}

/// `-log p(target)` for `p = own`, the softmax of logits. `weight` times its gradient at the logits,
/// `weight (p - one(target))`, is added to `gradient`.
pub fn cross_entropy(own: &Distribution, target: u32, weight: f64, gradient: &mut [f64]) -> f64 {
    let slots = gradient.iter_mut().zip(&own.shares);
    slots.for_each(|(slot, share)| *slot += weight * share);
    let target = target as usize;
    if let Some(slot) = gradient.get_mut(target) {
        *slot -= weight;
    }
    -own.logs.get(target).copied().unwrap_or(f64::NAN)
}

/// `T² KL(taught || own)` for `own = softmax(logits / T)`, T the temperature (Hinton et al. 2015, arXiv 1503.02531,
/// section 2.1: the square keeps gradients as large as those of hard labels). `weight` times its gradient at the logits,
/// `weight T (q - p)`, is added to `gradient`. Of a `Top` teacher it is the divergence of the distributions in which all
/// other tokens are one event: never more than the whole one.
pub fn divergence(
    own: &Distribution,
    taught: Taught<'_>,
    temperature: f64,
    weight: f64,
    gradient: &mut [f64],
) -> f64 {
    let scale = weight * temperature;
    let divergence = match taught {
        Taught::Whole(taught) => {
            let terms = taught.shares.iter().zip(taught.logs.iter().zip(&own.logs));
            // 0 log 0 is 0; a log of -inf would make it NaN.
            let terms: Vec<f64> = terms
                .map(|(&share, (&theirs, &ours))| {
                    if share > 0.0 {
                        share * (theirs - ours)
                    } else {
                        0.0
                    }
                })
                .collect();
            let slots = gradient
                .iter_mut()
                .zip(own.shares.iter().zip(&taught.shares));
            slots.for_each(|(slot, (ours, theirs))| *slot += scale * (ours - theirs));
            sum(&terms)
        }
        Taught::Top { tokens, logs } => top_divergence(own, (tokens, logs), scale, gradient),
    };
    temperature * temperature * divergence
}

/// With rest masses `r` (taught) and `s` (own): the gradient at a token outside is `q_i (1 - r/s)`, at one inside
/// `q_i - p_i`, times the scale.
fn top_divergence(
    own: &Distribution,
    (tokens, taught): (&[u32], &[f32]),
    scale: f64,
    gradient: &mut [f64],
) -> f64 {
    let (mut sum, mut rest, mut own_rest) = (0.0, 1.0, 1.0);
    for (&token, &theirs) in tokens.iter().zip(taught) {
        let theirs = f64::from(theirs);
        sum += theirs.exp() * (theirs - own.logs[token as usize]);
        rest -= theirs.exp();
        own_rest -= own.shares[token as usize];
    }
    // Differences of sums near 1: what rounding leaves is no mass.
    let rest = rest.max(0.0);
    let own_rest = own_rest.max(1e-12);
    if rest > 0.0 {
        sum += rest * (rest.ln() - own_rest.ln());
    }
    let outside = 1.0 - rest / own_rest;
    for (slot, share) in gradient.iter_mut().zip(&own.shares) {
        *slot += scale * share * outside;
    }
    for (&token, &theirs) in tokens.iter().zip(taught) {
        let share = own.shares[token as usize];
        gradient[token as usize] += scale * (share - f64::from(theirs).exp() - share * outside);
    }
    sum
}

/// `1 - cosine` of two vectors, with its gradient at the first, `weight` times, added to `gradient`. 0 where one of them
/// is zero.
pub fn cosine_distance(own: &[f32], taught: &[f32], weight: f64, gradient: &mut [f64]) -> f64 {
    let product = |left: &[f32], right: &[f32]| -> f64 {
        let pairs = left.iter().zip(right);
        pairs.map(|(&l, &r)| f64::from(l) * f64::from(r)).sum()
    };
    let (own_length, taught_length) = (product(own, own).sqrt(), product(taught, taught).sqrt());
    if own_length == 0.0 || taught_length == 0.0 {
        return 0.0;
    }
    let cosine = product(own, taught) / (own_length * taught_length);
    for ((slot, &own), &taught) in gradient.iter_mut().zip(own).zip(taught) {
        let along = f64::from(own) * cosine / own_length;
        *slot += weight * (along - f64::from(taught) / taught_length) / own_length;
    }
    1.0 - cosine
}

/// The mean of squared differences, with its gradient at `own`, `weight` times, added to `gradient`.
pub fn mean_square(own: &[f32], taught: &[f32], weight: f64, gradient: &mut [f64]) -> f64 {
    let width = own.len().max(1) as f64;
    let mut sum = 0.0;
    for ((slot, &own), &taught) in gradient.iter_mut().zip(own).zip(taught) {
        let difference = f64::from(own) - f64::from(taught);
        sum += difference * difference;
        *slot += weight * 2.0 * difference / width;
    }
    sum / width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const WIDTH: usize = 11;

    fn drawn(seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0);
        (0..WIDTH).map(|_| (2.0 * rng.normal()) as f32).collect()
    }

    fn top(taught: &Distribution, tokens: &[u32]) -> Vec<f32> {
        let logs = tokens.iter().map(|&token| taught.logs[token as usize]);
        logs.map(|log| log as f32).collect()
    }

    /// Compares the gradient of `loss` with differences, value by value.
    fn check(name: &str, loss: &dyn Fn(&[f32], &mut [f64]) -> f64) {
        let start = drawn(1);
        let weight = 0.7;
        let mut gradient = vec![0.0; WIDTH];
        loss(&start, &mut gradient);
        for (index, &found) in gradient.iter().enumerate() {
            let at = |step: f32| {
                let mut moved = start.clone();
                moved[index] += step;
                // The step that f32 really takes.
                (loss(&moved, &mut [0.0; WIDTH]), f64::from(moved[index]))
            };
            let ((high, right), (low, left)) = (at(1e-2), at(-1e-2));
            let expected = weight * (high - low) / (right - left);
            assert!(
                (found - expected).abs() < 2e-4 * (1.0 + expected.abs()),
                "{name}, value {index}: gradient {found}, differences {expected}"
            );
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let drawn = drawn(2);
        check("cross entropy", &|logits, gradient| {
            let own = Distribution::softmax(logits, 1.0);
            cross_entropy(&own, 3, 0.7, gradient)
        });
        for temperature in [1.0, 2.5] {
            let taught = Distribution::softmax(&drawn, temperature);
            let tokens = [5, 0, 2];
            let logs = top(&taught, &tokens);
            let teachers = [
                ("divergence", Taught::Whole(&taught)),
                (
                    "divergence over the top",
                    Taught::Top {
                        tokens: &tokens,
                        logs: &logs,
                    },
                ),
            ];
            for (name, taught) in teachers {
                check(name, &|logits, gradient| {
                    let own = Distribution::softmax(logits, temperature);
                    divergence(&own, taught, temperature, 0.7, gradient)
                });
            }
        }
        check("cosine", &|own, gradient| {
            cosine_distance(own, &drawn, 0.7, gradient)
        });
        check("mean square", &|own, gradient| {
            mean_square(own, &drawn, 0.7, gradient)
        });
    }

    #[test]
    fn a_divergence_over_the_top_is_never_more_and_all_tokens_make_it_whole() {
        let own = Distribution::softmax(&drawn(3), 2.0);
        let taught = Distribution::softmax(&drawn(4), 2.0);
        let of = |taught: Taught<'_>| divergence(&own, taught, 2.0, 0.0, &mut [0.0; WIDTH]);
        let whole = of(Taught::Whole(&taught));
        let mut last = 0.0;
        for count in 0..=WIDTH as u32 {
            let tokens: Vec<u32> = (0..count).collect();
            let logs = &top(&taught, &tokens);
            let tokens = &tokens;
            let found = of(Taught::Top { tokens, logs });
            assert!(
                found >= last - 1e-6 && found <= whole + 1e-6,
                "{count}: {found} of {whole}"
            );
            last = found;
        }
        assert!((last - whole).abs() < 1e-6, "{last}, whole {whole}");
    }

    #[test]
    fn a_student_that_is_the_teacher_has_no_loss_and_no_slope() {
        let own = Distribution::softmax(&drawn(5), 3.0);
        let mut gradient = vec![0.0; WIDTH];
        let loss = divergence(&own, Taught::Whole(&own), 3.0, 1.0, &mut gradient);
        assert!(loss.abs() < 1e-12, "{loss}");
        let steepest = gradient.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert!(steepest < 1e-12, "{gradient:?}");
    }
}

//! From the hidden states of a sentence to one vector, and back for gradients.
//!
//! Knows no file; how a model pools is read by whoever opens it.

/// How the tokens of a sentence become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingMode {
    /// The first token's.
    First,
    /// The largest value of each channel.
    Max,
    /// The mean.
    Mean,
    /// The sum over the root of the number of tokens.
    MeanRoot,
    /// The last token's.
    Last,
}

/// Modes, joined one after another, then perhaps brought to length 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    /// At least one.
    pub modes: Vec<PoolingMode>,
    /// Whether the result is divided by its length.
    pub normalize: bool,
}

impl Pooling {
    /// Pools `[tokens, width]`.
    pub fn pool(&self, states: &[f32], width: usize) -> Vec<f32> {
        let mut pooled = self.pool_unscaled(states, width);
        let squares: f64 = pooled.iter().map(|&value| f64::from(value).powi(2)).sum();
        if self.normalize && squares > 0.0 {
            let length = squares.sqrt();
            for value in &mut pooled {
                *value = (f64::from(*value) / length) as f32;
            }
        }
        pooled
    }

    /// The embedding before it is brought to length 1.
    pub fn pool_unscaled(&self, states: &[f32], width: usize) -> Vec<f32> {
        let modes = self.modes.iter();
        modes.flat_map(|mode| mode.pool(states, width)).collect()
    }

    /// The gradient at `states` of a loss whose gradient at the unscaled embedding is `gradient`.
    pub fn pull_back(&self, states: &[f32], width: usize, gradient: &[f32]) -> Vec<f32> {
        let mut at_states = vec![0.0; states.len()];
        for (mode, gradient) in self.modes.iter().zip(gradient.chunks_exact(width)) {
            mode.add_pulled_back(states, gradient, &mut at_states);
        }
        at_states
    }
}

impl PoolingMode {
    fn pool(self, states: &[f32], width: usize) -> Vec<f32> {
        let rows = states.chunks_exact(width);
        let tokens = rows.len() as f64;
        let sums = || {
            let mut sums = vec![0.0f64; width];
            for row in states.chunks_exact(width) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(value);
                }
            }
            sums
        };
        let divided = |divisor: f64| sums().iter().map(|sum| (sum / divisor) as f32).collect();
        match self {
            Self::First => rows.take(1).flatten().copied().collect(),
            Self::Last => rows.rev().take(1).flatten().copied().collect(),
            Self::Max => rows.fold(vec![f32::NEG_INFINITY; width], |mut most, row| {
                for (most, &value) in most.iter_mut().zip(row) {
                    // NaN has to stay visible.
                    if value > *most || value.is_nan() {
                        *most = value;
                    }
                }
                most
            }),
            Self::Mean => divided(tokens),
            Self::MeanRoot => divided(tokens.sqrt()),
        }
    }

    fn add_pulled_back(self, states: &[f32], gradient: &[f32], at_states: &mut [f32]) {
        let width = gradient.len();
        let tokens = states.len() / width;
        let mut add = |token: usize, channel: usize, share: f32| {
            at_states[token * width + channel] += share * gradient[channel];
        };
        let first_largest = |channel: usize| {
            let value = |token: usize| states[token * width + channel];
            (1..tokens).fold(0, |most, token| match value(token) > value(most) {
                true => token,
                false => most,
            })
        };
        for channel in 0..width {
            match self {
                Self::First => add(0, channel, 1.0),
                Self::Last => add(tokens - 1, channel, 1.0),
                Self::Max => add(first_largest(channel), channel, 1.0),
                Self::Mean => {
                    (0..tokens).for_each(|token| add(token, channel, 1.0 / tokens as f32))
                }
                Self::MeanRoot => {
                    let share = 1.0 / (tokens as f32).sqrt();
                    (0..tokens).for_each(|token| add(token, channel, share));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [f32; 8] = [1.0, 2.0, 3.0, -2.0, 5.0, 0.0, 3.0, 4.0];

    #[test]
    fn modes_by_hand() {
        for (mode, expected) in [
            (PoolingMode::First, [1.0, 2.0]),
            (PoolingMode::Last, [3.0, 4.0]),
            (PoolingMode::Max, [5.0, 4.0]),
            (PoolingMode::Mean, [3.0, 1.0]),
            (PoolingMode::MeanRoot, [6.0, 2.0]),
        ] {
            assert_eq!(mode.pool(&STATES, 2), expected, "{mode:?}");
        }
        let both = Pooling {
            modes: vec![PoolingMode::First, PoolingMode::Mean],
            normalize: false,
        };
        assert_eq!(both.pool(&STATES, 2), [1.0, 2.0, 3.0, 1.0]);
        let normalized = Pooling {
            modes: vec![PoolingMode::Last],
            normalize: true,
        };
        assert_eq!(normalized.pool(&STATES, 2), [0.6, 0.8]);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let modes = [
            PoolingMode::First,
            PoolingMode::Max,
            PoolingMode::Mean,
            PoolingMode::MeanRoot,
            PoolingMode::Last,
        ];
        let pooling = Pooling {
            modes: modes.to_vec(),
            normalize: true,
        };
        let gradient: Vec<f32> = (1..=10).map(|index| index as f32 / 4.0 - 1.0).collect();
        let loss = |states: &[f32]| -> f32 {
            let pooled = pooling.pool_unscaled(states, 2);
            pooled
                .iter()
                .zip(&gradient)
                .map(|(value, gradient)| value * gradient)
                .sum()
        };
        let found = pooling.pull_back(&STATES, 2, &gradient);
        for (place, found) in found.iter().enumerate() {
            let moved = |step: f32| {
                let mut states = STATES;
                states[place] += step;
                loss(&states)
            };
            let expected = (moved(0.125) - moved(-0.125)) / 0.25;
            assert!(
                (found - expected).abs() < 1e-4,
                "value {place}: {found}, expected {expected}"
            );
        }
    }
}

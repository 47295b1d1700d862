//! Rotary positions: how fast each pair of channels turns, plain and stretched (linear, llama3, yarn, longrope).
//!
//! Su et al. 2021 (arXiv 2104.09864); yarn: Peng et al. 2023 (arXiv 2309.00071). Frequencies are made
//! in f64. Knows no tensor: `Context` turns the tables into tensors.

use super::error::ModelError;
use super::keys::Keys;
use std::f64::consts::TAU;

/// Frequencies of one kind of rotary attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Turn per position of each pair of channels, `[rotary width / 2]`.
    frequencies: Vec<f64>,
    /// Factor on cosine and sine.
    magnitude: f64,
    /// Longrope: other frequencies once a sequence is longer than this.
    long: Option<(usize, Vec<f64>)>,
}

impl Rope {
    /// Reads `rope` (`rope_parameters`, or `rope_scaling` beside `theta`); `rotary` is the rotated width of a head.
    pub(super) fn parse(
        rope: Option<Keys<'_>>,
        top: Keys<'_>,
        theta: f64,
        rotary: usize,
        context_length: usize,
    ) -> Result<Self, ModelError> {
        if rotary == 0 || rotary % 2 == 1 {
            return Err(ModelError::bad_key(
                "head_dim",
                format!(
                    "gives {rotary} rotated channels, but rotary positions need an even number of at least 2"
                ),
            ));
        }
        if theta <= 1.0 {
            return Err(ModelError::bad_key(
                "rope_theta",
                format!("is {theta}, but must be above 1"),
            ));
        }
        let plain: Vec<f64> = (0..rotary / 2)
            .map(|pair| theta.powf(-((2 * pair) as f64) / rotary as f64))
            .collect();
        let Some(rope) = rope else {
            return Ok(Self::plain(plain));
        };
        let kind = rope.word_or("rope_type", rope.word_or("type", "default")?)?;
        let original = match rope.dimension_or_none("original_max_position_embeddings")? {
            Some(length) => length,
            None => top.dimension_or("original_max_position_embeddings", context_length)?,
        };
        match kind {
            "default" => Ok(Self::plain(plain)),
            "linear" => {
                let factor = rope.positive("factor")?;
                Ok(Self::plain(plain.iter().map(|f| f / factor).collect()))
            }
            "llama3" => Ok(Self::plain(llama3(&plain, rope)?)),
            "yarn" => yarn(&plain, rope, theta, rotary, original),
            "longrope" | "su" => longrope(&plain, rope, original, context_length),
            other => Err(ModelError::bad_key(
                "rope_type",
                format!(
                    "is \"{other}\", but only default, linear, llama3, yarn and longrope are known"
                ),
            )),
        }
    }

    fn plain(frequencies: Vec<f64>) -> Self {
        Self {
            frequencies,
            magnitude: 1.0,
            long: None,
        }
    }

    /// What casting a whole network to bf16 does to its frequencies.
    #[cfg(test)]
    pub(super) fn round_to_bf16(&mut self) {
        for frequency in &mut self.frequencies {
            *frequency = half::bf16::from_f64(*frequency).to_f64();
        }
    }

    /// Turn per position of each pair of channels; pair `i` is channels `i` and `i + pairs`.
    pub fn frequencies(&self) -> &[f64] {
        &self.frequencies
    }

    /// Factor on cosine and sine.
    pub fn magnitude(&self) -> f64 {
        self.magnitude
    }

    /// Other frequencies, and the length of a sequence beyond which they hold.
    pub fn long(&self) -> Option<(usize, &[f64])> {
        let (tokens, frequencies) = self.long.as_ref()?;
        Some((*tokens, frequencies))
    }

    /// Rotated channels of a head.
    pub(super) fn width(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Cosines and sines, each `[tokens, width / 2]`, of positions `offset..offset + tokens`.
    pub(super) fn tables(&self, offset: usize, tokens: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = match &self.long {
            Some((original, long)) if offset + tokens > *original => long,
            _ => &self.frequencies,
        };
        let angles = (offset..offset + tokens).flat_map(|position| {
            frequencies
                .iter()
                // The reference multiplies in f32: position * frequency rounded once.
                .map(move |&frequency| f64::from(position as f32 * frequency as f32))
        });
        let scaled = |value: f64| (value * self.magnitude) as f32;
        angles
            .map(|angle| (scaled(angle.cos()), scaled(angle.sin())))
            .unzip()
    }
}

/// Slow pairs are stretched by `factor`, fast ones stay, those between are blended.
fn llama3(plain: &[f64], rope: Keys<'_>) -> Result<Vec<f64>, ModelError> {
    let factor = rope.positive("factor")?;
    let low = rope.positive("low_freq_factor")?;
    let high = rope.positive("high_freq_factor")?;
    let original = rope.dimension("original_max_position_embeddings")? as f64;
    if high <= low {
        return Err(ModelError::bad_key(
            "high_freq_factor",
            format!("is {high}, but must be above low_freq_factor ({low})"),
        ));
    }
    Ok(plain
        .iter()
        .map(|&frequency| {
            let turns = original * frequency / TAU;
            let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - keep) * frequency / factor + keep * frequency
        })
        .collect())
}

/// Pairs that turn fewer than `beta_slow` times in the original context are stretched, those above `beta_fast` stay.
fn yarn(
    plain: &[f64],
    rope: Keys<'_>,
    theta: f64,
    rotary: usize,
    original: usize,
) -> Result<Rope, ModelError> {
    let factor = rope.positive("factor")?;
    let fast = rope.positive_or("beta_fast", 32.0)?;
    let slow = rope.positive_or("beta_slow", 1.0)?;
    // The pair that turns `turns` times in the original context.
    let pair_of =
        |turns: f64| rotary as f64 * (original as f64 / (turns * TAU)).ln() / (2.0 * theta.ln());
    let (mut first, mut last) = (pair_of(fast), pair_of(slow));
    if rope.flag_or("truncate", true)? {
        (first, last) = (first.floor(), last.ceil());
    }
    let first = first.max(0.0);
    let mut last = last.min(rotary as f64 - 1.0);
    if first == last {
        last += 0.001;
    }
    let frequencies = plain
        .iter()
        .enumerate()
        .map(|(pair, &frequency)| {
            let stretch = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
            frequency / factor * stretch + frequency * (1.0 - stretch)
        })
        .collect();
    Ok(Rope {
        frequencies,
        magnitude: yarn_magnitude(rope, factor)?,
        long: None,
    })
}

fn yarn_magnitude(rope: Keys<'_>, factor: f64) -> Result<f64, ModelError> {
    let magnitude = |weight: f64| {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * weight * factor.ln() + 1.0
        }
    };
    if let Some(given) = rope.positive_or_none("attention_factor")? {
        return Ok(given);
    }
    let weights = (
        rope.get("mscale").and_then(serde_json::Value::as_f64),
        rope.get("mscale_all_dim")
            .and_then(serde_json::Value::as_f64),
    );
    Ok(match weights {
        (Some(one), Some(all)) if one != 0.0 && all != 0.0 => magnitude(one) / magnitude(all),
        _ => magnitude(1.0),
    })
}

/// Each pair has its own divisor: one list up to the original context, another beyond it.
fn longrope(
    plain: &[f64],
    rope: Keys<'_>,
    original: usize,
    context_length: usize,
) -> Result<Rope, ModelError> {
    let divided = |key: &str| -> Result<Vec<f64>, ModelError> {
        let divisors = rope.positive_list(key)?;
        if divisors.len() != plain.len() {
            return Err(ModelError::bad_key(
                key,
                format!(
                    "has {} numbers, but {} are needed",
                    divisors.len(),
                    plain.len()
                ),
            ));
        }
        Ok(plain.iter().zip(divisors).map(|(f, d)| f / d).collect())
    };
    let stretch = context_length as f64 / original as f64;
    let derived = if stretch <= 1.0 || original < 2 {
        1.0
    } else {
        (1.0 + stretch.ln() / (original as f64).ln()).sqrt()
    };
    Ok(Rope {
        frequencies: divided("short_factor")?,
        magnitude: rope.positive_or("attention_factor", derived)?,
        long: Some((original, divided("long_factor")?)),
    })
}

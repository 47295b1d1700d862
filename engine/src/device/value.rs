//! A number that says how well it is known: the likeliest value, a band, where it comes from.
//!
//! Knows no unit: names of fields carry them.

use serde::{Deserialize, Serialize};

/// Longest text that says where a number comes from.
const MOST_SOURCE_CHARS: usize = 300;

/// How a number is known; the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Measured on the very device, or a published measurement of one.
    Measured,
    /// What its maker says.
    Datasheet,
    /// Concluded from others of its kind.
    Inferred,
}

impl Basis {
    /// The word in tables and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Datasheet => "datasheet",
            Self::Inferred => "inferred",
        }
    }

    /// Half of the band where nobody says it, as a share of the value.
    pub fn usual_band(self) -> f64 {
        match self {
            Self::Measured => 0.10,
            Self::Datasheet => 0.30,
            Self::Inferred => 0.40,
        }
    }
}

/// A positive number, or 0, with its band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Told")]
pub struct Value {
    /// The likeliest.
    pub value: f64,
    /// As small as it may be.
    pub low: f64,
    /// As large as it may be.
    pub high: f64,
    /// How it is known.
    pub basis: Basis,
    /// Where it comes from, so that anyone can check it.
    pub source: String,
}

/// Which end of the bands a computation takes: all that makes it slow, the likeliest, or all that makes it fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corner {
    /// Small rates, large costs.
    Slow,
    /// The likeliest.
    Likely,
    /// Large rates, small costs.
    Fast,
}

impl Value {
    /// A number with the band that is usual for its basis.
    pub fn new(value: f64, basis: Basis, source: impl Into<String>) -> Self {
        let band = basis.usual_band();
        Self::banded(value, (1.0 - band, 1.0 + band), basis, source)
    }

    /// A number whose band reaches from `share.0` to `share.1` times itself.
    pub fn banded(value: f64, share: (f64, f64), basis: Basis, source: impl Into<String>) -> Self {
        Self {
            value,
            low: value * share.0,
            high: value * share.1,
            basis,
            source: source.into(),
        }
    }

    /// Of a rate (more is faster), the end at `corner`.
    pub fn rate(&self, corner: Corner) -> f64 {
        match corner {
            Corner::Slow => self.low,
            Corner::Likely => self.value,
            Corner::Fast => self.high,
        }
    }

    /// Of a cost (more is slower), the end at `corner`.
    pub fn cost(&self, corner: Corner) -> f64 {
        match corner {
            Corner::Slow => self.high,
            Corner::Likely => self.value,
            Corner::Fast => self.low,
        }
    }

    /// The same knowledge of `factor` times as much.
    pub fn times(&self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            low: self.low * factor,
            high: self.high * factor,
            ..self.clone()
        }
    }
}

/// A value as a file tells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
    basis: Basis,
    source: String,
}

impl TryFrom<Told> for Value {
    type Error = String;

    fn try_from(told: Told) -> Result<Self, String> {
        let usual = Self::new(told.value, told.basis, told.source);
        let value = Self {
            low: told.low.unwrap_or(usual.low),
            high: told.high.unwrap_or(usual.high),
            ..usual
        };
        let ordered = 0.0 <= value.low && value.low <= value.value && value.value <= value.high;
        // NaN is not in order either.
        if !ordered || !value.high.is_finite() {
            return Err(format!(
                "{} with the band {} to {} is no value: write numbers of 0 or more with low <= value <= high",
                value.value, value.low, value.high
            ));
        }
        if !is_plain(&value.source, MOST_SOURCE_CHARS) {
            return Err(format!(
                "a value needs a source: one line of 1 to {MOST_SOURCE_CHARS} characters that says where it comes from"
            ));
        }
        Ok(value)
    }
}

/// Whether `text` is one line of letters for people, and not longer than that.
pub(super) fn is_plain(text: &str, most_chars: usize) -> bool {
    let fits = text.chars().nth(most_chars).is_none();
    fits && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bands_follow_the_basis_and_corners_take_their_ends() {
        let rows = [
            (Basis::Measured, 90.0, 110.0),
            (Basis::Datasheet, 70.0, 130.0),
            (Basis::Inferred, 60.0, 140.0),
        ];
        for (basis, low, high) in rows {
            let value = Value::new(100.0, basis, "a test");
            assert!((value.low - low).abs() < 1e-9, "{basis:?}: {value:?}");
            assert!((value.high - high).abs() < 1e-9, "{basis:?}: {value:?}");
            assert_eq!(value.rate(Corner::Slow), value.low);
            assert_eq!(value.cost(Corner::Slow), value.high);
            assert_eq!(value.rate(Corner::Likely), 100.0);
            assert_eq!(value.times(2.0).high, 2.0 * value.high);
        }
    }

    #[test]
    fn told_values_are_checked() {
        let good = "value = 2.0\nbasis = \"datasheet\"\nsource = \"maker\"\n";
        let value: Value = toml::from_str(good).unwrap();
        assert_eq!((value.low, value.high), (1.4, 2.6));
        let rows = [
            (
                "value = -1.0\nbasis = \"measured\"\nsource = \"x\"",
                "no value",
            ),
            (
                "value = nan\nbasis = \"measured\"\nsource = \"x\"",
                "no value",
            ),
            (
                "value = inf\nbasis = \"measured\"\nsource = \"x\"",
                "no value",
            ),
            (
                "value = 1.0\nlow = 2.0\nbasis = \"measured\"\nsource = \"x\"",
                "no value",
            ),
            (
                "value = 1.0\nhigh = 0.5\nbasis = \"measured\"\nsource = \"x\"",
                "no value",
            ),
            (
                "value = 1.0\nbasis = \"measured\"\nsource = \" \"",
                "needs a source",
            ),
            (
                "value = 1.0\nbasis = \"measured\"\nsource = \"a\\u001bb\"",
                "needs a source",
            ),
            ("value = 1.0\nbasis = \"heard\"\nsource = \"x\"", "heard"),
            ("value = 1.0\nbasis = \"measured\"", "source"),
            (
                "value = 1.0\nvlaue = 1.0\nbasis = \"measured\"\nsource = \"x\"",
                "vlaue",
            ),
        ];
        for (text, expected) in rows {
            let error = toml::from_str::<Value>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let long = format!(
            "value = 1.0\nbasis = \"measured\"\nsource = \"{}\"",
            "x".repeat(400)
        );
        assert!(toml::from_str::<Value>(&long).is_err());
    }
}

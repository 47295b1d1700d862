//! Numbers that carry their unit in the type, and how people read them.
//!
//! Knows nothing of models or reports; formatting only.

use std::fmt;

/// A size in bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Stored bits for each weight, scales, zeros and padding included.
#[derive(
    Debug, Clone, Copy, PartialEq, PartialOrd, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct BitsPerWeight(pub f64);

/// A duration in milliseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, PartialOrd, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub f64);

impl BitsPerWeight {
    /// `8 * bytes / weights`; 0 where there are no weights.
    pub fn of(bytes: Bytes, weights: u64) -> Self {
        if weights == 0 {
            Self(0.0)
        } else {
            Self(8.0 * bytes.0 as f64 / weights as f64)
        }
    }
}

impl fmt::Display for Bytes {
    /// Decimal multiples, as disks and downloads are labelled: `13.5 GB`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 999.95 && unit + 1 < UNITS.len() {
            value /= 1000.0;
            unit += 1;
        }
        if unit == 0 {
            write!(formatter, "{} B", self.0)
        } else {
            write!(formatter, "{value:.1} {}", UNITS[unit])
        }
    }
}

impl fmt::Display for BitsPerWeight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.2} bits/weight", self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1000.0 {
            write!(formatter, "{:.1} s", self.0 / 1000.0)
        } else {
            write!(formatter, "{:.1} ms", self.0)
        }
    }
}

/// Bytes as lower-case hexadecimal: how digests are named.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_people_write_them() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_960, "1.0 MB"),
            (13_500_000_000, "13.5 GB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Bytes(bytes).to_string(), expected);
        }
    }

    #[test]
    fn bits_per_weight_counts_eight_bits_a_byte() {
        assert_eq!(BitsPerWeight::of(Bytes(9), 16), BitsPerWeight(4.5));
        assert_eq!(BitsPerWeight::of(Bytes(9), 0), BitsPerWeight(0.0));
    }
}

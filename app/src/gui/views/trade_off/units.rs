//! What sizes are counted in: megabytes, bits for each weight, a share of the original. A size itself is bytes.
//!
//! Words typed for a size are read here too. Knows no plot and no recipe.

/// What a size is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Unit {
    /// Decimal megabytes of all compressible layers.
    #[default]
    Megabytes,
    /// Stored bits for each weight.
    Bits,
    /// Per cent of the bytes before.
    Percent,
}

impl Unit {
    /// All of them, in the order of their buttons.
    pub(super) const ALL: [Self; 3] = [Self::Megabytes, Self::Bits, Self::Percent];

    /// On buttons and axes.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Megabytes => "MB",
            Self::Bits => "bits per weight",
            Self::Percent => "% of original",
        }
    }

    /// After a number.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Megabytes => "MB",
            Self::Bits => "bpw",
            Self::Percent => "%",
        }
    }

    /// The unit that a word typed after a number means.
    fn of_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "mb" => Some(Self::Megabytes),
            "bpw" | "bits" | "bit" => Some(Self::Bits),
            "%" => Some(Self::Percent),
            _ => None,
        }
    }
}

/// A unit and the model that it counts in.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Scale {
    /// The unit.
    pub(super) unit: Unit,
    /// Weights of all compressible layers.
    pub(super) weights: u64,
    /// Their bytes before.
    pub(super) bytes_before: u64,
}

impl Scale {
    /// Bytes in this unit.
    pub(super) fn value(self, bytes: u64) -> f64 {
        bytes as f64 / self.bytes_of_one()
    }

    /// The most bytes that are not more than `value`.
    pub(super) fn bytes(self, value: f64) -> u64 {
        // A number that came from whole bytes must lead back to them.
        (value * self.bytes_of_one() + 1e-6).max(0.0).floor() as u64
    }

    /// Bytes as people read them, without the unit.
    pub(super) fn text(self, bytes: u64) -> String {
        let value = self.value(bytes);
        match self.unit {
            Unit::Megabytes if value < 10.0 => format!("{value:.3}"),
            Unit::Megabytes if value < 1000.0 => format!("{value:.2}"),
            Unit::Megabytes => format!("{value:.1}"),
            Unit::Bits => format!("{value:.3}"),
            Unit::Percent => format!("{value:.2}"),
        }
    }

    /// Bytes that a person typed: a number in this unit, or with a unit after it.
    pub(super) fn read(self, text: &str) -> Option<u64> {
        let text = text.trim();
        let end = text
            .find(|letter: char| letter.is_ascii_alphabetic() || letter == '%')
            .unwrap_or(text.len());
        let (number, word) = text.split_at(end);
        let unit = match word.trim() {
            "" => self.unit,
            word => Unit::of_word(word)?,
        };
        let value: f64 = number.trim().replace(',', ".").parse().ok()?;
        let is_size = value.is_finite() && value > 0.0;
        is_size.then(|| Self { unit, ..self }.bytes(value))
    }

    fn bytes_of_one(self) -> f64 {
        match self.unit {
            Unit::Megabytes => 1e6,
            Unit::Bits => self.weights.max(1) as f64 / 8.0,
            Unit::Percent => self.bytes_before.max(1) as f64 / 100.0,
        }
    }
}

/// `bytes`, or the mark that lies at most `reach` bytes away.
pub(super) fn snapped(bytes: u64, marks: impl Iterator<Item = u64>, reach: f64) -> u64 {
    let nearest = marks.min_by_key(|mark| mark.abs_diff(bytes));
    nearest
        .filter(|mark| mark.abs_diff(bytes) as f64 <= reach)
        .unwrap_or(bytes)
}

/// How far `value` lies from `from`, in per cent with its sign: `−12 %`.
pub(super) fn change_text(value: f64, from: f64) -> String {
    if from <= 0.0 {
        return "–".to_owned();
    }
    let percent = 100.0 * (value / from - 1.0);
    let digits = usize::from(percent.abs() < 9.95);
    match percent {
        _ if percent.abs() < 0.05 => "same".to_owned(),
        _ if percent >= 1000.0 => format!("×{:.0}", value / from),
        _ if percent > 0.0 => format!("+{percent:.digits$} %"),
        _ => format!("−{:.digits$} %", -percent),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scale(unit: Unit) -> Scale {
        Scale {
            unit,
            weights: 1_000_003,
            bytes_before: 2_000_006,
        }
    }

    #[test]
    fn a_size_typed_is_never_more_bytes_than_it_says() {
        for (unit, text, expected) in [
            (Unit::Megabytes, "0.5", Some(500_000)),
            (Unit::Megabytes, " 0,5 MB ", Some(500_000)),
            (Unit::Megabytes, "4 bpw", Some(500_001)),
            (Unit::Bits, "4.25", Some(531_251)),
            (Unit::Bits, "25 %", Some(500_001)),
            (Unit::Percent, "25", Some(500_001)),
            (Unit::Percent, "0.5mb", Some(500_000)),
            (Unit::Bits, "", None),
            (Unit::Bits, "four", None),
            (Unit::Bits, "4 apples", None),
            (Unit::Bits, "0", None),
            (Unit::Bits, "-4", None),
        ] {
            assert_eq!(scale(unit).read(text), expected, "{unit:?} {text:?}");
        }
    }

    #[test]
    fn bytes_survive_every_unit() {
        for unit in Unit::ALL {
            for bytes in [1, 999_999, 531_251, 123_456_789] {
                let scale = scale(unit);
                let found = scale.bytes(scale.value(bytes));
                assert_eq!(found, bytes, "{unit:?}");
            }
        }
    }

    #[test]
    fn marks_catch_what_is_near() {
        for (bytes, expected) in [(100, 100), (195, 200), (205, 200), (290, 300), (250, 250)] {
            let found = snapped(bytes, [200, 300].into_iter(), 10.0);
            assert_eq!(found, expected, "{bytes}");
        }
    }

    #[test]
    fn changes_are_short() {
        for (value, from, expected) in [
            (0.5, 1.0, "−50 %"),
            (1.02, 1.0, "+2.0 %"),
            (1.0, 1.0, "same"),
            (30.0, 1.0, "×30"),
            (1.0, 0.0, "–"),
        ] {
            assert_eq!(change_text(value, from), expected, "{value} from {from}");
        }
    }
}

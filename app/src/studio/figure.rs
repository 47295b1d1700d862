//! A number and how it is known: counted, estimated, measured, or measured for older settings.
//!
//! Knows no screen; faces draw the mark beside the number.

/// How a number is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mark {
    /// Counted, to the byte: what will be written.
    #[default]
    Exact,
    /// Computed by a stand-in or on a sample.
    Estimated,
    /// Computed from what was measured of the machine that it is about.
    Calibrated,
    /// Measured on what was written.
    Measured,
    /// Measured or estimated for settings that have changed since.
    Stale,
}

impl Mark {
    /// The one that says less.
    pub fn weaker(self, other: Self) -> Self {
        match self.rank() <= other.rank() {
            true => self,
            false => other,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Stale => 0,
            Self::Estimated => 1,
            Self::Calibrated => 2,
            Self::Measured => 3,
            Self::Exact => 4,
        }
    }

    /// The word beside a number.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
            Self::Calibrated => "calibrated",
            Self::Measured => "measured",
            Self::Stale => "stale",
        }
    }
}

/// A number and how it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The number.
    pub value: f64,
    /// How it is known.
    pub mark: Mark,
}

impl Figure {
    /// A counted number.
    pub fn exact(value: f64) -> Self {
        Self {
            value,
            mark: Mark::Exact,
        }
    }

    /// An estimated number.
    pub fn estimated(value: f64) -> Self {
        Self {
            value,
            mark: Mark::Estimated,
        }
    }

    /// A measured number.
    pub fn measured(value: f64) -> Self {
        Self {
            value,
            mark: Mark::Measured,
        }
    }

    /// The sum of all, known as well as the least known; `None` where any is unknown or there is none.
    pub fn sum(figures: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let add = |left: Self, right: Self| Self {
            value: left.value + right.value,
            mark: left.mark.weaker(right.mark),
        };
        let mut sum = None;
        for figure in figures {
            let figure = figure?;
            sum = Some(sum.map_or(figure, |sum| add(sum, figure)));
        }
        sum
    }

    /// The same number, no longer about what is chosen now.
    pub fn stale(self) -> Self {
        Self {
            mark: Mark::Stale,
            ..self
        }
    }
}

/// A count as people say it: `197 k`, `6.7 B`.
pub fn short_count(count: u64) -> String {
    let value = count as f64;
    match value {
        _ if value >= 1e9 => format!("{:.1} B", value / 1e9),
        _ if value >= 1e6 => format!("{:.1} M", value / 1e6),
        _ if value >= 1e3 => format!("{:.0} k", value / 1e3),
        _ => format!("{count}"),
    }
}

//! A number and how it is known: counted, estimated, measured, or measured for older settings.
//!
//! Knows no screen; faces draw the mark beside the number.

/// How a number is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Counted, to the byte: what will be written.
    Exact,
    /// Computed by a stand-in or on a sample.
    Estimated,
    /// Measured on what was written.
    Measured,
    /// Measured or estimated for settings that have changed since.
    Stale,
}

impl Mark {
    /// The word beside a number.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
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

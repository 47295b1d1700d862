//! Where zeros may lie, by what weights are scored, and how many values a pattern stores.
//!
//! Knows no weight and no mask.

use super::kept_count;
use std::fmt;
use std::str::FromStr;

/// Where zeros may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SparsityPattern {
    /// Anywhere.
    #[default]
    Unstructured,
    /// Of every `of` neighbours in a row `kept` stay; of a shorter tail at most so many.
    NOfM {
        /// N.
        kept: u8,
        /// M, above `kept`.
        of: u8,
    },
    /// `width` neighbours in a row stay or go together; the last of a row may be fewer.
    Block {
        /// Weights of a block.
        width: u8,
    },
}

/// Most weights of which an N:M pattern can speak.
pub const LARGEST_M: u8 = 32;

/// The width of blocks that kernels skip.
pub const BLOCK_WIDTH: u8 = 4;

impl SparsityPattern {
    /// The pattern of hardware and of our kernels.
    pub const TWO_OF_FOUR: Self = Self::NOfM { kept: 2, of: 4 };
    /// Blocks of four weights in a row.
    pub const BLOCK: Self = Self::Block { width: BLOCK_WIDTH };

    /// Weights that stay or go together.
    pub fn unit(self) -> usize {
        match self {
            Self::Block { width } => usize::from(width.max(1)),
            Self::Unstructured | Self::NOfM { .. } => 1,
        }
    }

    /// Share of zeros that the pattern itself fixes.
    pub fn sparsity(self) -> Option<f64> {
        match self {
            Self::NOfM { kept, of } => Some(1.0 - f64::from(kept) / f64::from(of)),
            Self::Unstructured | Self::Block { .. } => None,
        }
    }
}

impl fmt::Display for SparsityPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => formatter.write_str("unstructured"),
            Self::NOfM { kept, of } => write!(formatter, "{kept}:{of}"),
            Self::Block { width } => write!(formatter, "1x{width}"),
        }
    }
}

/// A word that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern; write unstructured, N:M with N below M and M at most 32 (2:4), or 1x4"
)]
pub struct NoPattern(String);

impl FromStr for SparsityPattern {
    type Err = NoPattern;

    fn from_str(word: &str) -> Result<Self, NoPattern> {
        let unknown = || NoPattern(word.to_owned());
        if word == "unstructured" {
            return Ok(Self::Unstructured);
        }
        if word == Self::BLOCK.to_string() {
            return Ok(Self::BLOCK);
        }
        let (kept, of) = word.split_once(':').ok_or_else(unknown)?;
        match (kept.parse(), of.parse()) {
            (Ok(kept), Ok(of)) if 0 < kept && kept < of && of <= LARGEST_M => {
                Ok(Self::NOfM { kept, of })
            }
            _ => Err(unknown()),
        }
    }
}

impl serde::Serialize for SparsityPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SparsityPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

/// Among which weights an unstructured or block pattern chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Those of a row.
    Row,
    /// Those of a layer.
    Layer,
    /// Those of so many columns, over all rows; the last span may be narrower.
    Span(usize),
    /// Those of so many columns, row by row; the last span may be narrower.
    RowSpan(usize),
}

impl SparsityPattern {
    /// Values that a `[rows, columns]` layer of this pattern stores; whole blocks are stored of tail blocks too. The same
    /// for all weights, so that sizes are known before anything is solved.
    pub fn stored_values(self, rows: usize, columns: usize, sparsity: f64, among: Among) -> usize {
        let unit = match self {
            Self::NOfM { kept, of } => {
                let (whole, tail) = (columns / usize::from(of), columns % usize::from(of));
                let kept = usize::from(kept);
                return rows.saturating_mul(whole * kept + tail.min(kept));
            }
            Self::Unstructured | Self::Block { .. } => self.unit(),
        };
        let units = columns.div_ceil(unit);
        let stored = match among {
            Among::Row => rows.saturating_mul(kept_count(units, sparsity)),
            Among::Layer => kept_count(rows.saturating_mul(units), sparsity),
            Among::Span(columns_of_span) => {
                let span = (columns_of_span / unit).max(1);
                let of_span = |units: usize| kept_count(rows.saturating_mul(units), sparsity);
                let whole = (units / span).saturating_mul(of_span(span));
                whole.saturating_add(of_span(units % span))
            }
            Among::RowSpan(columns_of_span) => {
                let span = (columns_of_span / unit).max(1);
                let whole = (units / span) * kept_count(span, sparsity);
                rows.saturating_mul(whole + kept_count(units % span, sparsity))
            }
        };
        stored.saturating_mul(unit)
    }
}

/// How weights are scored for pruning.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PruneMethod {
    /// Nothing is pruned.
    #[default]
    None,
    /// By magnitude.
    Magnitude,
    /// By magnitude times the norm of the input (Sun et al. 2023, arXiv 2306.11695).
    Wanda,
    /// By what a zero would cost while the other weights make up for it, which they then do (Frantar and Alistarh 2023,
    /// arXiv 2301.00774).
    SparseGpt,
}

impl PruneMethod {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::None, Self::Magnitude, Self::Wanda, Self::SparseGpt];

    /// The method's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Magnitude => "magnitude",
            Self::Wanda => "wanda",
            Self::SparseGpt => "sparsegpt",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_their_words() {
        for word in ["unstructured", "2:4", "4:8", "1:32", "1x4"] {
            let pattern: SparsityPattern = word.parse().expect("these are patterns");
            assert_eq!(pattern.to_string(), word);
        }
        for word in [
            "", "2", "4:4", "0:4", "5:4", "1:33", "1x0", "1x8", "2:4 ", "-1:4",
        ] {
            assert!(word.parse::<SparsityPattern>().is_err(), "{word:?}");
        }
        assert_eq!(SparsityPattern::TWO_OF_FOUR.sparsity(), Some(0.5));
    }

    #[test]
    fn stored_values_are_counted_before_anything_is_solved() {
        let stored = |word: &str, columns, among| {
            let pattern: SparsityPattern = word.parse().expect("these are patterns");
            pattern.stored_values(3, columns, 0.5, among)
        };
        assert_eq!(stored("2:4", 11, Among::Row), 3 * (2 + 2 + 2));
        assert_eq!(stored("unstructured", 11, Among::Row), 3 * 6);
        assert_eq!(stored("unstructured", 11, Among::Layer), 17);
        assert_eq!(stored("unstructured", 11, Among::Span(4)), 6 + 6 + 5);
        assert_eq!(stored("1x4", 11, Among::Row), 3 * 2 * 4);
        assert_eq!(stored("1x4", 11, Among::Layer), 5 * 4);
        assert_eq!(stored("1x4", 11, Among::Span(8)), (3 + 2) * 4);
        assert_eq!(
            stored("unstructured", 11, Among::RowSpan(4)),
            3 * (2 + 2 + 2)
        );
        assert_eq!(stored("1x4", 11, Among::RowSpan(8)), 3 * (1 + 1) * 4);
    }
}

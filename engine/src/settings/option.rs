//! The options among which allocation chooses, and their words.

use super::{LayerSettings, Rank};
use crate::solved::Method;
use std::fmt;
use std::str::FromStr;

/// One way to store a layer, as allocation chooses among them: `4/64` is 4 bits with a scale for 64 weights, `4/0` one
/// scale for each row, `dense` as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerOption {
    /// Codes of a grid.
    Grid {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Weights per scale; 0 = a row.
        group: usize,
    },
    /// Left as it is.
    Dense,
}

impl LayerOption {
    /// The options that are judged where nobody names others: 2, 3, 4, 5, 6 and 8 bits in groups of 32, 64 and 128, and
    /// dense, last.
    pub fn all() -> Vec<Self> {
        let bits = [2, 3, 4, 5, 6, 8].into_iter();
        let grids = bits.flat_map(|bits| [128, 64, 32].map(|group| Self::Grid { bits, group }));
        grids.chain([Self::Dense]).collect()
    }

    /// The option that `settings` are; `None` for NF4, whose levels are no grid.
    pub fn of(settings: &LayerSettings) -> Option<Self> {
        match settings.method {
            Method::None => Some(Self::Dense),
            Method::Nf4 | Method::Palette | Method::Float => None,
            _ if !settings.prune.is_none() || settings.rank != Rank::None => None,
            _ => Some(Self::Grid {
                bits: settings.bits,
                group: settings.group,
            }),
        }
    }

    /// `base` with this option in place of its own; of a `base` that leaves the layer as it is, `method` does the work.
    pub fn apply(self, base: &LayerSettings, method: Method) -> LayerSettings {
        match self {
            Self::Dense => LayerSettings {
                method: Method::None,
                ..*base
            },
            Self::Grid { bits, group } => LayerSettings {
                method: match base.method {
                    Method::None => method,
                    method => method,
                },
                bits,
                group,
                ..*base
            },
        }
    }

    /// Bits of a code; `None` of dense.
    pub fn bits(self) -> Option<u8> {
        match self {
            Self::Grid { bits, .. } => Some(bits),
            Self::Dense => None,
        }
    }
}

impl fmt::Display for LayerOption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grid { bits, group } => write!(formatter, "{bits}/{group}"),
            Self::Dense => formatter.write_str("dense"),
        }
    }
}

/// A word that is no option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no option; write bits (2 to 8) and group as 4/64, or dense")]
pub struct NoOption(String);

impl FromStr for LayerOption {
    type Err = NoOption;

    fn from_str(word: &str) -> Result<Self, NoOption> {
        if word == "dense" {
            return Ok(Self::Dense);
        }
        let parts = word.split_once('/');
        let parsed =
            parts.and_then(|(bits, group)| Some((bits.parse().ok()?, group.parse().ok()?)));
        match parsed {
            Some((bits @ 2..=8, group)) => Ok(Self::Grid { bits, group }),
            _ => Err(NoOption(word.to_owned())),
        }
    }
}

impl serde::Serialize for LayerOption {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for LayerOption {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_are_their_words() {
        for option in LayerOption::all() {
            assert_eq!(option.to_string().parse::<LayerOption>().unwrap(), option);
        }
        for word in ["", "4", "1/64", "9/64", "4/-1", "4/x", "Dense", "4/64/2"] {
            assert!(word.parse::<LayerOption>().is_err(), "{word:?}");
        }
    }
}

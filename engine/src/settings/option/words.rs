//! Options as words, and back: each option has one word.

use super::{KeptValues, LayerOption, Zeros};
use crate::mask::SparsityPattern;
use std::fmt;
use std::str::FromStr;

impl fmt::Display for LayerOption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grid { bits, group } => write!(formatter, "{bits}/{group}"),
            Self::Pruned { values, zeros } => write!(formatter, "{values}@{zeros}"),
            Self::LowRank { percent } => write!(formatter, "rank{percent}%"),
            Self::Dense => formatter.write_str("dense"),
        }
    }
}

impl fmt::Display for KeptValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grid { bits, group } => write!(formatter, "{bits}/{group}"),
            Self::Floats => formatter.write_str("float"),
        }
    }
}

impl fmt::Display for Zeros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern {
            SparsityPattern::NOfM { .. } => write!(formatter, "{}", self.pattern),
            SparsityPattern::Unstructured => write!(formatter, "{}%", self.percent),
            SparsityPattern::Block { .. } => {
                write!(formatter, "{}:{}%", self.pattern, self.percent)
            }
        }
    }
}

/// A word that is no option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no option; write bits (2 to 8) and group as 4/64, zeros behind them as 4/64@2:4 or float@50%, factors as rank25%, or dense"
)]
pub struct NoOption(String);

impl FromStr for LayerOption {
    type Err = NoOption;

    fn from_str(word: &str) -> Result<Self, NoOption> {
        let unknown = || NoOption(word.to_owned());
        if word == "dense" {
            return Ok(Self::Dense);
        }
        if let Some(percent) = word.strip_prefix("rank") {
            let percent = parse_percent(percent).ok_or_else(unknown)?;
            return Ok(Self::LowRank { percent });
        }
        match word.split_once('@') {
            Some((values, zeros)) => Ok(Self::Pruned {
                values: match values {
                    "float" => KeptValues::Floats,
                    grid => {
                        let (bits, group) = parse_grid(grid).ok_or_else(unknown)?;
                        KeptValues::Grid { bits, group }
                    }
                },
                zeros: zeros.parse().map_err(|_| unknown())?,
            }),
            None => {
                let (bits, group) = parse_grid(word).ok_or_else(unknown)?;
                Ok(Self::Grid { bits, group })
            }
        }
    }
}

impl FromStr for Zeros {
    type Err = NoOption;

    /// `2:4`, `50%` or `1x4:50%`.
    fn from_str(word: &str) -> Result<Self, NoOption> {
        let unknown = || NoOption(word.to_owned());
        let (pattern, percent) = match word.rsplit_once(':') {
            _ if !word.ends_with('%') => (word.parse().map_err(|_| unknown())?, 0),
            None => {
                let percent = parse_percent(word).ok_or_else(unknown)?;
                (SparsityPattern::Unstructured, percent)
            }
            Some((pattern, percent)) => {
                let percent = parse_percent(percent).ok_or_else(unknown)?;
                (pattern.parse().map_err(|_| unknown())?, percent)
            }
        };
        let zeros = Self { pattern, percent };
        // The word that is read is the word that is written: no percent of a pattern that fixes it, and none missing.
        let is_whole = (pattern.sparsity().is_some()) == (percent == 0);
        (is_whole && zeros.to_string() == word)
            .then_some(zeros)
            .ok_or_else(unknown)
    }
}

fn parse_grid(word: &str) -> Option<(u8, usize)> {
    let (bits, group) = word.split_once('/')?;
    let bits = bits.parse().ok().filter(|bits| (2..=8).contains(bits))?;
    Some((bits, group.parse().ok()?))
}

fn parse_percent(word: &str) -> Option<u8> {
    let percent = word.strip_suffix('%')?.parse().ok()?;
    (1..=99).contains(&percent).then_some(percent)
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

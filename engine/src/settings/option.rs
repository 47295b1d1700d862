//! The options among which allocation chooses, and their words.

use super::{LayerSettings, PruneMethod, PruneScope, Pruning, Rank};
use crate::mask::SparsityPattern;
use crate::solved::Method;
use std::fmt;
use std::str::FromStr;

/// One way to store a layer, as allocation chooses among them.
///
/// - `4/64`: 4 bits with a scale for 64 weights; `4/0` one scale for each row.
/// - `4/64@2:4`, `4/64@50%`, `4/64@1x4:50%`: the same of the weights that stay; `float@2:4` with floats that stay.
/// - `rank25%`: factors in place of the weights.
/// - `dense`: as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerOption {
    /// Codes of a grid.
    Grid {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Weights per scale; 0 = a row.
        group: usize,
    },
    /// Some weights are zero.
    Pruned {
        /// What the others become.
        values: KeptValues,
        /// Which and how many.
        zeros: Zeros,
    },
    /// Factors in place of the weights.
    LowRank {
        /// Of the bytes that dense weights would take, 1 to 99.
        percent: u8,
    },
    /// Left as it is.
    Dense,
}

/// What weights become that stay when others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeptValues {
    /// Codes of a grid.
    Grid {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Weights per scale; 0 = a row.
        group: usize,
    },
    /// Floats, as they are stored.
    Floats,
}

/// Which weights are zero, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zeros {
    /// Where they may lie.
    pub pattern: SparsityPattern,
    /// Percent of the weights, 1 to 99; 0 of an N:M pattern, which fixes it.
    pub percent: u8,
}

impl LayerOption {
    /// The options that are judged where nobody names others: 2, 3, 4, 5, 6 and 8 bits in groups of 32, 64 and 128, and
    /// dense, last.
    pub fn all() -> Vec<Self> {
        let bits = [2, 3, 4, 5, 6, 8].into_iter();
        let grids = bits.flat_map(|bits| [128, 64, 32].map(|group| Self::Grid { bits, group }));
        grids.chain([Self::Dense]).collect()
    }

    /// The option that `settings` are; `None` where no option says all of it: NF4, palettes, codes with factors.
    pub fn of(settings: &LayerSettings) -> Option<Self> {
        let values = match settings.method {
            Method::None => return Some(Self::Dense),
            Method::Nf4 | Method::Palette => return None,
            Method::Float => KeptValues::Floats,
            _ => KeptValues::Grid {
                bits: settings.bits,
                group: settings.group,
            },
        };
        match (values, settings.prune.is_none(), settings.rank) {
            (KeptValues::Grid { bits, group }, true, Rank::None) => {
                Some(Self::Grid { bits, group })
            }
            (KeptValues::Floats, true, Rank::Share(share)) => Some(Self::LowRank {
                percent: percent_of(share)?,
            }),
            (values, false, Rank::None) => Some(Self::Pruned {
                values,
                zeros: Zeros::of(&settings.prune)?,
            }),
            _ => None,
        }
    }

    /// `base` with this option in place of its own; of a `base` whose own method makes no codes of a grid, `method` does
    /// the work. Weights are pruned as `base` prunes them; where it does not, together with GPTQ by SparseGPT, else by Wanda.
    pub fn apply(self, base: &LayerSettings, method: Method) -> LayerSettings {
        let method = match base.method {
            Method::None | Method::Float | Method::Palette => method,
            method => method,
        };
        let (values, prune, rank) = match self {
            Self::Dense => {
                return LayerSettings {
                    method: Method::None,
                    ..*base
                };
            }
            Self::Grid { bits, group } => {
                let values = KeptValues::Grid { bits, group };
                (values, Pruning::NONE, Rank::None)
            }
            Self::Pruned { values, zeros } => (values, zeros.on(base, method), Rank::None),
            Self::LowRank { percent } => {
                let share = Rank::Share(share_of(percent));
                (KeptValues::Floats, Pruning::NONE, share)
            }
        };
        let (method, bits, group) = match values {
            KeptValues::Floats => (Method::Float, base.bits, base.group),
            KeptValues::Grid { bits, group } => (method, bits, group),
        };
        LayerSettings {
            method,
            bits,
            group,
            prune,
            rank,
            ..*base
        }
    }

    /// Bits of a code; `None` where floats are stored.
    pub fn bits(self) -> Option<u8> {
        match self {
            Self::Grid { bits, .. }
            | Self::Pruned {
                values: KeptValues::Grid { bits, .. },
                ..
            } => Some(bits),
            Self::Pruned { .. } | Self::LowRank { .. } | Self::Dense => None,
        }
    }

    /// Weights per scale; `None` where there are no scales.
    pub fn group(self) -> Option<usize> {
        match self {
            Self::Grid { group, .. }
            | Self::Pruned {
                values: KeptValues::Grid { group, .. },
                ..
            } => Some(group),
            Self::Pruned { .. } | Self::LowRank { .. } | Self::Dense => None,
        }
    }
}

impl Zeros {
    /// What `pruning` makes; `None` where it is no whole percent.
    fn of(pruning: &Pruning) -> Option<Self> {
        let percent = match pruning.pattern.sparsity() {
            Some(_) => 0,
            None => percent_of(pruning.sparsity)?,
        };
        Some(Self {
            pattern: pruning.pattern,
            percent,
        })
    }

    /// The pruning that makes them of a layer with these settings, which `method` solves.
    fn on(self, base: &LayerSettings, method: Method) -> Pruning {
        let fixed = self.pattern.sparsity();
        Pruning {
            method: match (base.prune.method, method) {
                (PruneMethod::None, Method::Gptq) => PruneMethod::SparseGpt,
                (PruneMethod::None, _) => PruneMethod::Wanda,
                (asked, _) => asked,
            },
            pattern: self.pattern,
            sparsity: fixed.unwrap_or_else(|| share_of(self.percent)),
            scope: match base.prune.scope {
                // Other layers may have other options.
                PruneScope::Model => PruneScope::Layer,
                scope => scope,
            },
        }
    }
}

fn share_of(percent: u8) -> f64 {
    f64::from(percent) / 100.0
}

/// The whole percent, 1 to 99, that `share` is.
fn percent_of(share: f64) -> Option<u8> {
    (1..=99).find(|&percent| share_of(percent) == share)
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::moments::Prefix;
    use crate::settings::{Activations, ColumnOrder, Refine};

    const BASE: LayerSettings = LayerSettings {
        method: Method::Gptq,
        bits: 4,
        group: 128,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
        clip_search: 20,
        order: ColumnOrder::Static,
        damping: 0.01,
        refine: Refine::Auto,
        prefix: Prefix::Compressed,
        double_quant: false,
        activations: Activations::None,
        activation_block: 0,
        smooth: 0.0,
        prune: Pruning::NONE,
        rank: Rank::None,
        palette_rows: 0,
    };

    fn options() -> Vec<LayerOption> {
        let words = [
            "4/64@2:4",
            "3/0@50%",
            "8/128@1x4:25%",
            "float@4:8",
            "float@99%",
            "rank25%",
            "rank1%",
        ];
        let more = words.map(|word| word.parse().unwrap());
        LayerOption::all().into_iter().chain(more).collect()
    }

    #[test]
    fn options_are_their_words() {
        for option in options() {
            assert_eq!(option.to_string().parse::<LayerOption>().unwrap(), option);
        }
        for word in [
            "",
            "4",
            "1/64",
            "9/64",
            "4/-1",
            "4/x",
            "Dense",
            "4/64/2",
            "4/64@",
            "@2:4",
            "4@2:4",
            "float",
            "float@",
            "float@2:2",
            "float@0%",
            "float@100%",
            "float@050%",
            "float@1x4",
            "float@2:4:50%",
            "float@unstructured",
            "float@50",
            "rank",
            "rank25",
            "rank0%",
            "rank100%",
            "dense@2:4",
        ] {
            assert!(word.parse::<LayerOption>().is_err(), "{word:?}");
        }
    }

    #[test]
    fn settings_with_an_option_are_that_option() {
        let wanda = LayerSettings {
            prune: Pruning {
                method: PruneMethod::Wanda,
                sparsity: 0.3,
                scope: PruneScope::Model,
                ..Pruning::NONE
            },
            rank: Rank::Fixed(7),
            ..BASE
        };
        let bases = [Method::Gptq, Method::Rtn, Method::None, Method::Float].map(|method| {
            let of = |base| LayerSettings { method, ..base };
            [of(BASE), of(wanda)]
        });
        for base in bases.iter().flatten() {
            for option in options() {
                let applied = option.apply(base, Method::Gptq);
                assert_eq!(LayerOption::of(&applied), Some(option), "{base:?}");
                assert_eq!(applied.settled(), applied, "{option} of {base:?}");
            }
        }
        assert_eq!(LayerOption::of(&wanda), None, "codes with factors");
    }

    #[test]
    fn zeros_are_chosen_as_the_layer_is_solved() {
        let option: LayerOption = "float@50%".parse().unwrap();
        let method = |base: LayerSettings| option.apply(&base, Method::Gptq).prune.method;
        let rtn = LayerSettings {
            method: Method::Rtn,
            ..BASE
        };
        let mut asked = BASE;
        asked.prune.method = PruneMethod::Magnitude;
        assert_eq!(method(BASE), PruneMethod::SparseGpt);
        assert_eq!(method(rtn), PruneMethod::Wanda);
        assert_eq!(method(asked), PruneMethod::Magnitude);
    }
}

//! The options among which allocation chooses, and their words.

mod words;

pub use words::NoOption;

use super::{LayerSettings, PruneMethod, PruneScope, Pruning, Rank};
use crate::mask::SparsityPattern;
use crate::solved::Method;

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
    /// What `pruning` makes; `None` where it makes none, or no whole percent.
    pub fn of(pruning: &Pruning) -> Option<Self> {
        let percent = match pruning.pattern.sparsity() {
            _ if pruning.is_none() => return None,
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

#[cfg(test)]
mod tests;

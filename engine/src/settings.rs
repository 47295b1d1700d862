//! How one layer is to be solved: the settings that recipes decide, solvers obey and reports repeat.
//!
//! Knows no recipe text and no rules; no field has a hidden default.

use crate::grid::{GridConfig, ScaleDtype};
use crate::mask::{Among, SparsityPattern};
use crate::moments::Prefix;
use crate::solved::Method;
use std::fmt;
use std::str::FromStr;

/// Everything that decides how one layer is solved.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerSettings {
    /// Method.
    pub method: Method,
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// Weights per scale along the input; 0 = a whole row (of NF4, 64).
    pub group: usize,
    /// Zero fixed in the middle.
    pub symmetric: bool,
    /// How scales are stored.
    pub scale_dtype: ScaleDtype,
    /// Steps of the clip search; 0 = min-max.
    pub clip_search: u32,
    /// Column order of GPTQ.
    pub order: ColumnOrder,
    /// Share of the mean diagonal added to the Gram matrix.
    pub damping: f64,
    /// Whether GPTQ's result is refined.
    pub refine: Refine,
    /// Which inputs calibrate; read from `[default]` only.
    pub prefix: Prefix,
    /// NF4: quantize the block scales too.
    pub double_quant: bool,
    /// How the layer's inputs are rounded when it runs.
    #[serde(default)]
    pub activations: Activations,
    /// Inputs that share a scale under `Activations::Dynamic8`; 0 = those of a whole token, else one of
    /// `ACTIVATION_BLOCKS`.
    #[serde(default)]
    pub activation_block: usize,
    /// SmoothQuant's exponent, 0 to 1: how much of the inputs' range moves into the weights; 0 = none.
    #[serde(default)]
    pub smooth: f64,
    /// Which weights become zero.
    #[serde(default)]
    pub prune: Pruning,
    /// Factors: in place of the weights where `method` is `Method::Float` and nothing is pruned, else added to what codes
    /// and zeros lose.
    #[serde(default)]
    pub rank: Rank,
    /// Rows that share a palette under `Method::Palette`; 0 = all of a layer.
    #[serde(default)]
    pub palette_rows: usize,
}

/// Which weights become zero, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Pruning {
    /// How weights are scored and what happens to those that stay.
    pub method: PruneMethod,
    /// Where zeros may lie.
    pub pattern: SparsityPattern,
    /// Share of weights that become zero, 0 to 1; of an N:M pattern always 1 - N/M.
    pub sparsity: f64,
    /// Among which weights an unstructured or block pattern chooses.
    pub scope: PruneScope,
}

impl Pruning {
    /// No weight.
    pub const NONE: Self = Self {
        method: PruneMethod::None,
        pattern: SparsityPattern::Unstructured,
        sparsity: 0.0,
        scope: PruneScope::Row,
    };

    /// Whether nothing is pruned.
    pub fn is_none(&self) -> bool {
        self.method == PruneMethod::None
    }

    /// Among which weights an unstructured or block pattern chooses its zeros: SparseGPT's sweep sees the weights of a
    /// span of columns at a time, whatever the scope. For planning and solving alike, so that sizes are known before.
    pub fn among(&self) -> Among {
        match (self.method, self.scope) {
            (PruneMethod::SparseGpt, _) => Among::Span(SPARSEGPT_SPAN),
            (_, PruneScope::Row) => Among::Row,
            (_, PruneScope::Layer | PruneScope::Model) => Among::Layer,
        }
    }
}

/// Columns, in the order in which they are visited, over which SparseGPT chooses zeros at a time.
pub const SPARSEGPT_SPAN: usize = 128;

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

/// Among which weights an unstructured or block pattern chooses its zeros.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PruneScope {
    /// Each row has its share.
    #[default]
    Row,
    /// Each layer has its share.
    Layer,
    /// All layers with the same settings share one threshold; settled into layers of their own sparsity before a run.
    Model,
}

impl PruneScope {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Row, Self::Layer, Self::Model];

    /// The scope's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Layer => "layer",
            Self::Model => "model",
        }
    }
}

/// How thin factors are.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// There are none.
    #[default]
    None,
    /// So many columns of the one and rows of the other.
    Fixed(usize),
    /// As many as take this share of the bytes that the dense layer would take in the factors' dtype.
    Share(f64),
    /// As many as hold this share of the squared singular values of the weights; settled before a run.
    Energy(f64),
}

impl Rank {
    /// The rank for a layer of this shape; at least 1, at most the smaller dimension. `None` where there are no factors
    /// or weights must tell.
    pub fn of_shape(self, rows: usize, columns: usize) -> Option<usize> {
        let most = rows.min(columns).max(1);
        match self {
            Self::None | Self::Energy(_) => None,
            Self::Fixed(rank) => Some(rank.clamp(1, most)),
            Self::Share(share) => {
                let dense = rows as f64 * columns as f64;
                let of_one = (rows + columns).max(1) as f64;
                Some(((share * dense / of_one) as usize).clamp(1, most))
            }
        }
    }
}

/// What `LayerSettings::activation_block` can be.
pub const ACTIVATION_BLOCKS: [usize; 3] = [0, 32, 128];

impl LayerSettings {
    /// The grid that these settings ask for.
    pub fn grid(&self) -> GridConfig {
        GridConfig {
            bits: self.bits,
            group: self.group,
            symmetric: self.symmetric,
            scale_dtype: self.scale_dtype,
        }
    }

    /// The same with nothing said of inputs: all that decides a layer's codes where no block is folded.
    pub fn of_weights(self) -> Self {
        Self {
            activations: Activations::None,
            activation_block: 0,
            smooth: 0.0,
            ..self
        }
    }

    /// The same with `Method::None` where floats would be neither pruned nor factored, and the sparsity that an N:M
    /// pattern fixes.
    pub fn settled(self) -> Self {
        let mut settings = self;
        if let Some(sparsity) = self.prune.pattern.sparsity() {
            settings.prune.sparsity = sparsity;
        }
        if self.prune.is_none() {
            settings.prune = Pruning::NONE;
        }
        if self.method == Method::Float && self.prune.is_none() && self.rank == Rank::None {
            settings.method = Method::None;
        }
        settings
    }

    /// Weights per block of NF4, which has no scale of a whole row: where that is asked, the block of bitsandbytes.
    pub fn nf4_block(&self) -> usize {
        const DEFAULT_BLOCK: usize = 64;
        match self.group {
            0 => DEFAULT_BLOCK,
            group => group,
        }
    }
}

/// How a layer's inputs are rounded when it runs. What is rounded is weights' business; inputs are never stored.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// Not at all: they stay floats.
    #[default]
    None,
    /// To 8 bits, with scales taken from each token as it comes.
    Dynamic8,
    /// To 8 bits, with one scale that calibration fixed.
    Static8,
}

impl Activations {
    /// All choices, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::None, Self::Dynamic8, Self::Static8];

    /// The choice's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Dynamic8 => "dynamic8",
            Self::Static8 => "static8",
        }
    }
}

/// How keys and values of earlier tokens are kept while a decoder writes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum KvCache {
    /// As they are computed.
    #[default]
    F32,
    /// Rounded to half precision.
    F16,
    /// Rounded to 8 bits, with a scale for each head of each token.
    Int8,
}

impl KvCache {
    /// All kinds, the most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// As recipes, command lines and reports spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

/// Column order of GPTQ. Groups stay contiguous in the original order in all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnOrder {
    /// As stored.
    None,
    /// By falling diagonal of the Gram matrix; group scales come from the original weights.
    Static,
    /// Group-aware: columns sorted inside groups, groups sorted among themselves.
    Gar,
}

/// When GPTQ's result is refined (pre-corrected target, scale refit, coordinate descent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refine {
    /// At 3 bits and fewer.
    Auto,
    /// Never.
    Off,
    /// Always.
    On,
}

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

//! How one layer is to be solved: the settings that recipes decide, solvers obey and reports repeat.
//!
//! Knows no recipe text and no rules; no field has a hidden default.

mod option;
mod pruning;

pub use option::{KeptValues, LayerOption, NoOption, Zeros};
pub use pruning::{PruneMethod, PruneScope, Pruning, Rank, SPARSEGPT_SPAN};

use crate::grid::{GridConfig, ScaleDtype};
use crate::moments::Prefix;
use crate::solved::Method;

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
    /// How scales, levels of palettes and factors are stored.
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
        if self.prune.is_none() || settings.prune.sparsity == 0.0 {
            settings.prune = Pruning::NONE;
        }
        let is_dense = settings.prune.is_none() && self.rank == Rank::None;
        if self.method == Method::Float && is_dense {
            settings.method = Method::None;
        }
        settings
    }

    /// Whether only the weights can tell what is asked: a threshold that layers share, or a rank by energy. Sizes are known
    /// once they were looked at.
    pub fn waits_for_weights(&self) -> bool {
        let open = self.prune.shares_threshold() || matches!(self.rank, Rank::Energy(_));
        open && self.method != Method::None
    }

    /// What stands in for settings that wait for the weights, as far as a size can be told before.
    pub fn without_waiting(self) -> Self {
        let mut settings = self;
        if self.prune.shares_threshold() {
            settings.prune.scope = PruneScope::Layer;
        }
        if matches!(self.rank, Rank::Energy(_)) {
            settings.rank = Rank::Fixed(1);
        }
        settings
    }

    /// Whether GPTQ's codes are refined afterwards. The sweep that chooses zeros is not refined.
    pub fn is_refined(&self) -> bool {
        /// Most bits at which `Refine::Auto` refines.
        const MOST_BITS: u8 = 3;
        let asked = match self.refine {
            Refine::Auto => self.bits <= MOST_BITS,
            Refine::Off => false,
            Refine::On => true,
        };
        asked && self.method == Method::Gptq && self.prune.is_none()
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

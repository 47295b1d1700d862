//! How one layer is to be solved: the settings that recipes decide, solvers obey and reports repeat.
//!
//! Knows no recipe text and no rules; no field has a hidden default.

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
}

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

    /// Weights per block of NF4, which has no scale of a whole row: where that is asked, the block of bitsandbytes.
    pub fn nf4_block(&self) -> usize {
        const DEFAULT_BLOCK: usize = 64;
        match self.group {
            0 => DEFAULT_BLOCK,
            group => group,
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

//! What calibration leaves of a layer's input: Gram matrix, mean square, mean magnitude, largest magnitude, count.
//!
//! Two kinds exist and are never mixed up (`Prefix`): *original-prefix* moments come from the uncompressed model and are
//! cached; *compressed-prefix* moments come from the already compressed blocks and live inside one run.
//! Knows no solver, corpus or file.

mod accumulate;

pub use accumulate::{Accumulator, CHUNK_TOKENS};

use crate::tensor::{Matrix, Symmetric};

/// Which network the inputs came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefix {
    /// Inputs as the already compressed blocks make them.
    Compressed,
    /// Inputs as the uncompressed model makes them.
    Original,
}

/// Statistics of one layer input over `count` tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Tokens seen.
    pub count: u64,
    /// Mean of `x xᵀ` over tokens, `[width, width]`.
    pub gram: Symmetric,
    /// Mean of `x_j^2`, `[width]`.
    pub mean_square: Vec<f32>,
    /// Mean of `|x_j|`, `[width]`.
    pub mean_abs: Vec<f32>,
    /// Largest `|x_j|`, `[width]`.
    pub abs_max: Vec<f32>,
}

impl Moments {
    /// Number of input features.
    pub fn width(&self) -> usize {
        self.gram.order()
    }

    /// Inputs that were never non-zero.
    pub fn dead_inputs(&self) -> usize {
        self.abs_max
            .iter()
            .filter(|&&largest| largest == 0.0)
            .count()
    }
}

/// Names the input that some layers of a block share.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct StageKey {
    /// Block index.
    pub block: usize,
    /// Stage index within the block.
    pub stage: usize,
}

/// All that a solver may know of a layer's inputs.
#[derive(Debug, Clone)]
pub struct LayerStatistics {
    /// Moments of the inputs that the layer will see.
    pub moments: Moments,
    /// Mean of `x_original x_seenᵀ` `[width, width]`, where the inputs seen differ from the original ones.
    pub cross: Option<Matrix>,
    /// The same over calibration rows that were kept out of the two above.
    pub held_out: Option<HeldOut>,
}

/// Statistics of held-out rows: they judge a refinement, they never shape codes.
#[derive(Debug, Clone)]
pub struct HeldOut {
    /// Tokens.
    pub count: u64,
    /// Mean of `x xᵀ`.
    pub gram: Symmetric,
    /// Mean of `x_original x_seenᵀ`.
    pub cross: Option<Matrix>,
    /// Largest magnitude of each input.
    pub abs_max: Vec<f32>,
}

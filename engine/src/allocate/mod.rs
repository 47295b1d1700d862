//! From a sensitivity table to bits for each layer: predicted loss of any recipe, the size-quality front, the best choice
//! within a budget.
//!
//! Pure and fast enough for a slider. Knows no file and measures nothing.

use crate::settings::LayerOption;
use serde::{Deserialize, Serialize};

/// What an allocation must keep to, as a person says it. Patterns are globs or `/regex/` on layer names, as in recipes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Layers that stay as the recipe has them.
    pub locks: Vec<String>,
    /// The only options of layers that a pattern hits; the last pattern that hits decides.
    pub allowed: Vec<(String, Vec<LayerOption>)>,
    /// Layers that runtimes fuse (q/k/v, gate/up) get one option.
    pub fused: bool,
    /// Fewest bits of embeddings and head.
    pub minimum_end_bits: Option<u8>,
}

/// One recipe on the front.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrontPoint {
    /// Bytes.
    pub bytes: u64,
    /// Loss predicted.
    pub predicted_loss: f64,
}

//! From a sensitivity table to bits for each layer: predicted loss of any recipe, the size-quality front, the best choice
//! within a budget.
//!
//! Pure and fast enough for a slider. Knows no file and measures nothing.

mod curve;
mod items;
mod planner;
mod predict;
mod price;
mod rules;
#[cfg(test)]
mod tests;

pub use planner::Planner;
pub use predict::Predictor;
pub use price::Price;

use crate::budget::BudgetError;
use crate::settings::{LayerOption, LayerSettings};
use crate::units::Bytes;
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

/// Bits for each layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// For each layer of the model, the option that its settings are; `None` of NF4 and of what cannot be compressed.
    pub options: Vec<Option<LayerOption>>,
    /// For each layer of the model, its settings.
    pub settings: Vec<LayerSettings>,
    /// Bytes of all compressible layers.
    pub bytes: u64,
    /// Loss predicted of the whole model.
    pub predicted_loss: f64,
}

/// Why bits cannot be chosen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AllocateError {
    /// Nothing is left to choose.
    #[error(
        "there is nothing to choose: each layer is locked, left out or not measured; unlock a layer, or measure its sensitivity first"
    )]
    NoFreeLayer,
    /// Even the smallest allowed options do not fit.
    #[error(
        "{} ({asked_bytes} bytes) are too little: the smallest allowed recipe stores {} ({smallest_bytes} bytes); raise the budget, or allow fewer bits",
        Bytes(*.asked_bytes),
        Bytes(*.smallest_bytes)
    )]
    TooSmall {
        /// What all compressible layers may take.
        asked_bytes: u64,
        /// What they take at least.
        smallest_bytes: u64,
    },
    /// A rule that cannot be read.
    #[error("the pattern {pattern:?} {problem}; write a glob on layer names, or /regex/")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Rules and container leave a layer nothing.
    #[error(
        "no measured option is left to {layer} by the rules and the format; allow it one that was measured, or lock it"
    )]
    NoOption {
        /// The layer, or the first of those that must agree.
        layer: String,
    },
    /// Sums that no number holds.
    #[error("options cannot be compared: {0}; measure sensitivity again")]
    Sums(BudgetError),
}

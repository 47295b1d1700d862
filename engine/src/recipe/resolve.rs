//! Rules to settings: which rule decides each layer.

use crate::settings::LayerSettings;

/// What holds for one layer, and which rule decided it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The settings in force.
    pub settings: LayerSettings,
    /// The deciding rule in words: `[default]`, `[embeddings]`, or `[[layer]] match = "…"`.
    pub rule: String,
}

/// Decisions for every layer, in the order asked, and warnings about rules that hit nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// One for each layer.
    pub decisions: Vec<Decision>,
    /// For people.
    pub warnings: Vec<String>,
}

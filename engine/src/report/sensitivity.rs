//! What shrinking each layer costs: errors at every option, loss measured with one layer changed, and how the two agree.
//!
//! Plain results. How they are gathered is the business of `sensitivity`; what bits follow from them, of `allocate`.

use crate::settings::LayerOption;
use crate::solved::Method;
use serde::{Deserialize, Serialize};

/// What a loss of the whole model is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// KL(original || changed) per scored token, nats: decoders.
    Kl,
    /// `1 - cosine` of a sentence's embedding with the original's: encoders.
    CosineDistance,
}

impl Measure {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kl => "KL",
            Self::CosineDistance => "1 − cosine",
        }
    }
}

/// Everything known about how much each layer hurts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensitivityTable {
    /// What losses are measured in.
    pub measure: Measure,
    /// Method that recipes made from this table will use; errors are its own or, until they are there, plain rounding's.
    pub method: Method,
    /// The options judged, dense last.
    pub options: Vec<LayerOption>,
    /// One entry for each layer judged, in the model's order.
    pub layers: Vec<LayerSensitivity>,
    /// Whole models measured, each with every judged layer at one option.
    pub anchors: Vec<Anchor>,
    /// Tokens, or of encoders sentences, on which losses were measured.
    pub scored: u64,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSensitivity {
    /// Index into the model's list of layers.
    pub layer: usize,
    /// Its name.
    pub name: String,
    /// Its weights.
    pub weights: u64,
    /// One entry for each option of the table, in its order; `None` where nobody has judged it yet.
    pub errors: Vec<Option<OptionError>>,
    /// Loss of the whole model with this layer alone changed, measured at some options.
    pub probes: Vec<Probe>,
}

/// One layer at one option.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptionError {
    /// `tr((W-Q) H (W-Q)ᵀ)` with `H` the mean Gram matrix of the original inputs; 0 of dense.
    pub output_error: f64,
    /// Its root over that of `tr(W H Wᵀ)`; `None` where there is no signal.
    pub relative_output_error: Option<f64>,
    /// Loss that one gradient pass predicts: `½ Σ_i g_i E_i`, `E_i` the error of output `i` and `g_i` the mean square of
    /// the loss's gradient there, summed over the tokens of what is scored. `None` without a gradient pass.
    pub gradient_loss: Option<f64>,
    /// Method that gave the codes.
    pub method: Method,
    /// Stored bytes, scales, zeros and padding included.
    pub bytes: u64,
}

/// The loss with one layer alone changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What the layer was changed to.
    pub option: LayerOption,
    /// The loss measured.
    pub loss: f64,
}

/// The loss with all judged layers changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    /// What all layers were changed to.
    pub option: LayerOption,
    /// The loss measured.
    pub loss: f64,
}

impl SensitivityTable {
    /// The entry of one layer.
    pub fn of_layer(&self, layer: usize) -> Option<&LayerSensitivity> {
        let place = self
            .layers
            .binary_search_by_key(&layer, |entry| entry.layer);
        place.ok().map(|place| &self.layers[place])
    }

    /// Cells that nobody has judged yet.
    pub fn missing(&self) -> usize {
        let cells = self.layers.iter().flat_map(|layer| &layer.errors);
        cells.filter(|error| error.is_none()).count()
    }
}

//! What an option of a layer costs: bytes of the container, or whatever else a budget is said in.
//!
//! The mathematics of budgets counts units and knows none.

use crate::formats::Format;
use crate::formats::layout::stored_bytes;
use crate::model::LayerInfo;
use crate::settings::LayerSettings;
use std::fmt;
use std::sync::Arc;

/// A layer (an index into the model's list) and its settings to their cost.
type Cost = dyn Fn(usize, &LayerSettings) -> u64 + Send + Sync;

/// The cost of layers under settings.
#[derive(Clone)]
pub struct Price(Arc<Cost>);

impl Price {
    /// Any cost that adds up over layers.
    pub fn new(cost: impl Fn(usize, &LayerSettings) -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(cost))
    }

    /// Bytes that `format` stores of `layers`.
    pub fn bytes(format: Format, layers: &[LayerInfo]) -> Self {
        let layers = layers.to_vec();
        Self::new(move |layer, settings| stored_bytes(format, &layers[layer], settings))
    }

    pub(super) fn of(&self, layer: usize, settings: &LayerSettings) -> u64 {
        (self.0)(layer, settings)
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Price")
    }
}

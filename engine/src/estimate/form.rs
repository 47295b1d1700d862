//! What weights of each form are multiplied as.

use crate::device::{Product, Weights};
use crate::packed::Form;
use crate::settings::Activations;

impl Form {
    /// The product that it runs as.
    pub fn product(self) -> Product {
        let (weights, integer) = match self {
            Self::Dense | Self::Nothing => (Weights::Float, false),
            Self::Codes {
                bits, activations, ..
            }
            | Self::Kept {
                bits, activations, ..
            } => (Weights::Codes(bits), activations != Activations::None),
            Self::Levels { .. } => (Weights::Levels, false),
        };
        Product { weights, integer }
    }
}

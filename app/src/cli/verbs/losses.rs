//! Losses of the whole model, for the verbs that predict and measure them: their keys, and how people read them.
//!
//! Knows no table and no recipe.

use crate::cli::verbs::reasons;
use pare_engine::report::Measure;
use serde_json::{Map, Value};

/// How a loss is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// From errors and gains.
    Predicted,
    /// By running the model.
    Measured,
}

impl Known {
    fn key(self, measure: Measure) -> &'static str {
        match (self, measure) {
            (Self::Predicted, Measure::Kl) => "predicted_kl",
            (Self::Measured, Measure::Kl) => "measured_kl",
            (Self::Predicted, Measure::CosineDistance) => "predicted_cosine_distance",
            (Self::Measured, Measure::CosineDistance) => "measured_cosine_distance",
        }
    }

    /// Why it may be missing.
    fn reason(self) -> &'static str {
        match self {
            Self::Predicted => {
                "no prediction: an option was not judged, or nothing ties its error to a loss"
            }
            Self::Measured => "not measured; --verify does",
        }
    }
}

/// Puts `loss` into `object` under the key of its measure. KL keys are always there: null of an encoder.
pub(super) fn put(
    object: &mut Map<String, Value>,
    known: Known,
    measure: Measure,
    loss: Option<f64>,
) {
    let key = known.key(measure);
    object.insert(key.to_owned(), loss.into());
    reasons::explain(object, &[(key, known.reason())]);
    if measure != Measure::Kl {
        let key = known.key(Measure::Kl);
        object.insert(key.to_owned(), Value::Null);
        reasons::explain(
            object,
            &[(
                key,
                "an encoder has no next token; its loss is a cosine distance",
            )],
        );
    }
}

/// A loss in a column: as many digits as tell it from its neighbours.
pub(super) fn compact(loss: Option<f64>) -> String {
    match loss {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(loss) if loss.abs() < 1e-3 => format!("{loss:.1e}"),
        Some(loss) if loss.abs() < 10.0 => format!("{loss:.4}"),
        Some(loss) => format!("{loss:.1}"),
    }
}

/// The measure and its unit, in words.
pub(super) fn named(measure: Measure) -> &'static str {
    match measure {
        Measure::Kl => "KL in nats per token",
        Measure::CosineDistance => "1 - cosine of sentence embeddings",
    }
}

/// What scored things are called.
pub(super) fn scored(measure: Measure) -> &'static str {
    match measure {
        Measure::Kl => "tokens",
        Measure::CosineDistance => "sentences",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_loss_stands_under_the_key_of_its_measure() {
        let put = |measure, loss| {
            let mut object = Map::new();
            super::put(&mut object, Known::Predicted, measure, loss);
            Value::Object(object)
        };
        assert_eq!(put(Measure::Kl, Some(0.5)), json!({"predicted_kl": 0.5}));
        let encoder = put(Measure::CosineDistance, Some(0.5));
        assert_eq!(encoder["predicted_cosine_distance"], 0.5);
        assert!(encoder["predicted_kl"].is_null());
        assert!(encoder["reason"].is_string(), "{encoder}");
        let none = put(Measure::CosineDistance, None);
        let reason = none["reason"].as_str().unwrap_or_default();
        assert!(
            reason.contains("predicted_kl: ") && reason.contains("predicted_cosine_distance: "),
            "{none}"
        );
    }

    #[test]
    fn losses_stay_short() {
        let rows = [
            (None, "-"),
            (Some(0.0), "0"),
            (Some(0.000_042), "4.2e-5"),
            (Some(0.012_34), "0.0123"),
            (Some(12.34), "12.3"),
        ];
        for (loss, expected) in rows {
            assert_eq!(compact(loss), expected);
        }
    }
}

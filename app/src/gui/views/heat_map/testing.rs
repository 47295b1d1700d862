//! Tables made up for tests of this view.

use pare_engine::model::LayerInfo;
use pare_engine::report::{LayerSensitivity, Measure, OptionError, Probe, SensitivityTable};
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;

/// The loss that was measured of every layer at 4/64.
pub(super) const PROBE: f64 = 0.004;

/// A table of `layers` layers.
pub(super) fn table(layers: usize) -> SensitivityTable {
    let entries = (0..layers).map(|layer| entry(layer, &format!("layer.{layer}"), 1 << 13));
    of(entries.collect())
}

/// A table of those of `layers` that can be compressed.
pub(super) fn table_of(layers: &[LayerInfo]) -> SensitivityTable {
    let judged = layers
        .iter()
        .enumerate()
        .filter(|(_, info)| info.compressible);
    of(judged
        .map(|(layer, info)| entry(layer, &info.name, info.parameters))
        .collect())
}

fn of(layers: Vec<LayerSensitivity>) -> SensitivityTable {
    SensitivityTable {
        measure: Measure::Kl,
        method: Method::Gptq,
        options: LayerOption::all(),
        layers,
        anchors: Vec::new(),
        scored: 4096,
    }
}

fn entry(layer: usize, name: &str, weights: u64) -> LayerSensitivity {
    let error = |option: LayerOption| {
        let bits = option.bits().unwrap_or(16);
        let error = (layer + 1) as f64 * 0.5_f64.powi(i32::from(bits));
        OptionError {
            output_error: error * error,
            relative_output_error: Some(error),
            gradient_loss: None,
            method: match bits {
                2..=4 => Method::Gptq,
                16 => Method::None,
                _ => Method::Rtn,
            },
            bytes: weights * u64::from(bits) / 8,
        }
    };
    LayerSensitivity {
        layer,
        name: name.to_owned(),
        weights,
        errors: LayerOption::all()
            .into_iter()
            .map(|option| Some(error(option)))
            .collect(),
        probes: vec![Probe {
            option: LayerOption::Grid { bits: 4, group: 64 },
            loss: PROBE,
        }],
    }
}

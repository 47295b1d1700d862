//! A small model and a table of it, made of numbers alone.

mod planning;
mod predicting;

use crate::grid::ScaleDtype;
use crate::model::{LayerInfo, LayerKind, Role};
use crate::moments::Prefix;
use crate::report::{LayerSensitivity, Measure, OptionError, Probe, SensitivityTable};
use crate::rng::Rng;
use crate::settings::{ColumnOrder, LayerOption, LayerSettings, Refine};
use crate::solved::Method;
use crate::tensor::Dtype;

fn grid(bits: u8, group: usize) -> LayerOption {
    LayerOption::Grid { bits, group }
}

fn base_settings() -> LayerSettings {
    LayerSettings {
        method: Method::Gptq,
        bits: 4,
        group: 32,
        symmetric: true,
        scale_dtype: ScaleDtype::F16,
        clip_search: 0,
        order: ColumnOrder::None,
        damping: 0.01,
        refine: Refine::Off,
        prefix: Prefix::Compressed,
        double_quant: false,
        activations: crate::settings::Activations::None,
        activation_block: 0,
        smooth: 0.0,
        prune: crate::settings::Pruning::NONE,
        rank: crate::settings::Rank::None,
        palette_rows: 0,
    }
}

fn layer(name: &str, role: Role, shape: (usize, usize), block: Option<usize>) -> LayerInfo {
    let (rows, columns) = shape;
    LayerInfo {
        name: name.into(),
        tensor: format!("{name}.weight"),
        role,
        kind: match role {
            Role::Embedding => LayerKind::Embedding,
            Role::Norm => LayerKind::Other,
            _ => LayerKind::Linear,
        },
        block,
        rows,
        columns,
        shape: vec![rows, columns],
        dtype: Dtype::BF16,
        size_bytes: (rows * columns * 2) as u64,
        parameters: (rows * columns) as u64,
        transposed: false,
        compressible: role != Role::Norm,
        packed: false,
        fused_peers: match role {
            Role::Query | Role::Key | Role::Value => block.map(|block| 2 * block),
            _ => None,
        },
    }
}

/// An embedding, and blocks of query, key, value, norm and down projection.
fn model(blocks: usize) -> Vec<LayerInfo> {
    let mut layers = vec![layer("embed", Role::Embedding, (96, 64), None)];
    for block in 0..blocks {
        let rows = [
            ("q", Role::Query, (64, 64)),
            ("k", Role::Key, (32, 64)),
            ("v", Role::Value, (32, 64)),
            ("norm", Role::Norm, (64, 1)),
            ("down", Role::Down, (64, 128)),
        ];
        layers.extend(rows.map(|(name, role, shape)| {
            layer(&format!("blocks.{block}.{name}"), role, shape, Some(block))
        }));
    }
    layers
}

/// Errors that fall fourfold with each bit, and a bit with smaller groups, from seeded gains.
fn table(layers: &[LayerInfo], options: &[LayerOption], seed: u64) -> SensitivityTable {
    let mut rng = Rng::new(seed, 0);
    let judged = layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| layer.compressible);
    let entries = judged.map(|(index, info)| {
        let gain = (2.0 * rng.normal()).exp();
        let mut error = |option: &LayerOption| {
            let LayerOption::Grid { bits, group } = *option else {
                return cell(0.0);
            };
            let coarse = 1.0 + group as f64 / 256.0;
            cell(gain * coarse * 0.25_f64.powi(bits.into()) * (0.8 + 0.4 * rng.uniform()))
        };
        LayerSensitivity {
            layer: index,
            name: info.name.clone(),
            weights: info.parameters,
            errors: options.iter().map(&mut error).map(Some).collect(),
            probes: Vec::new(),
        }
    });
    SensitivityTable {
        measure: Measure::Kl,
        method: Method::Gptq,
        options: options.to_vec(),
        layers: entries.collect(),
        anchors: Vec::new(),
        scored: 1000,
    }
}

/// A cell of this gradient loss.
fn cell(gradient_loss: f64) -> OptionError {
    OptionError {
        output_error: 100.0 * gradient_loss,
        relative_output_error: Some(gradient_loss.sqrt()),
        gradient_loss: Some(gradient_loss),
        method: Method::Gptq,
        bytes: 0,
    }
}

fn probe(option: LayerOption, loss: f64) -> Probe {
    Probe { option, loss }
}

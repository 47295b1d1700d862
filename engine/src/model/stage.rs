//! Stages: which layers of a block share one input, from headers alone.
//!
//! Knows roles and widths, no tensors.

use super::Model;
use super::config::ModelConfig;
use super::layers::{LayerKind, Role};

/// Layers that share one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Indices into the model's list of layers.
    pub layers: Vec<usize>,
    /// Width of the shared input.
    pub width: usize,
}

/// The roles of each stage, in forward order.
pub(super) const STAGES: [&[Role]; 4] = [
    &[Role::Query, Role::Key, Role::Value, Role::QueryKeyValue],
    &[Role::Output],
    &[Role::Gate, Role::GateUp, Role::Up],
    &[Role::Down],
];

impl Model {
    /// The stages of every block, as `Block::stages` of the loaded blocks would tell them. Reads no weights.
    pub fn stages(&self) -> Vec<Vec<Stage>> {
        let mut linears = vec![Vec::new(); self.config.blocks];
        for (index, layer) in self.layers.iter().enumerate() {
            if let (LayerKind::Linear, Some(block)) = (layer.kind, layer.block) {
                linears[block].push((layer.role, index));
            }
        }
        linears
            .iter()
            .map(|linears| stages_of_block(&self.config, linears))
            .collect()
    }
}

/// The stages of a block with these linear layers: role, and index into the model's list.
pub(super) fn stages_of_block(config: &ModelConfig, linears: &[(Role, usize)]) -> Vec<Stage> {
    let widths = [
        config.hidden,
        config.query_width(),
        config.hidden,
        config.intermediate,
    ];
    let layers_of = |roles: &[Role]| {
        linears
            .iter()
            .filter(|(role, _)| roles.contains(role))
            .map(|&(_, layer)| layer)
            .collect()
    };
    STAGES
        .iter()
        .zip(widths)
        .map(|(roles, width)| Stage {
            layers: layers_of(roles),
            width,
        })
        .collect()
}

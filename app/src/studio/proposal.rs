//! Bits proposed within a budget: what the trade-off's slider shows before anything of it is in the draft.
//!
//! Values only; `update::choose` makes them. Knows no solver and no screen.

use super::project::Project;
use pare_engine::allocate::Rules;
use pare_engine::model::{LayerInfo, LayerKind};
use pare_engine::recipe::{LayerSettings, literal};
use pare_engine::settings::LayerOption;

/// What proposals must keep to, beside the draft's locks.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct BudgetRules {
    /// Layers that runtimes fuse (q/k/v, gate/up) get one option.
    pub fused: bool,
    /// Embeddings and head may change too; otherwise they stay as the draft has them.
    pub ends: bool,
    /// Fewest bits of embeddings and head, where they may change.
    pub minimum_end_bits: Option<u8>,
    /// The only options of layers that a pattern hits; the last pattern that hits decides.
    pub allowed: Vec<(String, Vec<LayerOption>)>,
}

/// One layer that a proposal changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The layer.
    pub layer: usize,
    /// What it has in the draft.
    pub from: LayerSettings,
    /// What it would get.
    pub to: LayerSettings,
    /// How much less loss this change alone is predicted to leave; negative where it adds loss.
    pub gain: Option<f64>,
}

/// All free layers at one option: what a proposal is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UniformChoice {
    /// The option.
    pub option: LayerOption,
    /// Stored bytes of all compressible layers.
    pub bytes: u64,
    /// Loss predicted.
    pub predicted: f64,
    /// Seconds of a token on the chosen device, where known.
    pub seconds: Option<f64>,
}

/// Bits proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The budget asked for: stored bytes of all compressible layers.
    pub budget_bytes: u64,
    /// What was asked for instead, if so: seconds of a token on the chosen device.
    pub budget_seconds: Option<f64>,
    /// Seconds of a token there; of an encoder, of the prompt.
    pub seconds: Option<f64>,
    /// Settings of every layer.
    pub settings: Vec<LayerSettings>,
    /// What it changes in the draft, in the model's order.
    pub changes: Vec<Change>,
    /// Stored bytes of all compressible layers.
    pub bytes: u64,
    /// Loss predicted of the whole model.
    pub predicted: Option<f64>,
    /// The best single option within the same budget, where any fits.
    pub uniform: Option<UniformChoice>,
    /// Whether the drag has ended.
    pub is_settled: bool,
    /// Grows with every proposal: names what is shown.
    pub version: u64,
}

/// Whether proposals may change `layer`.
pub fn is_free(project: &Project, layer: usize) -> bool {
    let info = &project.layers[layer];
    let is_end = matches!(info.kind, LayerKind::Embedding | LayerKind::Head);
    let may_change = !is_end || project.budget_rules.ends;
    info.compressible && may_change && !project.draft().locked[layer]
}

/// The rules that the planner takes: a person's, and by name what is locked or left out.
pub fn rules(project: &Project) -> Rules {
    let own = &project.budget_rules;
    let stays = |(layer, info): (usize, &LayerInfo)| {
        let stays = info.compressible && !is_free(project, layer);
        stays.then(|| literal(&info.name))
    };
    Rules {
        locks: project
            .layers
            .iter()
            .enumerate()
            .filter_map(stays)
            .collect(),
        allowed: own.allowed.clone(),
        fused: own.fused,
        minimum_end_bits: own.minimum_end_bits,
    }
}

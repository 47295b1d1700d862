//! Which layers of a run stand for weights that a fold changed: their codes say nothing of the original's weights.
//!
//! From the run's report and the shape of the network alone: AWQ and smoothing multiply the columns of what reads an input
//! and divide what makes it. Where a fold was asked for and came to nothing, the layer counts as folded too.

use crate::model::{LayerInfo, Model, Producer};
use crate::report::LayerReport;
use crate::solved::Method;

/// For each layer of `model`, whether a fold may have changed its weights, where `asks` says whose inputs were to be
/// scaled.
pub(in crate::session) fn folded_layers(
    model: &Model,
    asks: &dyn Fn(&LayerInfo) -> bool,
) -> Vec<bool> {
    let infos = model.layers();
    let mut folded = vec![false; infos.len()];
    for stages in model.stages() {
        for (index, stage) in stages.iter().enumerate() {
            let Some(producer) = model.config().producer_of(index) else {
                continue;
            };
            if !stage.layers.iter().any(|&layer| asks(&infos[layer])) {
                continue;
            }
            stage.layers.iter().for_each(|&layer| folded[layer] = true);
            if let Producer::Layer(roles) = producer {
                let layers = stages.iter().flat_map(|stage| &stage.layers);
                let makers = layers.filter(|&&layer| roles.contains(&infos[layer].role));
                makers.for_each(|&layer| folded[layer] = true);
            }
        }
    }
    folded
}

/// Whether the inputs of the layer that `report` tells of were to be scaled.
pub(in crate::session) fn asks_for_fold(report: &LayerReport) -> bool {
    let settings = &report.settings;
    let is_smoothed = settings.smooth > 0.0 && settings.method != Method::None;
    settings.method == Method::Awq || report.method == Method::Awq || is_smoothed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{random_model, tiny_llama};

    #[test]
    fn a_fold_touches_who_reads_and_who_makes_an_input() {
        let model = random_model(&tiny_llama(), 5, 0.0);
        let folded_by = |asking: &str| {
            let folded = folded_layers(&model, &|info| info.name == asking);
            let layers = model.layers().iter().zip(folded);
            let folded = layers.filter_map(|(info, folded)| folded.then_some(info.name.clone()));
            folded.collect::<Vec<String>>()
        };
        let down = "model.layers.0.mlp.down_proj";
        assert_eq!(folded_by(down), ["model.layers.0.mlp.up_proj", down]);
        let peers = ["q_proj", "k_proj", "v_proj"];
        let peers = peers.map(|peer| format!("model.layers.1.self_attn.{peer}"));
        assert_eq!(folded_by("model.layers.1.self_attn.q_proj"), peers);
        // Grouped heads: nothing that makes the input of the output projection can be scaled.
        let none: [&str; 0] = [];
        assert_eq!(folded_by("model.layers.0.self_attn.o_proj"), none);
        assert_eq!(folded_by("lm_head"), none);
    }
}

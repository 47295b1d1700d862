//! What calibration says of how a layer rounds its inputs, and which settings cannot do without it.
//!
//! A static step is the largest magnitude that calibration saw in any input, over 127. Nothing finer is chosen:
//! statistics keep no distribution, and what is clipped is what carries most.

use super::needs_inputs;
use crate::model::{LayerInfo, LayerKind};
use crate::moments::LayerStatistics;
use crate::packed::{ActivationKind, ActivationPlan};
use crate::report::Fallback;
use crate::settings::{Activations, LayerSettings, PruneMethod, Pruning, Refine};
use crate::solved::Method;

/// Why a layer is solved without inputs.
pub(super) const NO_INPUTS: &str = "no inputs are gathered outside the blocks";

/// Largest code of an input.
const LARGEST_CODE: f32 = 127.0;

/// Something that a recipe asks and that cannot be had without a layer's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What is asked, as the recipe spells it.
    pub asked: String,
    /// What can be had instead, as the end of an advice.
    pub instead: String,
}

/// What of `settings` cannot do without the layer's inputs, all of it at once.
pub fn need_of(settings: &LayerSettings) -> Option<Need> {
    if settings.method == Method::None {
        return None;
    }
    let mut needs = Vec::new();
    if needs_inputs(settings.method) {
        let asked = format!("method {}", settings.method.word());
        needs.push((asked, "rtn, hqq or nf4"));
    }
    if needs_norms(settings.prune) {
        let asked = format!("prune {}", settings.prune.method.word());
        needs.push((asked, "prune magnitude"));
    }
    if settings.activations == Activations::Static8 {
        let asked = format!("activations {}", settings.activations.word());
        needs.push((asked, "activations dynamic8"));
    }
    if settings.smooth > 0.0 {
        needs.push((format!("smooth {}", settings.smooth), "smooth 0"));
    }
    let (asked, instead): (Vec<String>, Vec<&str>) = needs.into_iter().unzip();
    (!asked.is_empty()).then(|| Need {
        asked: asked.join(" and "),
        instead: format!("choose {}", instead.join(" and ")),
    })
}

/// Whether weights are scored with their inputs.
fn needs_norms(prune: Pruning) -> bool {
    matches!(prune.method, PruneMethod::Wanda | PruneMethod::SparseGpt)
}

/// What is told where refinement is asked of a layer with zeros: the sweep that chooses them is not refined.
pub fn unrefined(settings: &LayerSettings) -> Option<Fallback> {
    let is_asked = settings.refine == Refine::On && settings.method == Method::Gptq;
    (is_asked && !settings.prune.is_none()).then(|| Fallback {
        from: "refine on".to_owned(),
        to: "refine off".to_owned(),
        reason: "codes that are chosen together with zeros are not refined".to_owned(),
    })
}

/// Settings that a layer can be solved with where no inputs are gathered, and what is done instead of what was asked. It
/// is settled before a run, since other zeros may take other bytes.
pub fn scored_alone(layer: &LayerInfo, asked: LayerSettings) -> (LayerSettings, Option<Fallback>) {
    let is_alone = layer.block.is_none() || layer.kind != LayerKind::Linear;
    if !is_alone || asked.method == Method::None || !needs_norms(asked.prune) {
        return (asked, None);
    }
    let mut settings = asked;
    settings.prune.method = PruneMethod::Magnitude;
    let told = |settings: &LayerSettings| format!("prune {}", settings.prune.method.word());
    let fallback = Fallback {
        from: told(&asked),
        to: told(&settings),
        reason: NO_INPUTS.to_owned(),
    };
    (settings, Some(fallback))
}

/// What a layer of these settings does to its inputs. `statistics` are those of the inputs that it will see.
pub(super) fn plan(
    settings: &LayerSettings,
    statistics: Option<&LayerStatistics>,
) -> ActivationPlan {
    ActivationPlan::new(
        ActivationKind::of_settings(settings),
        statistics.map(static_step),
    )
}

/// The step with which the largest input is the largest code, those included that are kept out to judge; 1 where every
/// input was 0.
fn static_step(statistics: &LayerStatistics) -> f32 {
    let held_out = statistics.held_out.iter().flat_map(|part| &part.abs_max);
    let all = statistics.moments.abs_max.iter().chain(held_out);
    let largest = all.copied().fold(0.0, f32::max);
    let step = largest / LARGEST_CODE;
    match step.is_normal() {
        true => step,
        false => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::{Accumulator, HeldOut};

    fn statistics(inputs: &[f32], held_out: Option<[f32; 2]>) -> LayerStatistics {
        let mut accumulator = Accumulator::new(2, false);
        accumulator.add(0, inputs, None);
        let moments = accumulator.finish().0;
        LayerStatistics {
            held_out: held_out.map(|abs_max| HeldOut {
                count: 1,
                gram: moments.gram.clone(),
                cross: None,
                abs_max: abs_max.to_vec(),
            }),
            moments,
            cross: None,
        }
    }

    #[test]
    fn the_largest_input_is_the_largest_code() {
        let cases = [
            (&[1.0f32, -254.0, 3.0, 7.0][..], None, 2.0),
            (&[12.7, 0.0], None, 0.1),
            (&[12.7, 0.0], Some([0.0, 25.4]), 0.2),
            (&[0.0, 0.0], None, 1.0),
            (&[1e-44, 0.0], None, 1.0),
        ];
        for (inputs, held_out, expected) in cases {
            let found = static_step(&statistics(inputs, held_out));
            assert!(
                (found - expected).abs() < 1e-6,
                "{inputs:?}: expected {expected}, found {found}"
            );
        }
    }

    #[test]
    fn all_that_needs_inputs_is_told_at_once() {
        let settings = LayerSettings {
            activations: Activations::Static8,
            smooth: 0.5,
            ..crate::recipe::Recipe::default().default
        };
        let need = need_of(&settings);
        let expected = Need {
            asked: "method gptq and activations static8 and smooth 0.5".to_owned(),
            instead: "choose rtn, hqq or nf4 and activations dynamic8 and smooth 0".to_owned(),
        };
        assert_eq!(need, Some(expected));
    }
}

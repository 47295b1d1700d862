//! What calibration says of how a layer rounds its inputs, and which settings cannot do without it.
//!
//! A static step is the largest magnitude that calibration saw in any input, over 127. Nothing finer is chosen:
//! statistics keep no distribution, and what is clipped is what carries most.

use super::needs_inputs;
use crate::moments::Moments;
use crate::packed::{ActivationKind, ActivationPlan};
use crate::settings::{Activations, LayerSettings};

/// Largest code of an input.
const LARGEST_CODE: f32 = 127.0;

/// Something that a recipe asks and that cannot be had without a layer's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What is asked, as the recipe spells it.
    pub asked: String,
    /// What can be had instead, as the end of an advice.
    pub instead: &'static str,
}

/// What of `settings` cannot do without the layer's inputs.
pub fn need_of(settings: &LayerSettings) -> Option<Need> {
    use crate::solved::Method;
    if settings.method == Method::None {
        return None;
    }
    let need = |asked: String, instead| Some(Need { asked, instead });
    if needs_inputs(settings.method) {
        let asked = format!("method {}", settings.method.word());
        return need(asked, "choose rtn, hqq or nf4");
    }
    if settings.activations == Activations::Static8 {
        let asked = format!("activations {}", settings.activations.word());
        return need(asked, "choose activations dynamic8");
    }
    (settings.smooth > 0.0)
        .then(|| need(format!("smooth {}", settings.smooth), "choose smooth 0"))
        .flatten()
}

/// What a layer of these settings does to its inputs. `moments` are those of the inputs that it will see.
pub(super) fn plan(settings: &LayerSettings, moments: Option<&Moments>) -> ActivationPlan {
    ActivationPlan::new(
        ActivationKind::of_settings(settings),
        moments.map(static_step),
    )
}

/// The step with which the largest input is the largest code; 1 where every input was 0.
fn static_step(moments: &Moments) -> f32 {
    let largest = moments.abs_max.iter().copied().fold(0.0, f32::max);
    let step = largest / LARGEST_CODE;
    match step.is_normal() {
        true => step,
        false => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::Accumulator;

    fn moments(inputs: &[f32]) -> Moments {
        let mut accumulator = Accumulator::new(2, false);
        accumulator.add(0, inputs, None);
        accumulator.finish().0
    }

    #[test]
    fn the_largest_input_is_the_largest_code() {
        let cases = [
            (&[1.0f32, -254.0, 3.0, 7.0][..], 2.0),
            (&[12.7, 0.0], 0.1),
            (&[0.0, 0.0], 1.0),
            (&[1e-44, 0.0], 1.0),
        ];
        for (inputs, expected) in cases {
            let found = static_step(&moments(inputs));
            assert!(
                (found - expected).abs() < 1e-6,
                "{inputs:?}: expected {expected}, found {found}"
            );
        }
    }
}

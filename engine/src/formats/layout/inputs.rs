//! What a container and a layer's place can hold of how its inputs are rounded.
//!
//! Knows nothing of weights: `preflight` settles those, and joins both words.

use super::{Format, external};
use crate::model::{LayerInfo, LayerKind};
use crate::report::Fallback;
use crate::settings::{Activations, LayerSettings, Rank};
use crate::solved::Method;

/// `asked` with inputs that `format` and the layer can have, and what was done instead. Of a network that `has_head` of
/// its own the embedding is a table to look up in and nothing else.
pub(super) fn hold_inputs(
    format: Format,
    layer: &LayerInfo,
    has_head: bool,
    asked: LayerSettings,
) -> (LayerSettings, Option<Fallback>) {
    if asked.method == Method::None || asked.activations == Activations::None {
        return (asked, None);
    }
    if layer.kind == LayerKind::Embedding && has_head {
        // There is no input to round, and nothing to tell.
        return (with(asked, Activations::None), None);
    }
    match instead(format, layer, &asked) {
        None => hold_block(asked),
        Some((activations, reason)) => {
            let fallback = Fallback {
                from: words(asked.activations),
                to: words(activations),
                reason: reason.to_owned(),
            };
            let (held, block) = hold_block(with(asked, activations));
            (held, Fallback::join(Some(fallback), block))
        }
    }
}

/// Blocks of inputs end where groups of weights do.
fn hold_block(asked: LayerSettings) -> (LayerSettings, Option<Fallback>) {
    let (block, group) = (asked.activation_block, asked.group);
    if asked.activations == Activations::None || group == 0 || block <= group {
        return (asked, None);
    }
    let told = Fallback {
        from: format!("activation block {block}"),
        to: format!("activation block {group}"),
        reason: "blocks of inputs end where groups of weights do".to_owned(),
    };
    (asked, Some(told))
}

/// What is done where that which is asked cannot be, and why.
fn instead(
    format: Format,
    layer: &LayerInfo,
    asked: &LayerSettings,
) -> Option<(Activations, &'static str)> {
    if let Some(reason) = no_rounded_inputs(format) {
        return Some((Activations::None, reason));
    }
    if let Some(reason) = multiplied_by_floats(asked) {
        return Some((Activations::None, reason));
    }
    let is_alone = layer.block.is_none() || layer.kind != LayerKind::Linear;
    (asked.activations == Activations::Static8 && is_alone).then_some((
        Activations::Dynamic8,
        "no inputs are gathered outside the blocks",
    ))
}

/// Why inputs cannot be rounded, whatever holds the layer.
fn multiplied_by_floats(asked: &LayerSettings) -> Option<&'static str> {
    let is_factored = asked.rank != Rank::None && asked.prune.is_none();
    match asked.method {
        Method::Nf4 => Some("levels of NF4 are multiplied by floats"),
        Method::Palette => Some("levels of palettes are multiplied by floats"),
        Method::Float if is_factored => Some("factors are multiplied by floats"),
        _ => None,
    }
}

/// Why a container cannot say how inputs are rounded.
pub(in crate::formats) fn no_rounded_inputs(format: Format) -> Option<&'static str> {
    if let Some(external) = format.external() {
        return external::no_rounded_inputs(external);
    }
    match format {
        Format::Gguf => Some("llama.cpp rounds inputs in its own way, and gguf cannot say how"),
        Format::Dense => Some("a dense model holds weights, not how inputs are rounded"),
        _ => None,
    }
}

fn with(settings: LayerSettings, activations: Activations) -> LayerSettings {
    LayerSettings {
        activations,
        ..settings
    }
}

fn words(activations: Activations) -> String {
    format!("activations {}", activations.word())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{hold, layer, settings};
    use super::super::{Held, preflight};
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::model::Role;

    #[test]
    fn containers_without_rounded_inputs_say_so() {
        let mut asked = [settings(4, 32, false); 5];
        for asked in &mut asked {
            asked.activations = Activations::Static8;
        }
        asked[3].method = Method::Nf4;
        asked[4].scale_dtype = ScaleDtype::F32;
        let told = |held: &Held| {
            let fallback = held.fallback.as_ref()?;
            Some(format!("{} -> {}", fallback.from, fallback.to))
        };
        let (from, to) = ("activations static8", "activations none");
        let plain = Some(format!("{from} -> {to}"));
        let dynamic = Some(format!("{from} -> activations dynamic8"));
        let dense = |method: &str| Some(format!("{method} -> none"));
        let both = Some(format!("f32 scales, {from} -> f16 scales, {to}"));
        let cases = [
            (
                Format::Gptq,
                [
                    dense("gptq"),
                    dense("gptq"),
                    dense("gptq"),
                    dense("nf4"),
                    both,
                ],
            ),
            // An embedding beside a head has no inputs, and says nothing; one that is the head does.
            (
                Format::Dense,
                [
                    plain.clone(),
                    plain.clone(),
                    plain.clone(),
                    plain.clone(),
                    plain.clone(),
                ],
            ),
            (Format::Pare, [dynamic, None, None, plain, None]),
        ];
        for (format, expected) in cases {
            let held = hold(format, &asked, false).unwrap();
            let found: Vec<Option<String>> = held.iter().map(told).collect();
            assert_eq!(found, expected, "{format:?}");
            let error = hold(format, &asked, true).unwrap_err().to_string();
            assert!(error.contains("strict"), "{format:?}: {error}");
        }
        let held = hold(Format::Pare, &asked, false).unwrap();
        let kept: Vec<Activations> = held.iter().map(|held| held.settings.activations).collect();
        use Activations::{Dynamic8, None as Floats, Static8};
        assert_eq!(kept, [Dynamic8, Static8, Static8, Floats, Static8]);
    }

    #[test]
    fn an_embedding_beside_a_head_has_no_inputs() {
        let embedding = LayerInfo {
            kind: LayerKind::Embedding,
            block: None,
            ..layer("embed", Role::Embedding, 100, 64, None)
        };
        let head = LayerInfo {
            kind: LayerKind::Head,
            block: None,
            ..layer("lm_head", Role::Head, 100, 64, None)
        };
        let mut asked = settings(8, 0, false);
        asked.activations = Activations::Dynamic8;
        let layers = [(embedding, asked), (head, asked)];
        let held = preflight(Format::Pare, &layers, true).unwrap();
        let kept: Vec<Activations> = held.iter().map(|held| held.settings.activations).collect();
        assert_eq!(kept, [Activations::None, Activations::Dynamic8]);
    }

    #[test]
    fn blocks_of_inputs_that_groups_cut_are_told() {
        let mut asked = settings(4, 32, false);
        asked.activations = Activations::Dynamic8;
        asked.activation_block = 128;
        let linear = layer("q_proj", Role::Query, 64, 64, Some(0));
        let held = preflight(Format::Pare, &[(linear.clone(), asked)], false).unwrap();
        let told = held[0].fallback.as_ref().unwrap();
        assert_eq!(
            (told.from.as_str(), told.to.as_str()),
            ("activation block 128", "activation block 32")
        );
        asked.group = 128;
        let held = preflight(Format::Pare, &[(linear, asked)], true).unwrap();
        assert_eq!(held[0].fallback, None);
    }

    #[test]
    fn a_layer_outside_the_blocks_has_no_fixed_scale() {
        let head = LayerInfo {
            block: None,
            ..layer("lm_head", Role::Head, 100, 64, None)
        };
        let mut asked = settings(8, 0, false);
        asked.activations = Activations::Static8;
        let held = preflight(Format::Pare, &[(head, asked)], false).unwrap();
        assert_eq!(held[0].settings.activations, Activations::Dynamic8);
        let fallback = held[0].fallback.as_ref().unwrap();
        assert_eq!(fallback.to, "activations dynamic8");
    }
}

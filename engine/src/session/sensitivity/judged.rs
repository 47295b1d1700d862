//! Which layers are judged and at which options, from a recipe and what is asked.
//!
//! Reads notes that are kept; judges nothing.

use super::super::Session;
use super::super::choose_requests::SensitivityRequest;
use super::super::original_inputs::OriginalInputs;
use super::survey::{Judging, NOTES_VERSION};
use crate::compress::needs_inputs;
use crate::model::{LayerInfo, LayerKind};
use crate::recipe::Recipe;
use crate::report::OptionError;
use crate::sensitivity::StoredRow;
use crate::settings::{LayerOption, LayerSettings};
use crate::solved::Method;
use crate::units::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The settings of all layers under `recipe`.
pub(in crate::session) fn settings_of(recipe: &Recipe, layers: &[LayerInfo]) -> Vec<LayerSettings> {
    let decisions = recipe.resolve(layers).decisions.into_iter();
    decisions.map(|decision| decision.settings).collect()
}

/// The layers that are judged, with what is known of them.
pub(super) fn judged_layers(
    session: &Session,
    request: &SensitivityRequest,
    inputs: &OriginalInputs,
    key: &str,
) -> Vec<Judging> {
    let settings = settings_of(&request.recipe, &session.layers);
    let judge = |layer: usize| {
        let base = judged_settings(session, request, inputs, layer, settings[layer])?;
        let named = LayerSettings {
            bits: 0,
            group: 0,
            method: Method::None,
            ..base
        };
        let note = format!("{NOTES_VERSION}-{layer:05}-{}", key_of(&(key, named)));
        let kept = inputs.note(&note);
        Some(Judging {
            layer,
            base,
            row: kept
                .map(|bytes| StoredRow::parse(&bytes))
                .unwrap_or_default(),
            note,
        })
    };
    (0..session.layers.len()).filter_map(judge).collect()
}

/// The settings that options of a layer change; `None` where it is not judged.
fn judged_settings(
    session: &Session,
    request: &SensitivityRequest,
    inputs: &OriginalInputs,
    layer: usize,
    settings: LayerSettings,
) -> Option<LayerSettings> {
    let info = &session.layers[layer];
    let is_end = matches!(info.kind, LayerKind::Embedding | LayerKind::Head);
    // Options are judged by their weights alone.
    let settings = settings.of_weights();
    if !info.compressible || matches!(settings.method, Method::Nf4 | Method::Palette) {
        return None;
    }
    if is_end {
        // Outside blocks methods that need inputs round to nearest, and so does what had none.
        let method = match settings.method {
            method if method == Method::None || needs_inputs(method) => Method::Rtn,
            method => method,
        };
        return request.ends.then_some(LayerSettings { method, ..settings });
    }
    let is_inner = inputs.stage_of(layer).is_some() && settings.method != Method::None;
    let method = match settings.method {
        // Floats have no bits to choose: options give them those of the others.
        Method::Float => request.recipe.default.method,
        method => method,
    };
    is_inner.then_some(LayerSettings { method, ..settings })
}

/// `settings` with inputs rounded and smoothed as `asked` says.
pub(super) fn with_inputs_of(asked: &LayerSettings, settings: LayerSettings) -> LayerSettings {
    LayerSettings {
        activations: asked.activations,
        activation_block: asked.activation_block,
        smooth: asked.smooth,
        ..settings
    }
}

/// What is asked, and what is measured: a probe of an option that is no column would be lost.
pub(super) fn asked_options(request: &SensitivityRequest) -> Vec<LayerOption> {
    let effort = &request.effort;
    let all = [&request.options, &effort.probes, &effort.anchors];
    all.into_iter().flatten().copied().collect()
}

/// Few bits first, large groups first; then what is pruned, then factors; dense last and always there.
pub(super) fn in_order(options: &[LayerOption]) -> Vec<LayerOption> {
    let mut options = options.to_vec();
    options.push(LayerOption::Dense);
    options.sort_unstable_by_key(|&option| {
        let place = match option {
            LayerOption::Grid { .. } => 0,
            LayerOption::Pruned { .. } => 1,
            LayerOption::LowRank { .. } => 2,
            LayerOption::Dense => 3,
        };
        // A whole row is the largest group.
        let group = usize::MAX - option.group().unwrap_or(0).wrapping_sub(1);
        (place, option.bits(), group, option)
    });
    options.dedup();
    options
}

/// The error of a layer that is left as it is.
pub(super) fn unchanged() -> OptionError {
    OptionError {
        output_error: 0.0,
        relative_output_error: Some(0.0),
        gradient_loss: Some(0.0),
        method: Method::None,
        bytes: 0,
    }
}

/// Letters that are the same for the same parts alone.
pub(super) fn key_of<T: Serialize>(parts: &T) -> String {
    const KEY_LETTERS: usize = 24;
    let text = serde_json::to_vec(parts).expect("numbers and words can be written");
    let mut key = hex(&Sha256::digest(text));
    key.truncate(KEY_LETTERS);
    key
}

//! Whether a container holds values that are solved already, from shapes and settings alone.
//!
//! `layout::preflight` tells what a new run would become: there other codes may be chosen. Here values stay. Knows no file.

use super::Format;
use super::layout::{Held, LayoutError, Values, inputs_left_alone, preflight, preflight_as};
use crate::model::LayerInfo;
use crate::report::Fallback;
use crate::settings::{Activations, LayerSettings};
use crate::solved::Method;

/// What a preflight makes of layers; the flag says whether fallbacks may be refused.
type Preflight<'a> =
    &'a dyn Fn(&[(LayerInfo, LayerSettings)], bool) -> Result<Vec<Held>, LayoutError>;

/// What `export` makes of layers that a run solved as `solved` says (method `None`: that it left alone), from shapes
/// alone. `preflight` tells what a new run would become; here values stay, and where they do not fit the layer is
/// written dense.
pub fn preflight_of_solved(
    format: Format,
    solved: &[(LayerInfo, LayerSettings)],
) -> Result<Vec<Held>, LayoutError> {
    if format.external().is_none() {
        return preflight(format, solved, false);
    }
    let mut asked = solved.to_vec();
    let (first, second) = settle(&mut asked, &|layers, _| {
        preflight_as(format, layers, Values::Solved, false)
    })?;
    let told = second.into_iter().zip(first).zip(solved);
    Ok(told
        .map(|((second, first), (_, stored))| {
            let is_dense = second.settings.method == Method::None;
            let fallback = second.fallback.or(first.fallback);
            Held {
                fallback: match is_dense && stored.method != Method::None {
                    true => fallback.map(|fallback| written_dense(stored, fallback)),
                    false => fallback,
                },
                settings: second.settings,
            }
        })
        .collect())
}

/// What is told of the layers, and what they become. Layers whose values would change are written dense, and then so are
/// their peers. Where rounded inputs ask for other values, the values stay and the inputs go.
pub(super) fn settle(
    asked: &mut [(LayerInfo, LayerSettings)],
    preflight: Preflight<'_>,
) -> Result<(Vec<Held>, Vec<Held>), LayoutError> {
    let mut first = preflight(asked, true)?;
    for ((layer, settings), told) in asked.iter_mut().zip(&mut first) {
        if holds_stored(layer, settings, &told.settings) {
            continue;
        }
        let unrounded = LayerSettings {
            activations: Activations::None,
            ..*settings
        };
        let alone = preflight(&[(layer.clone(), unrounded)], false)?;
        let is_held = settings.activations != Activations::None
            && alone
                .iter()
                .all(|held| holds_stored(layer, settings, &held.settings));
        if is_held {
            told.fallback = inputs_left_alone(
                settings.activations,
                "the container rounds inputs of layers of another grid only",
            );
            *settings = unrounded;
        } else {
            settings.method = Method::None;
        }
    }
    let second = preflight(asked, true)?;
    Ok((first, second))
}

/// Whether the stored values fit the settings that the container holds: the same levels, or those of a grid with groups
/// cut evenly. Other scales would be other values.
fn holds_stored(layer: &LayerInfo, stored: &LayerSettings, held: &LayerSettings) -> bool {
    let is_codebook = |method: Method| matches!(method, Method::Nf4 | Method::Palette);
    let same_levels = match is_codebook(stored.method) || is_codebook(held.method) {
        true => held.method == stored.method && held.group == stored.group,
        false => same_values(stored, held) && cuts_evenly(layer, stored, held),
    };
    stored.method == Method::None
        || (held.method != Method::None && held.scale_dtype == stored.scale_dtype && same_levels)
}

/// Whether codes of the stored grid are codes of the held one too: more bits hold fewer, a zero of its own holds that in
/// the middle, and real zeros want a place for real zeros.
fn same_values(stored: &LayerSettings, held: &LayerSettings) -> bool {
    let is_fractional = stored.method == Method::Hqq && !stored.symmetric;
    held.bits >= stored.bits
        && (stored.symmetric || !held.symmetric)
        && (!is_fractional || held.method == Method::Hqq)
}

fn cuts_evenly(layer: &LayerInfo, stored: &LayerSettings, held: &LayerSettings) -> bool {
    let [stored, planned] = [stored, held].map(|settings| settings.grid().groups(layer.columns));
    stored.are_cut_by(planned)
}

/// A layer that the container does not hold is written with its solved values.
pub(super) fn written_dense(stored: &LayerSettings, fallback: Fallback) -> Fallback {
    Fallback {
        from: stored.method.word().to_owned(),
        to: Format::Dense.word().to_owned(),
        reason: fallback.reason,
    }
}

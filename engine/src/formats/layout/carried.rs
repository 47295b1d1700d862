//! Layers that a recipe leaves as they are in a model that is packed already.
//!
//! A copy in format `pare` takes their parts over, byte for byte, with all that their manifest says. Other containers hold
//! their values as floats, and what is lost of them is told. Reads manifests only.

use super::inputs::no_rounded_inputs;
use super::preflight::{Held, preflight_as, refuse_fallbacks};
use super::{LayoutError, Placement, PlanSource, Values};
use crate::formats::Format;
use crate::model::LayerInfo;
use crate::packed::{LayerManifest, PackedSource};
use crate::report::Fallback;
use crate::settings::{Activations, LayerSettings};
use crate::solved::Method;

/// Says of `layers` which of them `source` holds in parts that a copy can take over.
pub fn mark_packed(layers: &mut [LayerInfo], source: &dyn PackedSource) {
    for layer in layers {
        layer.packed = source.manifest(&layer.tensor).is_some();
    }
}

/// `preflight` of a model that may be packed already.
pub fn preflight_of(
    source: &PlanSource<'_>,
    format: Format,
    layers: &[(LayerInfo, LayerSettings)],
    values: Values,
    strict: bool,
) -> Result<Vec<Held>, LayoutError> {
    let mut held = preflight_as(format, layers, values, false)?;
    for ((layer, _), held) in layers.iter().zip(&mut held) {
        if held.settings.method == Method::None {
            held.fallback = Fallback::join(held.fallback.take(), lost(source, format, layer));
        }
    }
    if strict {
        refuse_fallbacks(format, layers, &held)?;
    }
    Ok(held)
}

/// What `format` cannot keep of a layer that stays as it is.
fn lost(source: &PlanSource<'_>, format: Format, layer: &LayerInfo) -> Option<Fallback> {
    let rounding = manifest_of(source, layer)?.activations.mode;
    let dense = "a layer that stays dense says nothing of its inputs";
    let reason = match format {
        Format::Pare => None,
        _ => no_rounded_inputs(format).or(Some(dense)),
    };
    let reason = reason.filter(|_| rounding != Activations::None)?;
    Some(Fallback {
        from: format!("activations {}", rounding.word()),
        to: format!("activations {}", Activations::None.word()),
        reason: reason.to_owned(),
    })
}

/// The manifest that `placement` takes over.
pub(super) fn carried(
    source: &PlanSource<'_>,
    layer: &LayerInfo,
    placement: Placement,
) -> Option<LayerManifest> {
    let manifest = manifest_of(source, layer).filter(|_| placement == Placement::Carried)?;
    // Models are sized before they are solved, and so say nothing of how codes came about.
    Some(LayerManifest {
        origin: None,
        ..manifest.clone()
    })
}

fn manifest_of<'a>(source: &PlanSource<'a>, layer: &LayerInfo) -> Option<&'a LayerManifest> {
    source.packed?.manifest(&layer.tensor)
}

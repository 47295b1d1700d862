//! Where one layer goes in a container, in which parts, and how many bytes they take.
//!
//! Knows a layer's shape and settings only; `plan` lays the layers of a model out.

use super::super::Format;
use super::super::gguf::types;
use super::super::onnx::OnnxWeight;
use super::{PlannedLayer, external};
use crate::ggml::GgmlType;
use crate::model::LayerInfo;
use crate::packed::{ActivationKind, ExternalLayer, PartSpec, Stored};
use crate::settings::LayerSettings;
use crate::solved::Method;

/// How one layer is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Placement {
    /// As the source has it, as plain values.
    Source,
    /// As the source has it: in the parts of `packed`, taken over byte for byte.
    Carried,
    /// The solved values in the source's dtype.
    Dense,
    /// The parts of `packed`.
    Pare(Stored, ActivationKind),
    /// The tensors of another program's container.
    External(ExternalLayer),
    /// Blocks of this type of ggml.
    Blocks(GgmlType),
    /// Tensors of an ONNX graph.
    Onnx(OnnxWeight),
}

/// Bytes of a layer in a container: codes, scales, zeros, positions, factors and padding, or its dense values.
pub fn stored_bytes(format: Format, layer: &LayerInfo, settings: &LayerSettings) -> u64 {
    placed_bytes(layer, placement(format, layer, settings)).unwrap_or(u64::MAX)
}

/// How a layer of these settings is stored.
pub(super) fn placement(format: Format, layer: &LayerInfo, settings: &LayerSettings) -> Placement {
    if settings.method == Method::None {
        return untouched(format, layer);
    }
    if let Some(external) = format.external() {
        return external::placement(external, layer, settings);
    }
    match format {
        Format::Pare => Placement::Pare(
            Stored::of_settings(settings, layer.rows, layer.columns, layer.dtype),
            ActivationKind::of_settings(settings),
        ),
        Format::Gguf if settings.method == Method::Float => Placement::Dense,
        Format::Gguf => match types::of_grid(settings.grid(), layer.columns) {
            Some(kind) => Placement::Blocks(kind),
            None => Placement::Dense,
        },
        Format::Onnx => Placement::Onnx(OnnxWeight::of_settings(layer, settings)),
        _ => Placement::Dense,
    }
}

/// Where a layer goes that stays as the source has it.
pub(in crate::formats) fn untouched(format: Format, layer: &LayerInfo) -> Placement {
    match (format, layer.packed) {
        (Format::Pare, true) => Placement::Carried,
        _ => Placement::Source,
    }
}

/// The parts of a layer. `None` where a size does not exist.
pub(super) fn parts_of(layer: &LayerInfo, planned: &PlannedLayer) -> Option<Vec<PartSpec>> {
    match planned.placement {
        Placement::Carried => planned.carried.as_ref()?.parts().ok(),
        Placement::Source | Placement::Dense => Some(vec![PartSpec {
            suffix: "",
            dtype: layer.dtype,
            size_bytes: dense_bytes(layer)?,
            shape: layer.shape.clone(),
        }]),
        Placement::Pare(stored, activations) => {
            let mut parts = stored.parts(layer.rows, layer.columns)?;
            parts.extend(activations.part());
            Some(parts)
        }
        Placement::External(external) => external.parts(layer.rows, layer.columns),
        // GGUF files and ONNX models are laid out by themselves.
        Placement::Blocks(_) | Placement::Onnx(_) => None,
    }
}

/// Bytes of the parts of a layer. `None` where the number does not exist.
pub(super) fn placed_bytes(layer: &LayerInfo, placement: Placement) -> Option<u64> {
    match placement {
        Placement::Carried => Some(layer.size_bytes),
        Placement::Source | Placement::Dense => dense_bytes(layer),
        Placement::Pare(stored, activations) => stored
            .stored_bytes(layer.rows, layer.columns)?
            .checked_add(activations.stored_bytes()),
        Placement::External(external) => external.stored_bytes(layer.rows, layer.columns),
        Placement::Blocks(kind) => {
            let row = kind.bytes_of(layer.columns as u64)?;
            row.checked_mul(layer.rows as u64)
        }
        Placement::Onnx(weight) => weight.stored_bytes(layer.rows, layer.columns),
    }
}

fn dense_bytes(layer: &LayerInfo) -> Option<u64> {
    (layer.rows as u64)
        .checked_mul(layer.columns as u64)?
        .checked_mul(layer.dtype.size_bytes() as u64)
}

//! Rules as a person says them, on the layers of a model: who may have what.
//!
//! Knows no bytes and no losses.

use super::{AllocateError, Rules};
use crate::formats::Format;
use crate::model::{LayerInfo, LayerKind};
use crate::recipe::Pattern;
use crate::settings::LayerOption;

/// Rules on the layers of one model.
#[derive(Debug)]
pub(super) struct Resolved {
    /// For each layer, whether it stays as it is.
    pub(super) locked: Vec<bool>,
    /// Layers that share a weight in runtimes get one option.
    pub(super) fused: bool,
    /// For each layer, the index of the entry of `allowed` that decides.
    deciding: Vec<Option<usize>>,
    allowed: Vec<Vec<LayerOption>>,
    /// For each layer, the fewest bits that it may have.
    minimum_bits: Vec<u8>,
    /// Patterns that hit nothing, in words.
    pub(super) warnings: Vec<String>,
}

impl Resolved {
    pub(super) fn new(
        rules: &Rules,
        layers: &[LayerInfo],
        format: Format,
    ) -> Result<Self, AllocateError> {
        let mut warnings = Vec::new();
        let mut locked = vec![false; layers.len()];
        for lock in &rules.locks {
            for layer in hits(lock, "lock", layers, &mut warnings)? {
                locked[layer] = true;
            }
        }
        let mut deciding = vec![None; layers.len()];
        for (rule, (pattern, _)) in rules.allowed.iter().enumerate() {
            for layer in hits(pattern, "allowed options of", layers, &mut warnings)? {
                deciding[layer] = Some(rule);
            }
        }
        let minimum_bits = |layer: &LayerInfo| match layer.kind {
            LayerKind::Embedding | LayerKind::Head => rules.minimum_end_bits.unwrap_or(0),
            _ => 0,
        };
        Ok(Self {
            locked,
            // Where runtimes fuse layers, those agree or stay dense.
            fused: rules.fused || format.fuses_peers(),
            deciding,
            allowed: rules.allowed.iter().map(|rule| rule.1.clone()).collect(),
            minimum_bits: layers.iter().map(minimum_bits).collect(),
            warnings,
        })
    }

    /// Whether the rules let a layer have an option.
    pub(super) fn allow(&self, layer: usize, option: LayerOption) -> bool {
        let named = self.deciding[layer].is_none_or(|rule| self.allowed[rule].contains(&option));
        let enough = option
            .bits()
            .is_none_or(|bits| bits >= self.minimum_bits[layer]);
        named && enough
    }
}

/// The compressible layers that a pattern hits.
fn hits(
    text: &str,
    what: &str,
    layers: &[LayerInfo],
    warnings: &mut Vec<String>,
) -> Result<Vec<usize>, AllocateError> {
    let pattern = Pattern::new(text).map_err(|problem| AllocateError::Pattern {
        pattern: text.to_owned(),
        problem,
    })?;
    let hit = |(_, layer): &(usize, &LayerInfo)| layer.compressible && pattern.hits(&layer.name);
    let hits: Vec<usize> = layers
        .iter()
        .enumerate()
        .filter(hit)
        .map(|(index, _)| index)
        .collect();
    if hits.is_empty() {
        warnings.push(format!(
            "{what} {text:?}: no layer that can be compressed has such a name"
        ));
    }
    Ok(hits)
}

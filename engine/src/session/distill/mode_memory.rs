//! Memory of a student's weights, by what is trained: codes that stay codes, and values beside them.
//!
//! From headers alone; knows no teacher and no states.

use super::memory::{TrainMemory, VALUE_BYTES, copies};
use crate::model::{LayerInfo, LayerKind, Model};
use crate::packed::{CodeKind, PackedSource, Stored};
use crate::recipe::{Pattern, TrainMode, TrainSettings};

/// Weights of a student in memory: those that stay, and values that are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WeightMemory {
    /// Bytes of what stays.
    pub(super) frozen_bytes: u64,
    /// Values that are trained.
    pub(super) trained: u64,
}

impl WeightMemory {
    /// What `settings.mode` holds of `student`, whose codes `packed` has.
    pub(super) fn of(student: &Model, packed: &dyn PackedSource, settings: &TrainSettings) -> Self {
        let codes = |layer: &LayerInfo| {
            let stored = packed.stored(&layer.tensor);
            stored.filter(|_| packed.is_packed(&layer.tensor))
        };
        Self::of_layers(student.layers(), &codes, settings)
    }

    /// The same of layers that are not there yet, with the codes that they will have.
    pub(super) fn of_layers(
        layers: &[LayerInfo],
        codes: &dyn Fn(&LayerInfo) -> Option<Stored>,
        settings: &TrainSettings,
    ) -> Self {
        let mut memory = Self {
            frozen_bytes: 0,
            trained: 0,
        };
        let patterns = settings.adapter.patterns().unwrap_or_default();
        for layer in layers {
            memory.add(layer, codes(layer), &patterns, settings);
        }
        memory
    }

    fn add(
        &mut self,
        layer: &LayerInfo,
        codes: Option<Stored>,
        patterns: &[Pattern],
        settings: &TrainSettings,
    ) {
        let dense = layer.parameters * VALUE_BYTES;
        match (settings.mode, codes) {
            (TrainMode::Weights, _) => self.trained += layer.parameters,
            (TrainMode::Scales, Some(codes)) => {
                // A byte for each code, the scales as they were, and what is learnt of them.
                let steps = scales(layer, codes);
                self.frozen_bytes += layer.parameters + 2 * steps * VALUE_BYTES;
                self.trained += steps;
            }
            (TrainMode::Qat, Some(codes)) => {
                let steps = scales(layer, codes);
                self.frozen_bytes += 2 * steps * VALUE_BYTES;
                self.trained += layer.parameters + steps;
            }
            (TrainMode::Round, Some(_)) => {
                // One block at a time: weights, offsets, their gradient, the best so far.
                if layer.block == Some(0) {
                    self.frozen_bytes += 4 * dense;
                }
            }
            (TrainMode::Adapter, codes) => {
                self.frozen_bytes +=
                    codes.map_or(dense, |codes| codes.held_bytes(layer.rows, layer.columns));
                let is_hit = || patterns.iter().any(|pattern| pattern.hits(&layer.name));
                if layer.kind == LayerKind::Linear && layer.block.is_some() && is_hit() {
                    let width = (layer.rows + layer.columns) as u64;
                    self.trained += settings.adapter.rank as u64 * width;
                }
            }
            (_, None) => self.frozen_bytes += dense,
        }
    }
}

impl TrainMemory {
    /// The same where the student's weights take what `weights` says, not what a dense one's do.
    pub(super) fn with_weights(self, weights: WeightMemory, settings: &TrainSettings) -> Self {
        let copies = copies(settings);
        let dense = self.parameters * VALUE_BYTES * copies;
        let own = weights.frozen_bytes + weights.trained * VALUE_BYTES * copies;
        Self {
            student: self.student - dense + own,
            ..self
        }
    }
}

/// Scales (or levels) of a layer.
fn scales(layer: &LayerInfo, codes: Stored) -> u64 {
    let (rows, columns) = (layer.rows as u64, layer.columns as u64);
    let groups = |group: usize| match group {
        0 => 1,
        group => columns.div_ceil(group as u64),
    };
    match codes.code {
        CodeKind::Affine { group, .. } => rows * groups(group),
        CodeKind::Nf4 { block, .. } => rows * groups(block),
        _ => 1 << 8,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::{Pair, tiny_llama};
    use crate::packed::ActivationPlan;

    /// Codes whose headers tell what they are.
    struct Told(Pair);

    impl PackedSource for Told {
        fn is_packed(&self, tensor: &str) -> bool {
            self.0.codes.is_packed(tensor)
        }

        fn solved(
            &self,
            tensor: &str,
        ) -> Result<Option<(crate::solved::Solved, ActivationPlan)>, crate::tensor::SourceError>
        {
            self.0.codes.solved(tensor)
        }

        fn stored(&self, tensor: &str) -> Option<Stored> {
            let (solved, _) = self.solved(tensor).ok()??;
            Some(Stored::of_solved(&solved))
        }
    }

    #[test]
    fn each_mode_holds_what_it_trains_and_codes_cost_less_than_weights() {
        let told = Told(Pair::new(&tiny_llama(), ActivationPlan::NONE));
        let model = &told.0.model;
        let parameters: u64 = model.layers().iter().map(|layer| layer.parameters).sum();
        let of = |mode| {
            let settings = TrainSettings {
                mode,
                ..TrainSettings::default()
            };
            let memory = WeightMemory::of(model, &told, &settings);
            memory.frozen_bytes + memory.trained * VALUE_BYTES * copies(&settings)
        };
        let whole = of(TrainMode::Weights);
        assert_eq!(
            whole,
            parameters * VALUE_BYTES * copies(&TrainSettings::default())
        );
        for mode in [TrainMode::Scales, TrainMode::Round, TrainMode::Adapter] {
            assert!(of(mode) < whole, "{mode:?}: {} of {whole}", of(mode));
        }
        assert!(of(TrainMode::Qat) > of(TrainMode::Scales));
    }
}

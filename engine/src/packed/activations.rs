//! What a packed layer does to its inputs when it runs: what its manifest says, and the one number that calibration adds.
//!
//! Mode and block are known before anything is solved; the step of a static scale is not, so that it lies beside the
//! codes as a part of its own and the size of a model stays known. Knows no kernel: how inputs are rounded is theirs.

use super::error::UnpackError;
use super::kind::PartSpec;
use super::manifest::LayerManifest;
use super::{Part, find_part, floats, wrong_part};
use crate::grid::ScaleDtype;
use crate::settings::{ACTIVATION_BLOCKS, Activations, LayerSettings};
use crate::solved::Method;
use crate::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// Name of the part that holds the step of a static scale.
const STEP_SUFFIX: &str = "activation_step";

/// What a manifest says of a layer's inputs. Files without it are of layers whose inputs stay floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ActivationKind {
    /// Whether and when scales are made.
    pub mode: Activations,
    /// Inputs that share a scale under `Activations::Dynamic8`; 0 = those of a whole token, and wherever there is no
    /// such scale.
    #[serde(default)]
    pub block: usize,
}

/// How a layer rounds its inputs when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ActivationPlan {
    /// Whether and when scales are made.
    pub mode: Activations,
    /// Inputs that share a scale under `Activations::Dynamic8`; 0 = those of a whole token.
    pub block: usize,
    /// The value of one step under `Activations::Static8`; null of all others.
    pub static_step: Option<f32>,
}

impl ActivationKind {
    /// Inputs stay floats.
    pub const NONE: Self = Self {
        mode: Activations::None,
        block: 0,
    };

    /// The kind that settings ask for. A layer without codes rounds no inputs.
    pub fn of_settings(settings: &LayerSettings) -> Self {
        match (settings.method, settings.activations) {
            (Method::None, _) | (_, Activations::None) => Self::NONE,
            (_, mode @ Activations::Dynamic8) => Self {
                mode,
                block: settings.activation_block,
            },
            (_, mode @ Activations::Static8) => Self { mode, block: 0 },
        }
    }

    /// Whether inputs stay floats.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Bytes that the layer takes beside its codes and scales.
    pub fn stored_bytes(&self) -> u64 {
        self.part().map_or(0, |part| part.size_bytes)
    }

    /// The part that holds the static step.
    pub fn part(&self) -> Option<PartSpec> {
        match self.mode {
            Activations::Static8 => PartSpec::new(STEP_SUFFIX, Dtype::F32, &[1]),
            Activations::None | Activations::Dynamic8 => None,
        }
    }

    /// What contradicts itself, as the end of a sentence.
    pub(super) fn problem(&self) -> Option<String> {
        let known = match self.mode {
            Activations::Dynamic8 => &ACTIVATION_BLOCKS[..],
            Activations::None | Activations::Static8 => &[0],
        };
        let is_known = known.contains(&self.block);
        (!is_known).then(|| format!("its inputs cannot share scales in blocks of {}", self.block))
    }
}

impl ActivationPlan {
    /// Inputs stay floats.
    pub const NONE: Self = Self {
        mode: Activations::None,
        block: 0,
        static_step: None,
    };

    /// The plan of `kind`, with the step that a static scale needs.
    pub fn new(kind: ActivationKind, static_step: Option<f32>) -> Self {
        Self {
            mode: kind.mode,
            block: kind.block,
            static_step: static_step.filter(|_| kind.mode == Activations::Static8),
        }
    }

    /// What a manifest says of it.
    pub fn kind(&self) -> ActivationKind {
        ActivationKind {
            mode: self.mode,
            block: self.block,
        }
    }

    /// The parts that hold it. The error is a clause.
    pub(super) fn parts(&self) -> Result<Vec<Part>, String> {
        if let Some(problem) = self.kind().problem() {
            return Err(problem);
        }
        let Some(spec) = self.kind().part() else {
            return Ok(Vec::new());
        };
        match self.static_step {
            Some(step) if is_step(step) => {
                let bytes = floats::to_bytes(&[step], ScaleDtype::F32);
                Ok(vec![spec.filled(bytes)])
            }
            Some(step) => Err(format!("{step} is no static step")),
            None => Err("its inputs have a fixed scale, but nobody said which".to_owned()),
        }
    }
}

/// What the parts say of a layer's inputs: `pack` turned around for them. Any file may have brought them.
pub fn unpack_activations(
    manifest: &LayerManifest,
    parts: &[Part],
) -> Result<ActivationPlan, UnpackError> {
    let kind = manifest.activations;
    if let Some(problem) = kind.problem() {
        return Err(manifest.wrong(problem));
    }
    let Some(spec) = kind.part() else {
        return Ok(ActivationPlan::new(kind, None));
    };
    let bytes = find_part(manifest, &spec, parts)?;
    let step = floats::from_bytes(bytes, ScaleDtype::F32)[0];
    if is_step(step) {
        Ok(ActivationPlan::new(kind, Some(step)))
    } else {
        let problem = format!("holds the value {step}");
        Err(wrong_part(manifest, STEP_SUFFIX, problem))
    }
}

/// Whether inputs can be divided by it.
fn is_step(value: f32) -> bool {
    value.is_normal() && value > 0.0
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::packed) fn dynamic(block: usize) -> ActivationPlan {
        let mode = Activations::Dynamic8;
        ActivationPlan::new(ActivationKind { mode, block }, None)
    }

    pub(in crate::packed) fn fixed(step: f32) -> ActivationPlan {
        let mode = Activations::Static8;
        ActivationPlan::new(ActivationKind { mode, block: 0 }, Some(step))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{affine, tensor};
    use super::super::{PackedLayer, pack};
    use super::testing::{dynamic, fixed};
    use super::*;
    use crate::grid::GridConfig;

    #[test]
    fn a_manifest_without_activations_is_of_float_inputs() {
        let config = GridConfig {
            bits: 4,
            group: 0,
            symmetric: true,
            scale_dtype: ScaleDtype::F16,
        };
        let solved = affine(config, 2, 8, false, 3);
        let text = |activations: &ActivationPlan| {
            let packed = pack("block", tensor(2, 8, false), &solved, activations).unwrap();
            (serde_json::to_string(&packed.manifest).unwrap(), packed)
        };
        let (plain, packed) = text(&ActivationPlan::NONE);
        assert!(!plain.contains("activations"), "as before: {plain}");
        let manifest: LayerManifest = serde_json::from_str(&plain).unwrap();
        let found = unpack_activations(&manifest, &packed.parts).unwrap();
        assert_eq!(found, ActivationPlan::NONE);

        let (with_block, _) = text(&dynamic(32));
        let expected = r#""activations":{"mode":"dynamic8","block":32}"#;
        assert!(with_block.contains(expected), "{with_block}");
        // A symmetric grid stores no zeros: its third part is the step.
        let (_, packed) = text(&fixed(0.5));
        assert_eq!(packed.parts[2].suffix, "activation_step");
        assert_eq!(packed.manifest.stored_bytes(), 2 * (4 + 2) + 4);
    }

    #[test]
    fn activations_that_contradict_themselves_are_errors() {
        let config = GridConfig {
            bits: 4,
            group: 0,
            symmetric: true,
            scale_dtype: ScaleDtype::F16,
        };
        let solved = affine(config, 2, 8, false, 3);
        let packed = pack("block", tensor(2, 8, false), &solved, &fixed(0.5)).unwrap();
        let change = |edit: &dyn Fn(&mut PackedLayer)| {
            let mut changed = packed.clone();
            edit(&mut changed);
            let error = unpack_activations(&changed.manifest, &changed.parts).unwrap_err();
            error.to_string()
        };
        let step = |value: f32| {
            change(&|layer: &mut PackedLayer| {
                layer.parts[2].bytes = value.to_le_bytes().to_vec();
            })
        };
        let cases = [
            ("holds the value 0", step(0.0)),
            ("holds the value -1", step(-1.0)),
            ("holds the value NaN", step(f32::NAN)),
            ("holds the value inf", step(f32::INFINITY)),
            (
                "has 3 bytes",
                change(&|layer| layer.parts[2].bytes.truncate(3)),
            ),
            (
                "lacks its part activation_step",
                change(&|layer| drop(layer.parts.pop())),
            ),
            (
                "blocks of 128",
                change(&|layer| layer.manifest.activations.block = 128),
            ),
            (
                "blocks of 7",
                change(&|layer| layer.manifest.activations = dynamic(7).kind()),
            ),
        ];
        for (expected, found) in cases {
            assert!(
                found.contains(expected),
                "expected {expected:?} in {found:?}"
            );
        }
        for unfit in [
            dynamic(7),
            fixed(0.0),
            ActivationPlan {
                static_step: None,
                ..fixed(1.0)
            },
        ] {
            let refused = pack("block", tensor(2, 8, false), &solved, &unfit);
            assert!(refused.is_err(), "{unfit:?}");
        }
    }
}

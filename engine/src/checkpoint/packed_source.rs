//! Packed layers seen as the dense tensors that they stand for: which stored tensors belong to one, and their values.
//!
//! Two ways to know: the manifest of the `pare` format, and what `external` finds of other programs. Everything that
//! headers can tell is checked when the model is opened; values of scales and indices when a layer is read.
//! The bytes' meaning is `packed`'s knowledge.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use super::error::CheckpointError;
use super::shards::Shards;
use crate::packed::gptq;
use crate::packed::{
    ActivationPlan, CodeKind, ExternalLayer, LayerManifest, MANIFEST_VERSION, METADATA_KEY,
    Manifest, Part, Stored, unpack, unpack_activations,
};
use crate::settings::Activations;
use crate::solved::Solved;
use crate::tensor::{Dtype, SourceError, TensorInfo};

/// A dense tensor that is stored packed.
#[derive(Debug)]
pub(super) struct PackedTensor {
    /// Its dense name.
    pub(super) name: String,
    /// Its dense shape, the f32 that its values come as, and the bytes of its parts.
    pub(super) info: TensorInfo,
    /// The dtype that it had before it was packed, where that is known.
    pub(super) original_dtype: Option<Dtype>,
    /// Its parts, as indices into the shards.
    pub(super) parts: Vec<usize>,
    layer: Layer,
    /// Whether columns of one group lie apart, once somebody asked.
    scattered: OnceLock<bool>,
}

/// How to read the parts.
#[derive(Debug)]
enum Layer {
    /// Parts in the order of `LayerManifest::parts`.
    Pare(LayerManifest),
    /// Parts of these suffixes.
    External {
        layout: ExternalLayer,
        rows: usize,
        columns: usize,
        transposed: bool,
        suffixes: Vec<String>,
    },
}

/// A layer of another program's container.
#[derive(Debug)]
pub(super) struct Found {
    /// The layer's name.
    pub(super) name: String,
    /// How it lies.
    pub(super) layout: ExternalLayer,
    /// Outputs.
    pub(super) rows: usize,
    /// Inputs.
    pub(super) columns: usize,
    /// Whether the dense tensor lies `[in, out]`.
    pub(super) transposed: bool,
    /// The dtype of the dense tensor, where that is known.
    pub(super) original_dtype: Option<Dtype>,
    /// Suffixes of its parts, and where they are.
    pub(super) parts: Vec<(&'static str, usize)>,
}

impl Found {
    /// The dense tensor that it stands for.
    pub(super) fn into_tensor(self, shards: &Shards) -> PackedTensor {
        let (suffixes, parts): (Vec<_>, Vec<_>) = self.parts.into_iter().unzip();
        let shape = match self.transposed {
            true => vec![self.columns, self.rows],
            false => vec![self.rows, self.columns],
        };
        PackedTensor {
            name: format!("{}.weight", self.name),
            info: dense_info(shape, &parts, shards),
            original_dtype: self.original_dtype,
            parts,
            layer: Layer::External {
                layout: self.layout,
                rows: self.rows,
                columns: self.columns,
                transposed: self.transposed,
                suffixes: suffixes.into_iter().map(str::to_owned).collect(),
            },
            scattered: OnceLock::new(),
        }
    }
}

/// The layers that the manifests in files' metadata tell of.
pub(super) fn pare_layers(
    root: &Path,
    metadata: &[BTreeMap<String, String>],
    shards: &Shards,
) -> Result<Vec<PackedTensor>, CheckpointError> {
    let mut layers = Vec::new();
    for text in metadata.iter().filter_map(|texts| texts.get(METADATA_KEY)) {
        for manifest in read_manifest(root, text)?.layers {
            let name = manifest.name.clone();
            let layer = pare_layer(manifest, shards)
                .map_err(|problem| packed_error(root, &name, problem))?;
            layers.push(layer);
        }
    }
    Ok(layers)
}

fn read_manifest(root: &Path, text: &str) -> Result<Manifest, CheckpointError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let wrong = |error: serde_json::Error| CheckpointError::NotJson {
        what: "the manifest of packed layers",
        problem: error.to_string(),
        path: root.to_owned(),
    };
    // The version first: a newer manifest need not have the fields that are known today.
    let found = serde_json::from_str::<Versioned>(text)
        .map_err(wrong)?
        .version;
    if found > MANIFEST_VERSION {
        return Err(CheckpointError::NewerManifest {
            found,
            known: MANIFEST_VERSION,
            path: root.to_owned(),
        });
    }
    serde_json::from_str(text).map_err(wrong)
}

/// The error is the end of a sentence that begins with the layer.
fn pare_layer(manifest: LayerManifest, shards: &Shards) -> Result<PackedTensor, String> {
    let specs = manifest
        .parts()
        .map_err(|error| format!("cannot be read: {error}"))?;
    let mut parts = Vec::with_capacity(specs.len());
    for spec in specs {
        let name = manifest.part_name(spec.suffix);
        let index = find_part(shards, &name)?;
        let found = &shards.tensors[index].info;
        if (found.dtype, &found.shape) != (spec.dtype, &spec.shape) {
            return Err(format!(
                "needs {name} as {} {:?}, but the file has {} {:?}",
                spec.dtype, spec.shape, found.dtype, found.shape
            ));
        }
        parts.push(index);
    }
    Ok(PackedTensor {
        name: manifest.tensor.name.clone(),
        info: dense_info(manifest.tensor.shape.clone(), &parts, shards),
        original_dtype: Some(manifest.tensor.dtype),
        parts,
        layer: Layer::Pare(manifest),
        scattered: OnceLock::new(),
    })
}

pub(super) fn find_part(shards: &Shards, name: &str) -> Result<usize, String> {
    shards
        .find(name)
        .ok_or_else(|| format!("lacks its part {name}"))
}

fn dense_info(shape: Vec<usize>, parts: &[usize], shards: &Shards) -> TensorInfo {
    TensorInfo {
        dtype: Dtype::F32,
        shape,
        size_bytes: parts
            .iter()
            .map(|&part| shards.tensors[part].info.size_bytes)
            .sum(),
    }
}

pub(super) fn packed_error(root: &Path, layer: &str, problem: String) -> CheckpointError {
    CheckpointError::Packed {
        layer: layer.to_owned(),
        problem,
        path: root.to_owned(),
    }
}

impl PackedTensor {
    /// The dense values in stored order.
    pub(super) fn values(&self, shards: &Shards) -> Result<Vec<f32>, SourceError> {
        let values = self.solved(shards)?.dequantize();
        Ok(if self.is_transposed() {
            values.transposed().into_data()
        } else {
            values.into_data()
        })
    }

    /// Whether the dense tensor lies `[in, out]`.
    fn is_transposed(&self) -> bool {
        match &self.layer {
            Layer::Pare(manifest) => manifest.tensor.transposed,
            Layer::External { transposed, .. } => *transposed,
        }
    }

    /// What its manifest says; `None` of other containers.
    pub(super) fn manifest(&self) -> Option<&LayerManifest> {
        match &self.layer {
            Layer::Pare(manifest) => Some(manifest),
            Layer::External { .. } => None,
        }
    }

    /// Whether columns of one group lie apart (act-order of gptq): each column is read as a group of its own. What cannot
    /// be read is an error when it is needed.
    pub(super) fn is_scattered(&self, shards: &Shards) -> bool {
        let Layer::External {
            layout, columns, ..
        } = &self.layer
        else {
            return false;
        };
        let (Some(suffix), Some(grid)) = (layout.group_indices(), layout.grid()) else {
            return false;
        };
        *self
            .scattered
            .get_or_init(|| match self.part(shards, suffix) {
                Some(Ok(part)) => gptq::are_scattered(grid, *columns, &part.bytes),
                _ => false,
            })
    }

    /// How its weights are stored, and how its inputs are rounded.
    pub(super) fn stored(&self, shards: &Shards) -> (Stored, Activations) {
        match &self.layer {
            Layer::Pare(manifest) => (manifest.stored, manifest.activations.mode),
            Layer::External { layout, .. } => {
                let mut stored = layout.stored();
                if let CodeKind::Affine { group, .. } = &mut stored.code
                    && self.is_scattered(shards)
                {
                    *group = 1;
                }
                (stored, layout.activation_kind().mode)
            }
        }
    }

    /// The layer as codes, and what it does to its inputs.
    pub(super) fn layer(&self, shards: &Shards) -> Result<(Solved, ActivationPlan), SourceError> {
        Ok((self.solved(shards)?, self.activations(shards)?))
    }

    /// What the layer does to its inputs.
    pub(super) fn activations(&self, shards: &Shards) -> Result<ActivationPlan, SourceError> {
        let manifest = match &self.layer {
            Layer::Pare(manifest) => manifest,
            Layer::External { layout, .. } => {
                if layout.activation_kind().mode != Activations::Static8 {
                    return Ok(ActivationPlan::new(layout.activation_kind(), None));
                }
                let parts = self.external_parts(shards)?;
                let plan = layout.activations(&parts);
                return plan.map_err(|problem| self.unfit(&problem));
            }
        };
        let mut parts = Vec::new();
        // The step is the last part of all.
        if let (Some(spec), Some(&index)) = (manifest.activations.part(), self.parts.last()) {
            parts.push(spec.filled(shards.read_all(index)?));
        }
        unpack_activations(manifest, &parts).map_err(|error| self.unfit(&error.to_string()))
    }

    fn unfit(&self, problem: &str) -> SourceError {
        SourceError::Unfit {
            name: self.name.clone(),
            problem: format!("cannot be unpacked: {problem}"),
        }
    }

    fn solved(&self, shards: &Shards) -> Result<Solved, SourceError> {
        match &self.layer {
            Layer::Pare(manifest) => {
                let specs = manifest
                    .parts()
                    .map_err(|error| self.unfit(&error.to_string()))?;
                let parts = specs.into_iter().zip(&self.parts);
                let parts = parts
                    .map(|(spec, &part)| Ok(spec.filled(shards.read_all(part)?)))
                    .collect::<Result<Vec<Part>, SourceError>>()?;
                unpack(manifest, &parts).map_err(|error| self.unfit(&error.to_string()))
            }
            Layer::External {
                layout,
                rows,
                columns,
                ..
            } => {
                let parts = self.external_parts(shards)?;
                layout
                    .unpack(*rows, *columns, &parts)
                    .map_err(|problem| self.unfit(&problem))
            }
        }
    }

    /// All parts, named by their suffixes; none of the `pare` format.
    fn external_parts(&self, shards: &Shards) -> Result<Vec<Part>, SourceError> {
        let suffixes = match &self.layer {
            Layer::Pare(_) => &[],
            Layer::External { suffixes, .. } => suffixes.as_slice(),
        };
        let parts = suffixes.iter().zip(&self.parts);
        parts
            .map(|(suffix, &part)| read_part(shards, suffix, part))
            .collect()
    }

    /// The part of that suffix, where there is one.
    fn part(&self, shards: &Shards, suffix: &str) -> Option<Result<Part, SourceError>> {
        let Layer::External { suffixes, .. } = &self.layer else {
            return None;
        };
        let place = suffixes.iter().position(|found| found == suffix)?;
        Some(read_part(shards, suffix, self.parts[place]))
    }
}

fn read_part(shards: &Shards, suffix: &str, part: usize) -> Result<Part, SourceError> {
    let info = &shards.tensors[part].info;
    Ok(Part {
        suffix: suffix.to_owned(),
        dtype: info.dtype,
        shape: info.shape.clone(),
        bytes: shards.read_all(part)?,
    })
}

#[cfg(test)]
mod tests;

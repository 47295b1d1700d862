//! Packed layers seen as the dense tensors that they stand for: which stored tensors belong to one, and their values.
//!
//! Two containers: the manifest of the `pare` format, and the `qweight qzeros scales g_idx` of gptq. Everything that
//! headers can tell is checked when the model is opened; values of scales and indices when a layer is read.
//! The bytes' meaning is `packed`'s knowledge.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use super::error::CheckpointError;
use super::gptq_config::GptqConfig;
use super::shards::Shards;
use crate::grid::{GridConfig, ScaleDtype};
use crate::packed::gptq::{self, CheckpointFormat};
use crate::packed::{
    ActivationPlan, CodeKind, LayerManifest, MANIFEST_VERSION, METADATA_KEY, Manifest, Part,
    Stored, unpack, unpack_activations,
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
    /// Parts `qweight`, `qzeros`, `scales` and perhaps `g_idx`.
    Gptq {
        config: GridConfig,
        rows: usize,
        columns: usize,
        format: CheckpointFormat,
        transposed: bool,
    },
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

/// The layers stored in gptq's tensors.
pub(super) fn gptq_layers(
    root: &Path,
    config: &GptqConfig,
    shards: &Shards,
) -> Result<Vec<PackedTensor>, CheckpointError> {
    let mut layers = Vec::new();
    for tensor in &shards.tensors {
        if let Some(name) = tensor.name.strip_suffix(".qweight") {
            let layer = gptq_layer(name, config, shards)
                .map_err(|problem| packed_error(root, name, problem))?;
            layers.push(layer);
        }
    }
    Ok(layers)
}

/// Shapes speak first; the config says only what they leave open.
fn gptq_layer(name: &str, config: &GptqConfig, shards: &Shards) -> Result<PackedTensor, String> {
    let part = |suffix: &str, dtype: Dtype, dimensions: usize| {
        let index = find_part(shards, &format!("{name}.{suffix}"))?;
        let info = &shards.tensors[index].info;
        if info.dtype != dtype || info.shape.len() != dimensions {
            return Err(format!(
                "needs {suffix} as {dtype} with {dimensions} dimensions, but the file has {} {:?}",
                info.dtype, info.shape
            ));
        }
        Ok((index, &info.shape))
    };
    let (qweight, words) = part("qweight", Dtype::I32, 2)?;
    let (qzeros, _) = part("qzeros", Dtype::I32, 2)?;
    let (scales, groups) = part("scales", Dtype::F16, 2)?;
    let indices = match shards.find(&format!("{name}.g_idx")) {
        Some(_) => Some(part("g_idx", Dtype::I32, 1)?),
        None => None,
    };
    let (bits, group_size) = config.of_layer(name);
    let (bits, columns) = match &indices {
        Some((_, shape)) => (bits_of(words[0], shape[0])?, shape[0]),
        None => (bits, words[0].saturating_mul(32) / usize::from(bits)),
    };
    let rows = words[1];
    // Counts of an empty tensor are bound by no file size.
    if rows == 0 || columns == 0 || words[0] == 0 {
        return Err("has no weights".to_owned());
    }
    let group = group_of(columns, groups[0], group_size)?;
    let mut parts = vec![qweight, qzeros, scales];
    parts.extend(indices.map(|(index, _)| index));
    let transposed = config.transposed;
    let shape = if transposed {
        vec![columns, rows]
    } else {
        vec![rows, columns]
    };
    Ok(PackedTensor {
        name: format!("{name}.weight"),
        info: dense_info(shape, &parts, shards),
        original_dtype: config.original_dtype,
        parts,
        layer: Layer::Gptq {
            config: GridConfig {
                bits,
                group,
                symmetric: false,
                scale_dtype: ScaleDtype::F16,
            },
            rows,
            columns,
            format: config.format,
            transposed,
        },
        scattered: OnceLock::new(),
    })
}

/// Bits of a code from the words that hold `columns` of them.
fn bits_of(words: usize, columns: usize) -> Result<u8, String> {
    [2u8, 3, 4, 8]
        .into_iter()
        .find(|&bits| Some(words) == columns.checked_mul(bits.into()).map(|bits| bits / 32))
        .ok_or_else(|| {
            format!("has {words} rows of words for {columns} inputs, which fits no number of bits")
        })
}

fn group_of(columns: usize, groups: usize, asked: usize) -> Result<usize, String> {
    if groups == 1 {
        Ok(0)
    } else if asked > 0 && columns.div_ceil(asked) == groups {
        Ok(asked)
    } else if groups > 0 && columns.is_multiple_of(groups) {
        Ok(columns / groups)
    } else {
        Err(format!("has {groups} groups for {columns} inputs"))
    }
}

fn find_part(shards: &Shards, name: &str) -> Result<usize, String> {
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

fn packed_error(root: &Path, layer: &str, problem: String) -> CheckpointError {
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
            Layer::Gptq { transposed, .. } => *transposed,
        }
    }

    /// What its manifest says; `None` of other containers.
    pub(super) fn manifest(&self) -> Option<&LayerManifest> {
        match &self.layer {
            Layer::Pare(manifest) => Some(manifest),
            Layer::Gptq { .. } => None,
        }
    }

    /// Whether columns of one group lie apart (act-order of gptq): each column is read as a group of its own. What cannot
    /// be read is an error when it is needed.
    pub(super) fn is_scattered(&self, shards: &Shards) -> bool {
        let Layer::Gptq {
            config, columns, ..
        } = &self.layer
        else {
            return false;
        };
        *self.scattered.get_or_init(|| {
            // The fourth part is `g_idx`.
            let read = self.parts.get(3).map(|&part| shards.read_all(part));
            let Some(Ok(indices)) = read else {
                return false;
            };
            gptq::are_scattered(*config, *columns, &indices)
        })
    }

    /// How its weights are stored, and how its inputs are rounded.
    pub(super) fn stored(&self, shards: &Shards) -> (Stored, Activations) {
        match &self.layer {
            Layer::Pare(manifest) => (manifest.stored, manifest.activations.mode),
            Layer::Gptq { config, .. } => {
                let code = CodeKind::Affine {
                    bits: config.bits,
                    group: match self.is_scattered(shards) {
                        true => 1,
                        false => config.group,
                    },
                    symmetric: config.symmetric,
                    scale_dtype: config.scale_dtype,
                    fractional_zeros: false,
                };
                (code.into(), Activations::None)
            }
        }
    }

    /// The layer as codes, and what it does to its inputs.
    pub(super) fn layer(&self, shards: &Shards) -> Result<(Solved, ActivationPlan), SourceError> {
        Ok((self.solved(shards)?, self.activations(shards)?))
    }

    /// What the layer does to its inputs; the container of gptq knows nothing of them.
    pub(super) fn activations(&self, shards: &Shards) -> Result<ActivationPlan, SourceError> {
        let Layer::Pare(manifest) = &self.layer else {
            return Ok(ActivationPlan::NONE);
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
        let bytes = self
            .parts
            .iter()
            .map(|&part| shards.read_all(part))
            .collect::<Result<Vec<Vec<u8>>, _>>()?;
        match &self.layer {
            Layer::Pare(manifest) => {
                let specs = manifest
                    .parts()
                    .map_err(|error| self.unfit(&error.to_string()))?;
                let parts: Vec<Part> = specs
                    .into_iter()
                    .zip(bytes)
                    .map(|(spec, bytes)| spec.filled(bytes))
                    .collect();
                unpack(manifest, &parts).map_err(|error| self.unfit(&error.to_string()))
            }
            Layer::Gptq {
                config,
                rows,
                columns,
                format,
                ..
            } => {
                let stored = gptq::Stored {
                    qweight: &bytes[0],
                    qzeros: &bytes[1],
                    scales: &bytes[2],
                    g_idx: bytes.get(3).map(Vec::as_slice),
                };
                gptq::unpack(*config, *rows, *columns, *format, stored)
                    .map_err(|problem| self.unfit(&problem))
            }
        }
    }
}

#[cfg(test)]
mod tests;

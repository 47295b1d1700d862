//! What a written model will consist of: every file, tensor, dtype, shape and byte, before anything is solved.
//!
//! A dry run prints these bytes and the writer writes exactly them. `preflight` settles what the container can hold,
//! `plan` lays it out. Reads headers and the sizes of side files only; knows no solver.
//!
//! - `pare`: `model.safetensors` with the parts of `packed` and their manifest; everything else as in the source.
//! - `dense`: names, shapes and dtypes of the source, in one `model.safetensors` or shards of at most 5 GB.
//! - `gptq` and other programs' containers of safetensors: the tensors of `packed::ExternalLayer` in place of
//!   `….weight`, shards likewise, and the quantization in `config.json`.

mod carried;
mod config;
mod error;
mod external;
mod files;
mod inputs;
mod nearest;
mod order;
mod placement;
mod preflight;

pub use carried::{mark_packed, preflight_of};
pub use error::LayoutError;
pub use external::{Values, biases, warn_of_family};
pub(in crate::formats) use external::{inputs_left_alone, placement as external_placement};
pub(in crate::formats) use inputs::no_rounded_inputs;
pub use nearest::{fitted, nearest};
pub(in crate::formats) use placement::untouched;
pub use placement::{Placement, stored_bytes};
pub(in crate::formats) use preflight::left_dense;
pub(in crate::formats) use preflight::preflight_as;
pub use preflight::{Held, preflight, warn_of_nothing_held};

use placement::{parts_of, placed_bytes, placement};

use super::Format;
use super::gguf::{self, GgufPlan};
use super::onnx::{self, OnnxPlan};
use super::store::stream::TensorSpec;
use crate::ggml::GgmlType;
use crate::model::{LayerInfo, LayerKind};
use crate::packed::{LayerManifest, OriginalTensor, PackedSource};
use crate::tensor::{TensorInfo, WeightSource};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Most bytes of tensor data in one file, as the transformers library cuts them.
pub(super) const SHARD_BYTES: u64 = 5_000_000_000;

/// The model that a plan starts from.
#[derive(Clone, Copy)]
pub struct PlanSource<'a> {
    /// Its tensors.
    pub weights: &'a dyn WeightSource,
    /// The same, where it may hold layers packed.
    pub packed: Option<&'a dyn PackedSource>,
    /// Its `config.json`.
    pub config: Option<&'a serde_json::Value>,
    /// Its folder, or its file.
    pub root: &'a Path,
    /// Files to copy along, relative to `root`.
    pub side_files: &'a [PathBuf],
    /// Further side files that the source's container stands for, with their bytes.
    pub made_files: &'a [(PathBuf, Vec<u8>)],
}

impl std::fmt::Debug for PlanSource<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PlanSource({})", self.root.display())
    }
}

/// One layer of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedLayer {
    /// Name as `inspect` prints it.
    pub name: String,
    /// The dense tensor.
    pub tensor: OriginalTensor,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Whether it is a weight of a block.
    pub in_block: bool,
    /// Whether it is a table to look up in.
    pub is_embedding: bool,
    /// How it is stored.
    pub placement: Placement,
    /// What the source says of parts that are taken over.
    pub carried: Option<LayerManifest>,
    /// Bytes of all its tensors.
    pub stored_bytes: u64,
}

/// One tensor of a written file.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTensor {
    /// Name, element type, shape.
    pub spec: TensorSpec,
    /// Where its values come from.
    pub content: Content,
}

/// Where a tensor's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The source's tensor of the same name, or what replaced it in this run.
    Source,
    /// Part `part` of `emit::layer_parts` of layer `layer` of the plan.
    Layer {
        /// Index into `Plan::layers`.
        layer: usize,
        /// Index into the parts.
        part: usize,
    },
}

/// One file.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFile {
    /// Path inside the written folder.
    pub path: PathBuf,
    /// Bytes.
    pub size_bytes: u64,
    /// What is in it.
    pub content: FileContent,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum FileContent {
    /// A safetensors file.
    Tensors {
        /// Texts of its header.
        metadata: Vec<(String, String)>,
        /// The tensors, in the order in which they lie.
        tensors: Vec<PlannedTensor>,
    },
    /// A GGUF file.
    Gguf(Box<GgufPlan>),
    /// The tensors beside an ONNX graph.
    Onnx(Box<OnnxPlan>),
    /// These bytes.
    Text(Vec<u8>),
    /// A copy of this file.
    Copy(PathBuf),
}

/// A whole written model.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The container.
    pub format: Format,
    /// All files.
    pub files: Vec<PlannedFile>,
    /// The layers that were handed in, in the same order.
    pub layers: Vec<PlannedLayer>,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Plan {
    /// What a reader of the report must know of its files.
    pub fn remarks(&self) -> impl Iterator<Item = &String> {
        let notes = self.files.iter().map(|file| match &file.content {
            FileContent::Gguf(plan) => plan.notes.as_slice(),
            _ => &[],
        });
        notes.flatten()
    }
}

/// Lays out the model that `source` becomes when `layers` are stored as `held` (one for each layer).
pub fn plan(
    format: Format,
    source: &PlanSource<'_>,
    layers: &[LayerInfo],
    held: &[Held],
) -> Result<Plan, LayoutError> {
    let placements: Vec<Placement> = layers
        .iter()
        .zip(held)
        .map(|(layer, held)| placement(format, layer, &held.settings))
        .collect();
    plan_placed(format, source, layers, &placements, SHARD_BYTES)
}

/// `plan` with every layer's place decided and a shard size of choice.
pub(super) fn plan_placed(
    format: Format,
    source: &PlanSource<'_>,
    layers: &[LayerInfo],
    placements: &[Placement],
    shard_bytes: u64,
) -> Result<Plan, LayoutError> {
    let mut placements = placements.to_vec();
    external::settle(&mut placements);
    let placements = placements.as_slice();
    let planned = layers
        .iter()
        .zip(placements)
        .map(|(layer, &placement)| planned_layer(source, layer, placement))
        .collect::<Result<Vec<PlannedLayer>, _>>()?;
    let mut plan = Plan {
        format,
        files: Vec::new(),
        layers: planned,
        bytes: 0,
    };
    if format == Format::Gguf {
        plan.files = vec![gguf_file(source, layers, placements)?];
        plan.bytes = plan.files[0].size_bytes;
        return Ok(plan);
    }
    plan.files = match format {
        Format::Onnx => onnx::files(source, layers, placements)?,
        _ => {
            let tensors = all_tensors(source, layers, &plan)?;
            files::tensor_files(&plan, tensors, shard_bytes)
        }
    };
    plan.files.extend(files::side_files(source, &plan)?);
    plan.bytes = plan.files.iter().map(|file| file.size_bytes).sum();
    Ok(plan)
}

fn gguf_file(
    source: &PlanSource<'_>,
    layers: &[LayerInfo],
    placements: &[Placement],
) -> Result<PlannedFile, LayoutError> {
    let kinds = layers.iter().zip(placements);
    let kinds = kinds.filter_map(|(layer, placement)| match placement {
        Placement::Blocks(kind) => Some((layer.tensor.clone(), *kind)),
        _ => None,
    });
    let kinds: HashMap<String, GgmlType> = kinds.collect();
    let mut plan = gguf::plan(source, &kinds, None)?;
    plan.notes.extend(gguf::types::remark(kinds.into_values()));
    Ok(PlannedFile {
        path: PathBuf::from(gguf::FILE_NAME),
        size_bytes: plan.size_bytes,
        content: FileContent::Gguf(Box::new(plan)),
    })
}

fn planned_layer(
    source: &PlanSource<'_>,
    layer: &LayerInfo,
    placement: Placement,
) -> Result<PlannedLayer, LayoutError> {
    if source.weights.info(&layer.tensor).is_none() {
        return Err(LayoutError::NoTensor {
            layer: layer.name.clone(),
            tensor: layer.tensor.clone(),
        });
    }
    let stored_bytes = placed_bytes(layer, placement).ok_or_else(|| LayoutError::TooLarge {
        layer: layer.name.clone(),
    })?;
    let carried = carried::carried(source, layer, placement);
    let dense = || OriginalTensor {
        name: layer.tensor.clone(),
        shape: layer.shape.clone(),
        dtype: layer.dtype,
        transposed: layer.transposed,
    };
    let tensor = carried.as_ref().map(|manifest| manifest.tensor.clone());
    Ok(PlannedLayer {
        name: layer.name.clone(),
        tensor: tensor.unwrap_or_else(dense),
        rows: layer.rows,
        columns: layer.columns,
        in_block: !matches!(layer.kind, LayerKind::Embedding | LayerKind::Head),
        is_embedding: layer.kind == LayerKind::Embedding,
        placement,
        carried,
        stored_bytes,
    })
}

/// All tensors in the source's order, those of one source tensor together.
fn all_tensors(
    source: &PlanSource<'_>,
    layers: &[LayerInfo],
    plan: &Plan,
) -> Result<Vec<Vec<PlannedTensor>>, LayoutError> {
    let by_tensor: HashMap<&str, usize> = layers
        .iter()
        .enumerate()
        .map(|(index, layer)| (layer.tensor.as_str(), index))
        .collect();
    let mut all = Vec::new();
    for name in source.weights.names() {
        let Some(info) = source.weights.info(&name) else {
            continue;
        };
        all.push(match by_tensor.get(name.as_str()) {
            Some(&index) => layer_tensors(index, &layers[index], plan, info),
            None => vec![source_tensor(name, info)],
        });
    }
    let mut names = std::collections::HashSet::new();
    for tensor in all.iter().flatten() {
        if !names.insert(tensor.spec.name.as_str()) {
            return Err(LayoutError::NameTaken {
                name: tensor.spec.name.clone(),
            });
        }
    }
    Ok(all)
}

fn source_tensor(name: String, info: TensorInfo) -> PlannedTensor {
    PlannedTensor {
        spec: TensorSpec {
            name,
            dtype: info.dtype,
            shape: info.shape,
        },
        content: Content::Source,
    }
}

fn layer_tensors(
    index: usize,
    layer: &LayerInfo,
    plan: &Plan,
    info: TensorInfo,
) -> Vec<PlannedTensor> {
    let placement = plan.layers[index].placement;
    let name_of = |suffix: &str| match placement {
        Placement::Source | Placement::Dense | Placement::Blocks(_) | Placement::Onnx(_) => {
            layer.tensor.clone()
        }
        Placement::Pare(..) | Placement::Carried => format!("{}.{suffix}", layer.tensor),
        Placement::External(placed) => {
            format!("{}.{suffix}", external::layer_name(&placed, layer))
        }
    };
    if placement == Placement::Source {
        return vec![source_tensor(layer.tensor.clone(), info)];
    }
    parts_of(layer, &plan.layers[index])
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(part, spec)| PlannedTensor {
            spec: TensorSpec {
                name: name_of(spec.suffix),
                dtype: spec.dtype,
                shape: spec.shape,
            },
            content: match placement {
                // Parts are tensors of the source too.
                Placement::Carried => Content::Source,
                _ => Content::Layer { layer: index, part },
            },
        })
        .collect()
}

#[cfg(test)]
mod tests;

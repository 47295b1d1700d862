//! What an ONNX model will consist of, to the byte, before a value is read: the graph, and the places of its tensors.
//!
//! Reads headers only.

use super::graph::StoredTensor;
use super::network::Network;
use super::proto;
use super::weight::OnnxWeight;
use super::{DATA_FILE, MODEL_FILE};
use crate::formats::layout::{FileContent, LayoutError, Placement, PlanSource, PlannedFile};
use crate::model::{LayerInfo, ModelConfig};
use std::collections::HashMap;
use std::path::PathBuf;

/// Data of so many bytes begins on a page, so that a runtime can map it.
const MAPPED_BYTES: u64 = 1 << 20;

/// A page, and what smaller data is aligned to.
const PAGE_BYTES: u64 = 4096;
const ALIGNMENT: u64 = 64;

/// A model as two files.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxPlan {
    /// The file of the graph.
    pub model: Vec<u8>,
    /// The tensors in the file beside it, in the order in which they lie.
    pub tensors: Vec<StoredTensor>,
    /// Bytes of that file.
    pub data_bytes: u64,
    /// The places of layers by their tensors.
    pub(super) weights: HashMap<String, OnnxWeight>,
}

/// Lays out `source` with layers where `weights` says, by their tensors; all others stay as they are.
pub fn plan(
    source: &PlanSource<'_>,
    weights: HashMap<String, OnnxWeight>,
) -> Result<OnnxPlan, LayoutError> {
    plan_or_say(source, weights).map_err(|problem| LayoutError::Onnx {
        problem,
        path: source.root.to_owned(),
    })
}

/// Both files of `source` with layers in these places.
pub(in crate::formats) fn files(
    source: &PlanSource<'_>,
    layers: &[LayerInfo],
    placements: &[Placement],
) -> Result<Vec<PlannedFile>, LayoutError> {
    let weights = layers.iter().zip(placements);
    let weights = weights.map(|(layer, placement)| {
        let weight = match placement {
            Placement::Onnx(weight) => *weight,
            _ => OnnxWeight::plain(layer),
        };
        (layer.tensor.clone(), weight)
    });
    let plan = plan(source, weights.collect())?;
    let file = |name: &str, size_bytes, content| PlannedFile {
        path: PathBuf::from(name),
        size_bytes,
        content,
    };
    let (graph, data_bytes) = (plan.model.clone(), plan.data_bytes);
    Ok(vec![
        file(MODEL_FILE, graph.len() as u64, FileContent::Text(graph)),
        file(DATA_FILE, data_bytes, FileContent::Onnx(Box::new(plan))),
    ])
}

fn plan_or_say(
    source: &PlanSource<'_>,
    weights: HashMap<String, OnnxWeight>,
) -> Result<OnnxPlan, String> {
    let json = source
        .config
        .ok_or("it has no config.json, so its architecture is not known")?;
    let config = ModelConfig::parse(json).map_err(|error| error.to_string())?;
    let checked = config.check(source.weights);
    checked.map_err(|error| error.to_string())?;
    let mut graph = Network::graph(&config, source.weights, &weights)?;
    let data_bytes = place(&mut graph.stored).ok_or("it is too large for any file")?;
    Ok(OnnxPlan {
        model: proto::model(&graph, config.family.name()),
        tensors: graph.stored,
        data_bytes,
        weights,
    })
}

/// Puts tensors one behind the other and tells the bytes of all.
fn place(tensors: &mut [StoredTensor]) -> Option<u64> {
    let mut end = 0u64;
    for tensor in tensors {
        let alignment = match tensor.size_bytes {
            MAPPED_BYTES.. => PAGE_BYTES,
            _ => ALIGNMENT,
        };
        tensor.offset = end.checked_next_multiple_of(alignment)?;
        end = tensor.offset.checked_add(tensor.size_bytes)?;
    }
    Some(end)
}

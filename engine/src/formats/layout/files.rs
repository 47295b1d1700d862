//! Planned tensors and side files, cut into the files of a written model.
//!
//! Knows nothing of layers but their places; reads no file, only the sizes of those that are copied.

use super::{
    FileContent, LayoutError, Placement, Plan, PlanSource, PlannedFile, PlannedLayer,
    PlannedTensor, config, external, order,
};
use crate::formats::Format;
use crate::formats::store::stream::{TensorSpec, file_bytes};
use crate::packed::{LayerManifest, METADATA_KEY, Manifest};
use std::path::{Path, PathBuf};

/// Side files that speak of an earlier quantization.
const QUANTIZATION_FILES: [&str; 2] = ["quantize_config.json", "quant_config.json"];

/// The files that hold tensors, and the index of several.
pub(super) fn tensor_files(
    plan: &Plan,
    tensors: Vec<Vec<PlannedTensor>>,
    shard_bytes: u64,
) -> Vec<PlannedFile> {
    let shard_bytes = match plan.format {
        Format::Pare => u64::MAX,
        _ => shard_bytes,
    };
    let shards = cut(tensors, shard_bytes);
    let count = shards.len();
    let mut files = Vec::new();
    let mut homes = serde_json::Map::new();
    let mut total_size = 0;
    for (index, mut tensors) in shards.into_iter().enumerate() {
        let name = if count == 1 {
            "model.safetensors".to_owned()
        } else {
            format!("model-{:05}-of-{count:05}.safetensors", index + 1)
        };
        for tensor in &tensors {
            homes.insert(tensor.spec.name.clone(), name.clone().into());
            total_size += tensor.spec.size_bytes();
        }
        order::align(&mut tensors);
        let specs: Vec<TensorSpec> = tensors.iter().map(|tensor| tensor.spec.clone()).collect();
        let metadata = metadata(plan);
        files.push(PlannedFile {
            path: PathBuf::from(name),
            size_bytes: file_bytes(&specs, &metadata),
            content: FileContent::Tensors { metadata, tensors },
        });
    }
    if count > 1 {
        let index = serde_json::json!({
            "metadata": { "total_size": total_size },
            "weight_map": homes,
        });
        files.push(text_file(
            "model.safetensors.index.json",
            format!("{index:#}\n"),
        ));
    }
    files
}

/// Cuts into runs of at most `shard_bytes`, keeping together what came from one tensor. At least one run.
fn cut(tensors: Vec<Vec<PlannedTensor>>, shard_bytes: u64) -> Vec<Vec<PlannedTensor>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0u64;
    for group in tensors {
        let size: u64 = group.iter().map(|tensor| tensor.spec.size_bytes()).sum();
        if filled > 0 && filled.saturating_add(size) > shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += size;
        if let Some(shard) = shards.last_mut() {
            shard.extend(group);
        }
    }
    shards
}

fn metadata(plan: &Plan) -> Vec<(String, String)> {
    let mut entries = vec![("format".to_owned(), "pt".to_owned())];
    if plan.format == Format::Pare {
        let layers = plan.layers.iter().filter_map(planned_manifest).collect();
        let manifest = Manifest::new(layers);
        let text = serde_json::to_string(&manifest).expect("a manifest always has a text");
        entries.push((METADATA_KEY.to_owned(), text));
    }
    entries
}

fn planned_manifest(layer: &PlannedLayer) -> Option<LayerManifest> {
    let Placement::Pare(stored, activations) = layer.placement else {
        return layer.carried.clone();
    };
    Some(LayerManifest::planned(
        &layer.name,
        layer.tensor.clone(),
        layer.rows,
        layer.columns,
        stored,
        activations,
    ))
}

/// The files beside them, `config.json` rewritten where the container needs it.
pub(super) fn side_files(
    source: &PlanSource<'_>,
    plan: &Plan,
) -> Result<Vec<PlannedFile>, LayoutError> {
    let config = source.config.and_then(serde_json::Value::as_object);
    let own_config = match (external::quantization(plan), config) {
        (Some(quantization), Some(config)) => Some(config::with(config, quantization)),
        (Some(_), None) => {
            return Err(LayoutError::NoConfig {
                format: plan.format.word(),
                path: source.root.to_owned(),
            });
        }
        (None, _) => source.config.and_then(config::without_quantization),
    };
    let mut files = Vec::new();
    for path in source.side_files {
        if QUANTIZATION_FILES
            .iter()
            .any(|name| path == Path::new(name))
        {
            continue;
        }
        match &own_config {
            Some(text) if path == Path::new("config.json") => files.push(PlannedFile {
                path: path.clone(),
                size_bytes: text.len() as u64,
                content: FileContent::Text(text.clone()),
            }),
            _ => files.push(copied_file(source.root, path)?),
        }
    }
    for (path, text) in source.made_files {
        let own = own_config.as_ref();
        let text = own
            .filter(|_| path == Path::new("config.json"))
            .unwrap_or(text);
        files.push(PlannedFile {
            path: path.clone(),
            size_bytes: text.len() as u64,
            content: FileContent::Text(text.clone()),
        });
    }
    Ok(files)
}

fn copied_file(root: &Path, path: &Path) -> Result<PlannedFile, LayoutError> {
    let from = root.join(path);
    let metadata = std::fs::metadata(&from).map_err(|source| LayoutError::SideFile {
        source,
        path: from.clone(),
    })?;
    Ok(PlannedFile {
        path: path.to_owned(),
        size_bytes: metadata.len(),
        content: FileContent::Copy(from),
    })
}

fn text_file(path: &str, text: String) -> PlannedFile {
    PlannedFile {
        path: PathBuf::from(path),
        size_bytes: text.len() as u64,
        content: FileContent::Text(text.into_bytes()),
    }
}

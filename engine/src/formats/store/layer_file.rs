//! One solved layer on disk: its packed parts, and its manifest and report as JSON in the file's metadata.
//!
//! A file that is not whole, or not what its name says, is no layer: the run solves it again.

use super::StoreError;
use super::stream::{TensorSpec, write_tensors};
use crate::packed::{
    ActivationPlan, LayerManifest, METADATA_KEY, OriginalTensor, PackedLayer, Part, pack, unpack,
    unpack_activations,
};
use crate::report::LayerReport;
use crate::solved::Solved;
use crate::units::hex;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Key of the report in the file's metadata.
const REPORT_KEY: &str = "pare_report";

/// A layer as it was stored.
#[derive(Debug, Clone)]
pub struct StoredLayer {
    /// What the parts mean.
    pub manifest: LayerManifest,
    /// Codes and grid.
    pub solved: Solved,
    /// What it does to its inputs.
    pub activations: ActivationPlan,
    /// What was measured.
    pub report: LayerReport,
}

/// The file's name: the layer's, where a file can be called so, else a hash of it.
pub(super) fn file_name(layer: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if layer.len() <= 200 && !layer.starts_with('.') && layer.chars().all(plain) {
        return format!("{layer}.safetensors");
    }
    let digest = Sha256::digest(layer.as_bytes());
    format!("layer-{}.safetensors", hex(&digest[..16]))
}

/// Writes a layer atomically.
pub(super) fn write_layer(
    path: &Path,
    tensor: OriginalTensor,
    solved: &Solved,
    activations: &ActivationPlan,
    report: &LayerReport,
) -> Result<(), StoreError> {
    let PackedLayer { manifest, parts } = pack(&report.name, tensor, solved, activations)?;
    let metadata = vec![
        (METADATA_KEY.to_owned(), to_json(&manifest, path)?),
        (REPORT_KEY.to_owned(), to_json(report, path)?),
    ];
    let specs: Vec<TensorSpec> = parts
        .iter()
        .map(|part| TensorSpec {
            name: part.suffix.clone(),
            dtype: part.dtype,
            shape: part.shape.clone(),
        })
        .collect();
    write_tensors(path, &specs, &metadata, |index, writer| {
        writer
            .write_all(&parts[index].bytes)
            .map_err(StoreError::io("could not be written", path))
    })
}

/// Reads a layer; `None` if there is no file, or one that is damaged or of another layer.
pub(super) fn read_layer(path: &Path, layer: &str) -> Result<Option<StoredLayer>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(StoreError::io("could not be read", path)(error)),
    };
    Ok(parse_layer(&bytes).filter(|stored| stored.manifest.name == layer))
}

/// Whether a file does not exist, also because its folder is the single file of a model.
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

fn parse_layer(bytes: &[u8]) -> Option<StoredLayer> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let texts = metadata.metadata().as_ref()?;
    let manifest: LayerManifest = serde_json::from_str(texts.get(METADATA_KEY)?).ok()?;
    let report: LayerReport = serde_json::from_str(texts.get(REPORT_KEY)?).ok()?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let part = |spec: &crate::packed::PartSpec| {
        let data = file.tensor(spec.suffix).ok()?.data().to_vec();
        Some(Part {
            suffix: spec.suffix.to_owned(),
            dtype: spec.dtype,
            shape: spec.shape.clone(),
            bytes: data,
        })
    };
    let parts = manifest
        .parts()
        .ok()?
        .iter()
        .map(part)
        .collect::<Option<Vec<_>>>()?;
    let solved = unpack(&manifest, &parts).ok()?;
    let activations = unpack_activations(&manifest, &parts).ok()?;
    Some(StoredLayer {
        manifest,
        solved,
        activations,
        report,
    })
}

fn to_json(value: &impl serde::Serialize, path: &Path) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::io("could not be written", path)(error.into()))
}

//! Models on disk: bytes -> validated headers -> `WeightSource`. Opening reads headers (and what bitsandbytes and
//! compressed-tensors say of shapes in tensors of a few bytes, bounded before they are read); values are read at
//! positions when asked. Packed layers (format `pare`, and those of other programs) appear as the dense tensors that they stand for.
//!
//! Every file is hostile: a wrong one is an error that says what to do, never a panic, a huge allocation or a read
//! outside the folder. Knows no architecture; what a tensor means is `model`'s question.

mod error;
mod external;
mod files;
mod folder;
pub mod gguf;
mod gguf_model;
pub mod header;
mod packed_source;
mod pooling;
mod reading;
mod rows;
mod shards;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::packed::{ActivationPlan, External, Stored};
use crate::settings::Activations;
use crate::tensor::{Dtype, SourceError};
pub use error::CheckpointError;
use external::Quantization;
use folder::WeightFiles;
use gguf::GgufTensor;
use packed_source::PackedTensor;
pub use pooling::{PoolingProblem, pooling_of};
use shards::Shards;

/// How a model lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Container {
    /// A folder with `config.json` and safetensors files.
    HuggingFace,
    /// One safetensors file.
    SingleFile,
    /// The `pare` format: packed layers and a manifest.
    Pare,
    /// A folder with layers in the `gptq` layout.
    Gptq,
    /// A folder with layers that MLX quantized.
    Mlx,
    /// A folder with 4-bit layers of bitsandbytes.
    BnbNf4,
    /// A folder with layers in the layouts of compressed-tensors.
    CompressedTensors,
    /// A folder with layers in AutoAWQ's layout.
    Awq,
    /// A GGUF file of llama.cpp, or a series of them.
    Gguf,
}

impl From<External> for Container {
    fn from(external: External) -> Self {
        match external {
            External::Gptq => Self::Gptq,
            External::Mlx => Self::Mlx,
            External::Bnb => Self::BnbNf4,
            External::CompressedTensors => Self::CompressedTensors,
            External::Awq => Self::Awq,
        }
    }
}

/// A tensor whose element type cannot be read; listed, so that nothing is lost silently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// Its element type as the file spells it.
    pub dtype: String,
    /// Dimensions as stored.
    pub shape: Vec<usize>,
    /// Bytes as stored.
    pub size_bytes: u64,
}

/// An open model: headers in memory, files open, values on disk.
#[derive(Debug)]
pub struct Checkpoint {
    root: PathBuf,
    container: Container,
    config: Option<serde_json::Value>,
    side_files: Vec<PathBuf>,
    /// What the model's config asks for that is not done here, in sentences.
    notes: Vec<String>,
    /// Side files that are made from the container itself.
    made_files: Vec<(PathBuf, Vec<u8>)>,
    shards: Shards,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    /// The packed entry whose bytes were read last, with its values: such reads come piece by piece.
    unpacked: Mutex<Option<(usize, Arc<Vec<f32>>)>>,
}

/// A tensor as others see it.
#[derive(Debug)]
enum Entry {
    /// An index into the shards.
    Plain(usize),
    /// Made of several stored tensors.
    Packed(Box<PackedTensor>),
    /// A tensor of a GGUF file.
    Blocks(Box<GgufTensor>),
}

impl Checkpoint {
    /// Opens a model folder, a `.safetensors` or a `.gguf` file.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => CheckpointError::NotFound {
                path: path.to_owned(),
            },
            _ => CheckpointError::Io {
                what: "the model",
                source,
                path: path.to_owned(),
            },
        })?;
        if metadata.is_dir() {
            return Self::open_folder(path);
        }
        if !metadata.is_file() {
            return Err(CheckpointError::NotAFile {
                path: path.to_owned(),
            });
        }
        if has_extension(path, "gguf") {
            return Self::open_gguf(path, path);
        }
        if !has_extension(path, "safetensors") {
            return Err(CheckpointError::UnknownFile {
                path: path.to_owned(),
            });
        }
        let (shards, metadata) = Shards::open(path, &[path.to_owned()])?;
        let packed = packed_source::pare_layers(path, &metadata, &shards)?;
        Self::new(path, Container::SingleFile, shards, packed)
    }

    fn open_folder(folder: &Path) -> Result<Self, CheckpointError> {
        if let Some(file) = folder::only_gguf(folder)? {
            return Self::open_gguf(folder, &file);
        }
        let WeightFiles { paths, promised } = folder::find_weights(folder)?;
        let (mut shards, metadata) = Shards::open(folder, &paths)?;
        shards.keep_promises(folder, &promised)?;
        let config = folder::read_optional(folder, "config.json", "config.json")?;
        if let Some(config) = &config {
            external::rename(folder, config, &mut shards)?;
        }
        let mut packed = packed_source::pare_layers(folder, &metadata, &shards)?;
        let mut container = Container::HuggingFace;
        let mut notes = Vec::new();
        if packed.is_empty()
            && let Some(quantization) = Quantization::of_folder(folder, config.as_ref())?
        {
            packed = quantization.layers(folder, &shards)?;
            notes = quantization.notes();
            if !packed.is_empty() {
                container = quantization.external().into();
            }
        }
        if packed.is_empty() {
            notes.extend(external::unspoken(&shards));
        }
        let mut checkpoint = Self::new(folder, container, shards, packed)?;
        checkpoint.config = config;
        checkpoint.notes = notes;
        checkpoint.side_files = folder::side_files(folder)?;
        Ok(checkpoint)
    }

    /// `container` holds where no layer is packed, or all are of another program.
    fn new(
        root: &Path,
        container: Container,
        shards: Shards,
        packed: Vec<PackedTensor>,
    ) -> Result<Self, CheckpointError> {
        let container = match container {
            Container::HuggingFace | Container::SingleFile if !packed.is_empty() => Container::Pare,
            other => other,
        };
        let mut checkpoint = Self {
            root: root.to_owned(),
            container,
            config: None,
            side_files: Vec::new(),
            notes: Vec::new(),
            made_files: Vec::new(),
            entries: entries(&shards, packed),
            shards,
            by_name: HashMap::new(),
            unpacked: Mutex::new(None),
        };
        for index in 0..checkpoint.entries.len() {
            let name = checkpoint.name_of(index).to_owned();
            if checkpoint.by_name.insert(name.clone(), index).is_some() {
                return Err(CheckpointError::Packed {
                    layer: name,
                    problem: "stands in the model twice".to_owned(),
                    path: root.to_owned(),
                });
            }
        }
        Ok(checkpoint)
    }

    /// The path that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How the model lies on disk.
    pub fn container(&self) -> Container {
        self.container
    }

    /// `config.json`, where the folder has one.
    pub fn config_json(&self) -> Option<&serde_json::Value> {
        self.config.as_ref()
    }

    /// The files that hold tensors, in the order in which they were opened.
    pub fn tensor_files(&self) -> Vec<&Path> {
        let files = self.shards.files.iter();
        files.map(|file| file.path.as_path()).collect()
    }

    /// Files to copy beside a rewritten model (config, tokenizer, pooling, licence), relative to `root`, sorted.
    pub fn side_files(&self) -> &[PathBuf] {
        &self.side_files
    }

    /// What the model's config asks of whoever runs it and is not done here, in sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Tensors whose element type cannot be read.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.shards.unreadable
    }

    /// An error where a tensor cannot be read: a job that rewrites the model would lose it.
    pub fn check_readable(&self) -> Result<(), CheckpointError> {
        match self.unreadable() {
            [] => Ok(()),
            [first, others @ ..] => Err(CheckpointError::Unreadable {
                tensor: first.name.clone(),
                others: others.len(),
                dtype: first.dtype.clone(),
                path: self.root.clone(),
            }),
        }
    }

    /// Whether a tensor is stored packed; then its `info` tells of f32 values and of the bytes of its parts.
    pub fn is_packed(&self, name: &str) -> bool {
        let index = self.by_name.get(name);
        index.is_some_and(|&index| matches!(self.entries[index], Entry::Packed(_)))
    }

    /// How a packed tensor's weights are stored, and how its inputs are rounded; `None` of any other.
    pub fn stored(&self, name: &str) -> Option<(Stored, Activations)> {
        match &self.entries[*self.by_name.get(name)?] {
            Entry::Plain(_) | Entry::Blocks(_) => None,
            Entry::Packed(packed) => Some(packed.stored(&self.shards)),
        }
    }

    /// The dtype of a tensor before it was packed, where known; of any other tensor, the stored one.
    pub fn original_dtype(&self, name: &str) -> Option<Dtype> {
        match &self.entries[*self.by_name.get(name)?] {
            Entry::Plain(stored) => Some(self.shards.tensors[*stored].info.dtype),
            Entry::Packed(packed) => packed.original_dtype,
            Entry::Blocks(blocks) => (!blocks.kind.is_quantized()).then_some(blocks.info.dtype),
        }
    }

    fn name_of(&self, index: usize) -> &str {
        match &self.entries[index] {
            Entry::Plain(stored) => &self.shards.tensors[*stored].name,
            Entry::Packed(packed) => &packed.name,
            Entry::Blocks(blocks) => &blocks.name,
        }
    }

    fn find(&self, name: &str) -> Result<usize, SourceError> {
        if let Some(&index) = self.by_name.get(name) {
            return Ok(index);
        }
        let unreadable = self.shards.find_unreadable(name);
        let name = name.to_owned();
        Err(match unreadable {
            Some(unreadable) => SourceError::Unfit {
                name,
                problem: format!("is stored as {}, which cannot be read", unreadable.dtype),
            },
            None => SourceError::Missing { name },
        })
    }

    /// A stored tensor that stands for itself only as a part of a packed one: it is not listed, but whoever knows its name
    /// can read it.
    fn part(&self, name: &str) -> Option<usize> {
        match self.by_name.contains_key(name) {
            true => None,
            false => self.shards.find(name),
        }
    }

    /// What a layer does to its inputs when it runs; of plain tensors, nothing.
    pub fn activations(&self, tensor: &str) -> Result<ActivationPlan, SourceError> {
        match &self.entries[self.find(tensor)?] {
            Entry::Plain(_) | Entry::Blocks(_) => Ok(ActivationPlan::NONE),
            Entry::Packed(packed) => packed.activations(&self.shards),
        }
    }

    /// The values of a packed entry; the last one asked for is kept until its last byte was read.
    fn unpacked(&self, index: usize) -> Result<Arc<Vec<f32>>, SourceError> {
        let mut last = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kept, values)) = last.as_ref()
            && *kept == index
        {
            return Ok(Arc::clone(values));
        }
        // Two tensors at once would double the memory.
        *last = None;
        let values = Arc::new(self.values(&self.entries[index])?);
        *last = Some((index, Arc::clone(&values)));
        Ok(values)
    }

    /// All values of an entry.
    fn values(&self, entry: &Entry) -> Result<Vec<f32>, SourceError> {
        match entry {
            Entry::Plain(stored) => self.shards.read_floats(*stored),
            Entry::Packed(packed) => packed.values(&self.shards),
            Entry::Blocks(blocks) => blocks.values(&self.shards.files),
        }
    }

    fn forget_unpacked(&self) {
        *self.unpacked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Tensors in stored order, each packed one in the place of its first part.
fn entries(shards: &Shards, packed: Vec<PackedTensor>) -> Vec<Entry> {
    let all_parts: HashSet<usize> = packed
        .iter()
        .flat_map(|tensor| tensor.parts.clone())
        .collect();
    let mut by_first_part: BTreeMap<usize, Vec<PackedTensor>> = BTreeMap::new();
    for tensor in packed {
        let first = tensor.parts.iter().copied().min().unwrap_or_default();
        by_first_part.entry(first).or_default().push(tensor);
    }
    let mut entries = Vec::with_capacity(shards.tensors.len());
    for stored in 0..shards.tensors.len() {
        let begins_here = by_first_part.remove(&stored).unwrap_or_default();
        entries.extend(
            begins_here
                .into_iter()
                .map(|tensor| Entry::Packed(Box::new(tensor))),
        );
        if !all_parts.contains(&stored) {
            entries.push(Entry::Plain(stored));
        }
    }
    entries
}

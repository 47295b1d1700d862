//! Models on disk: bytes -> validated headers -> [`WeightSource`]. Opening reads headers only; values are read at
//! positions when asked.
//!
//! Every file is hostile: a wrong one is an error that says what to do, never a panic, a huge allocation or a read
//! outside the folder. Knows no architecture; what a tensor means is `model`'s question.

mod error;
mod files;
mod folder;
pub mod header;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::tensor::{SourceError, TensorInfo, WeightSource};
pub use error::CheckpointError;
use files::TensorFile;
use folder::WeightFiles;

const MAX_CONFIG_BYTES: u64 = 16_000_000;

/// Elements that are read and raised to f32 at a time.
const CHUNK_ELEMENTS: usize = 128 * 1024;

/// How a model lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Container {
    /// A folder with `config.json` and safetensors files.
    HuggingFace,
    /// One safetensors file.
    SingleFile,
    /// A folder in the `pare` format.
    Pare,
    /// A folder in the `gptq` layout.
    Gptq,
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
    files: Vec<TensorFile>,
    side_files: Vec<PathBuf>,
    tensors: Vec<StoredTensor>,
    by_name: HashMap<String, usize>,
    unreadable: Vec<Unreadable>,
}

/// A tensor and where its bytes lie.
#[derive(Debug)]
struct StoredTensor {
    name: String,
    info: TensorInfo,
    file: usize,
    start: u64,
}

impl Checkpoint {
    /// Opens a model folder or a `.safetensors` file.
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
        if path.extension().is_none_or(|found| found != "safetensors") {
            return Err(CheckpointError::UnknownFile {
                path: path.to_owned(),
            });
        }
        Self::open_files(path, Container::SingleFile, &[path.to_owned()])
    }

    fn open_folder(folder: &Path) -> Result<Self, CheckpointError> {
        let WeightFiles { paths, promised } = folder::find_weights(folder)?;
        let mut checkpoint = Self::open_files(folder, Container::HuggingFace, &paths)?;
        checkpoint.keep_promises(&promised)?;
        let config = folder.join("config.json");
        if config.exists() {
            let value = files::read_json(&config, "config.json", MAX_CONFIG_BYTES)?;
            checkpoint.config = Some(value);
        }
        checkpoint.side_files = folder::side_files(folder)?;
        Ok(checkpoint)
    }

    fn open_files(
        root: &Path,
        container: Container,
        paths: &[PathBuf],
    ) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self {
            root: root.to_owned(),
            container,
            config: None,
            files: Vec::with_capacity(paths.len()),
            side_files: Vec::new(),
            tensors: Vec::new(),
            by_name: HashMap::new(),
            unreadable: Vec::new(),
        };
        for path in paths {
            let (file, header) = TensorFile::open(path)?;
            checkpoint.files.push(file);
            for tensor in header.tensors {
                checkpoint.add(tensor)?;
            }
        }
        Ok(checkpoint)
    }

    /// Takes up a tensor of the file opened last.
    fn add(&mut self, tensor: header::HeaderTensor) -> Result<(), CheckpointError> {
        let Some(dtype) = values::dtype_of(tensor.dtype) else {
            self.unreadable.push(Unreadable {
                name: tensor.name,
                dtype: format!("{:?}", tensor.dtype),
                shape: tensor.shape,
                size_bytes: tensor.size_bytes,
            });
            return Ok(());
        };
        let file = self.files.len() - 1;
        if let Some(&earlier) = self.by_name.get(&tensor.name) {
            return Err(CheckpointError::TensorTwice {
                tensor: tensor.name,
                first: file_name(&self.files[self.tensors[earlier].file]),
                second: file_name(&self.files[file]),
                path: self.root.clone(),
            });
        }
        self.by_name.insert(tensor.name.clone(), self.tensors.len());
        self.tensors.push(StoredTensor {
            name: tensor.name,
            info: TensorInfo {
                dtype,
                shape: tensor.shape,
                size_bytes: tensor.size_bytes,
            },
            file,
            start: tensor.start,
        });
        Ok(())
    }

    /// Checks that each tensor lies where the index says.
    fn keep_promises(
        &self,
        promised: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), CheckpointError> {
        for (tensor, shard) in promised {
            let held = match self.by_name.get(tensor) {
                Some(&index) => file_name(&self.files[self.tensors[index].file]) == *shard,
                None => self.unreadable.iter().any(|other| other.name == *tensor),
            };
            if !held {
                return Err(CheckpointError::MissingTensor {
                    tensor: tensor.clone(),
                    shard: shard.clone(),
                    path: self.root.clone(),
                });
            }
        }
        Ok(())
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
        self.files.iter().map(|file| file.path.as_path()).collect()
    }

    /// Files to copy beside a rewritten model (config, tokenizer, pooling, licence), relative to `root`, sorted.
    pub fn side_files(&self) -> &[PathBuf] {
        &self.side_files
    }

    /// Tensors whose element type cannot be read. A job that rewrites the model must refuse to lose them.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    fn stored(&self, name: &str) -> Result<&StoredTensor, SourceError> {
        if let Some(&index) = self.by_name.get(name) {
            return Ok(&self.tensors[index]);
        }
        let name = name.to_owned();
        Err(
            match self.unreadable.iter().find(|other| other.name == name) {
                Some(unreadable) => SourceError::Unfit {
                    name,
                    problem: format!("is stored as {}, which cannot be read", unreadable.dtype),
                },
                None => SourceError::Missing { name },
            },
        )
    }

    /// Fills `buffer` from byte `offset` of the tensor on; the caller keeps inside the tensor.
    fn read_stored(
        &self,
        tensor: &StoredTensor,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), SourceError> {
        let file = &self.files[tensor.file];
        file.read_at(tensor.start + offset, buffer)
            .map_err(|source| SourceError::Io {
                name: tensor.name.clone(),
                source,
                path: file.path.display().to_string(),
            })
    }

    fn read_floats(&self, tensor: &StoredTensor) -> Result<Vec<f32>, SourceError> {
        let dtype = tensor.info.dtype;
        if !dtype.is_float() {
            return Err(SourceError::Unfit {
                name: tensor.name.clone(),
                problem: format!("holds {dtype} integers where floats are needed"),
            });
        }
        // The header was checked: the elements lie inside the file, so this is at most four times its bytes.
        let mut values = vec![0.0; (tensor.info.size_bytes as usize) / dtype.size_bytes()];
        values
            .par_chunks_mut(CHUNK_ELEMENTS)
            .enumerate()
            .try_for_each_init(Vec::new, |bytes, (chunk, output)| {
                bytes.resize(output.len() * dtype.size_bytes(), 0);
                let offset = chunk * CHUNK_ELEMENTS * dtype.size_bytes();
                self.read_stored(tensor, offset as u64, bytes)?;
                values::raise_to_f32(dtype, bytes, output);
                Ok(())
            })?;
        Ok(values)
    }
}

impl WeightSource for Checkpoint {
    fn names(&self) -> Vec<String> {
        self.tensors
            .iter()
            .map(|tensor| tensor.name.clone())
            .collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let index = *self.by_name.get(name)?;
        Some(self.tensors[index].info.clone())
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        self.read_floats(self.stored(name)?)
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let tensor = self.stored(name)?;
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > tensor.info.size_bytes) {
            return Err(SourceError::Unfit {
                name: name.to_owned(),
                problem: format!(
                    "has {} bytes; {} bytes from {offset} on were asked for",
                    tensor.info.size_bytes,
                    buffer.len()
                ),
            });
        }
        self.read_stored(tensor, offset, buffer)
    }
}

fn file_name(file: &TensorFile) -> String {
    file.path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

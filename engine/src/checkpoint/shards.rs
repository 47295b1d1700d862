//! All tensors of a model's files as they are stored, packed parts included.
//!
//! Knows bytes, names and places; what a packed part means is `packed_source`'s question.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Unreadable;
use super::error::CheckpointError;
use super::files::TensorFile;
use super::header::{Header, HeaderTensor};
use super::values::{dtype_of, raise_to_f32};
use crate::tensor::{Dtype, SourceError, TensorInfo};

/// Elements that are read and raised to f32 at a time.
pub(super) const CHUNK_ELEMENTS: usize = 128 * 1024;

/// The files of a model and everything that their headers tell.
#[derive(Debug, Default)]
pub(super) struct Shards {
    pub(super) files: Vec<TensorFile>,
    /// Readable tensors, in the order of files and offsets.
    pub(super) tensors: Vec<StoredTensor>,
    pub(super) unreadable: Vec<Unreadable>,
    /// The file of each unreadable tensor.
    unreadable_files: Vec<usize>,
    by_name: HashMap<String, Found>,
}

/// Where a name leads.
#[derive(Debug, Clone, Copy)]
enum Found {
    /// Index into `tensors`.
    Readable(usize),
    /// Index into `unreadable`.
    Unreadable(usize),
}

/// A tensor and where its bytes lie.
#[derive(Debug)]
pub(super) struct StoredTensor {
    pub(super) name: String,
    pub(super) info: TensorInfo,
    file: usize,
    start: u64,
}

impl Shards {
    /// Opens `paths` and hands over each header's metadata. No tensor data is read.
    pub(super) fn open(
        root: &Path,
        paths: &[PathBuf],
    ) -> Result<(Self, Vec<BTreeMap<String, String>>), CheckpointError> {
        let mut shards = Self::default();
        let mut metadata = Vec::with_capacity(paths.len());
        for path in paths {
            let (file, header) = TensorFile::open(path)?;
            let Header {
                metadata: texts,
                tensors,
            } = header;
            shards.files.push(file);
            metadata.push(texts);
            for tensor in tensors {
                shards.add(root, tensor)?;
            }
        }
        Ok((shards, metadata))
    }

    /// Files whose tensors are listed elsewhere.
    pub(super) fn of_files(files: Vec<TensorFile>, unreadable: Vec<Unreadable>) -> Self {
        let places = unreadable.iter().enumerate();
        Self {
            by_name: places
                .map(|(index, tensor)| (tensor.name.clone(), Found::Unreadable(index)))
                .collect(),
            unreadable_files: vec![0; unreadable.len()],
            files,
            unreadable,
            ..Self::default()
        }
    }

    /// Takes up a tensor of the file opened last.
    fn add(&mut self, root: &Path, tensor: HeaderTensor) -> Result<(), CheckpointError> {
        let file = self.files.len() - 1;
        if let Some(&earlier) = self.by_name.get(&tensor.name) {
            return Err(CheckpointError::TensorTwice {
                tensor: tensor.name,
                first: self.file_name(self.file_of(earlier)),
                second: self.file_name(file),
                path: root.to_owned(),
            });
        }
        let name = tensor.name.clone();
        let found = match dtype_of(tensor.dtype) {
            Some(dtype) => {
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
                Found::Readable(self.tensors.len() - 1)
            }
            None => {
                self.unreadable.push(Unreadable {
                    name: tensor.name,
                    dtype: format!("{:?}", tensor.dtype),
                    shape: tensor.shape,
                    size_bytes: tensor.size_bytes,
                });
                self.unreadable_files.push(file);
                Found::Unreadable(self.unreadable.len() - 1)
            }
        };
        self.by_name.insert(name, found);
        Ok(())
    }

    /// Gives tensors other names, where `renamed` knows one.
    pub(super) fn rename(
        &mut self,
        root: &Path,
        renamed: impl Fn(&str) -> Option<String>,
    ) -> Result<(), CheckpointError> {
        let readable = self.tensors.iter_mut().map(|tensor| &mut tensor.name);
        let unreadable = self.unreadable.iter_mut().map(|tensor| &mut tensor.name);
        let mut changed = Vec::new();
        for name in readable.chain(unreadable) {
            if let Some(new) = renamed(name) {
                changed.push((std::mem::replace(name, new.clone()), new));
            }
        }
        for (old, new) in changed {
            let found = self.by_name.remove(&old);
            let found = found.expect("every tensor stands under its name");
            if let Some(&other) = self.by_name.get(&new) {
                return Err(CheckpointError::TensorTwice {
                    tensor: new,
                    first: self.file_name(self.file_of(other)),
                    second: self.file_name(self.file_of(found)),
                    path: root.to_owned(),
                });
            }
            self.by_name.insert(new, found);
        }
        Ok(())
    }

    /// Checks that each tensor lies where an index says.
    pub(super) fn keep_promises(
        &self,
        root: &Path,
        promised: &BTreeMap<String, String>,
    ) -> Result<(), CheckpointError> {
        for (tensor, shard) in promised {
            let found = self.by_name.get(tensor);
            if found.is_none_or(|&found| self.file_name(self.file_of(found)) != *shard) {
                return Err(CheckpointError::MissingTensor {
                    tensor: tensor.clone(),
                    shard: shard.clone(),
                    path: root.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The readable tensor of that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        match self.by_name.get(name) {
            Some(Found::Readable(index)) => Some(*index),
            _ => None,
        }
    }

    /// The tensor of that name whose values cannot be read.
    pub(super) fn find_unreadable(&self, name: &str) -> Option<&Unreadable> {
        match self.by_name.get(name) {
            Some(Found::Unreadable(index)) => Some(&self.unreadable[*index]),
            _ => None,
        }
    }

    fn file_of(&self, found: Found) -> usize {
        match found {
            Found::Readable(index) => self.tensors[index].file,
            Found::Unreadable(index) => self.unreadable_files[index],
        }
    }

    /// Fills `buffer` from byte `offset` of a tensor on; the caller keeps inside the tensor.
    pub(super) fn read_at(
        &self,
        index: usize,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), SourceError> {
        let tensor = &self.tensors[index];
        let file = &self.files[tensor.file];
        file.read_at(tensor.start + offset, buffer)
            .map_err(|source| SourceError::Io {
                name: tensor.name.clone(),
                source,
                path: file.path.display().to_string(),
            })
    }

    /// All bytes of a tensor.
    pub(super) fn read_all(&self, index: usize) -> Result<Vec<u8>, SourceError> {
        // The header was checked: these bytes lie inside the file.
        let mut bytes = vec![0; self.tensors[index].info.size_bytes as usize];
        self.read_at(index, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// All values of a float tensor.
    pub(super) fn read_floats(&self, index: usize) -> Result<Vec<f32>, SourceError> {
        let dtype = self.float_dtype(index)?;
        let size_bytes = self.tensors[index].info.size_bytes as usize;
        // The header was checked: the elements lie inside the file, so this is at most twice its bytes.
        let mut values = vec![0.0; size_bytes / dtype.size_bytes()];
        values
            .par_chunks_mut(CHUNK_ELEMENTS)
            .enumerate()
            .try_for_each_init(Vec::new, |bytes, (chunk, output)| {
                bytes.resize(output.len() * dtype.size_bytes(), 0);
                let offset = chunk * CHUNK_ELEMENTS * dtype.size_bytes();
                self.read_at(index, offset as u64, bytes)?;
                raise_to_f32(dtype, bytes, output);
                Ok(())
            })?;
        Ok(values)
    }

    /// The element type of a tensor; an error where it is not floating point.
    pub(super) fn float_dtype(&self, index: usize) -> Result<Dtype, SourceError> {
        let StoredTensor { name, info, .. } = &self.tensors[index];
        if info.dtype.is_float() {
            return Ok(info.dtype);
        }
        Err(SourceError::Unfit {
            name: name.clone(),
            problem: format!("holds {} values where floats are needed", info.dtype),
        })
    }

    fn file_name(&self, file: usize) -> String {
        let name = self.files[file].path.file_name();
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }
}

//! What an open GGUF model has that others lack: blocks of ggml, names of its own, and side files that lie nowhere on disk.

use super::gguf::{self, GgufModel};
use super::shards::Shards;
use super::{Checkpoint, CheckpointError, Container, Entry};
use crate::ggml::GgmlType;
use crate::tensor::SourceError;
use std::path::{Path, PathBuf};

/// Largest side file that is read as a whole: tokenizers of a quarter of a million tokens have 30 MB.
const MAX_SIDE_BYTES: u64 = 200_000_000;

impl Checkpoint {
    /// `root` is what a person named: the file, or a folder with nothing else in it.
    pub(super) fn open_gguf(root: &Path, file: &Path) -> Result<Self, CheckpointError> {
        let GgufModel {
            files,
            tensors,
            unreadable,
            config,
            made,
        } = gguf::open(file)?;
        let shards = Shards::of_files(files, unreadable);
        let mut checkpoint = Self::new(root, Container::Gguf, shards, Vec::new())?;
        let names = tensors.iter().enumerate();
        checkpoint.by_name = names
            .map(|(index, tensor)| (tensor.name.clone(), index))
            .collect();
        checkpoint.entries = tensors
            .into_iter()
            .map(|tensor| Entry::Blocks(Box::new(tensor)))
            .collect();
        checkpoint.config = Some(config);
        checkpoint.made_files = made;
        Ok(checkpoint)
    }

    /// Side files that the container's own metadata stand for, with what is in them: they lie nowhere on disk.
    pub fn made_files(&self) -> &[(PathBuf, Vec<u8>)] {
        &self.made_files
    }

    /// What is in a file beside the weights, named relative to `root`: made, or read from disk.
    pub fn read_side(&self, name: &str) -> Option<Vec<u8>> {
        let mut made = self.made_files.iter();
        if let Some((_, bytes)) = made.find(|(path, _)| path == Path::new(name)) {
            return Some(bytes.clone());
        }
        let path = self.root.join(name);
        let small = std::fs::metadata(&path).is_ok_and(|data| data.len() <= MAX_SIDE_BYTES);
        small.then(|| std::fs::read(&path).ok()).flatten()
    }

    /// How the values of a GGUF tensor are stored; `None` of any other.
    pub fn block_type(&self, name: &str) -> Option<GgmlType> {
        match &self.entries[*self.by_name.get(name)?] {
            Entry::Blocks(blocks) => Some(blocks.kind),
            _ => None,
        }
    }

    /// The bytes of a GGUF tensor as they lie in the file.
    pub fn block_bytes(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        match &self.entries[self.find(name)?] {
            Entry::Blocks(blocks) => blocks.bytes(&self.shards.files),
            _ => Err(SourceError::Missing {
                name: name.to_owned(),
            }),
        }
    }

    /// The name that a GGUF tensor has in its file.
    pub fn stored_name(&self, name: &str) -> Option<&str> {
        match &self.entries[*self.by_name.get(name)?] {
            Entry::Blocks(blocks) => Some(&blocks.stored_name),
            _ => None,
        }
    }
}

//! Files of a checkpoint: opened once, read at positions.
//!
//! No mapping: a file that shrinks under us gives an error, not a fault. Knows bytes and headers, no model.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::error::CheckpointError;
use super::header::{Header, HeaderError, PREFIX_BYTES};

/// A safetensors file whose header was validated.
#[derive(Debug)]
pub(super) struct TensorFile {
    pub(super) path: PathBuf,
    file: File,
}

impl TensorFile {
    /// Opens `path` and validates its header; no tensor data is read.
    pub(super) fn open(path: &Path) -> Result<(Self, Header), CheckpointError> {
        let (file, file_bytes) = Self::open_bare(path)?;
        let header = file.header(file_bytes)?;
        Ok((file, header))
    }

    /// Opens `path` whatever is in it, and tells its length.
    pub(super) fn open_bare(path: &Path) -> Result<(Self, u64), CheckpointError> {
        let (file, file_bytes) = open_regular(path, "the weights")?;
        let file = Self {
            path: path.to_owned(),
            file,
        };
        Ok((file, file_bytes))
    }

    /// The file from its beginning.
    pub(super) fn stream(&self) -> &File {
        &self.file
    }

    fn header(&self, file_bytes: u64) -> Result<Header, CheckpointError> {
        let wrong = |source| CheckpointError::Header {
            source,
            path: self.path.clone(),
        };
        let unread = |source| CheckpointError::Io {
            what: "the header of the weights",
            source,
            path: self.path.clone(),
        };
        if file_bytes < PREFIX_BYTES as u64 {
            return Err(wrong(HeaderError::TooSmall { file_bytes }));
        }
        let mut prefix = [0; PREFIX_BYTES];
        self.read_at(0, &mut prefix).map_err(unread)?;
        let mut json = vec![0; Header::json_length(prefix, file_bytes).map_err(wrong)?];
        self.read_at(PREFIX_BYTES as u64, &mut json)
            .map_err(unread)?;
        Header::of_json(&json, file_bytes).map_err(wrong)
    }

    /// Fills `buffer` from byte `position` on. Several threads may read at once.
    pub(super) fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_exact_at(&self.file, position, buffer)
    }
}

/// Opens a regular file (links are followed: download caches are made of them) and tells its length.
pub(super) fn open_regular(
    path: &Path,
    what: &'static str,
) -> Result<(File, u64), CheckpointError> {
    let unread = |source| CheckpointError::Io {
        what,
        source,
        path: path.to_owned(),
    };
    let metadata = std::fs::metadata(path).map_err(unread)?;
    if !metadata.is_file() {
        return Err(CheckpointError::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(unread)?;
    Ok((file, metadata.len()))
}

/// Reads a small JSON file of at most `limit` bytes.
pub(super) fn read_json(
    path: &Path,
    what: &'static str,
    limit: u64,
) -> Result<serde_json::Value, CheckpointError> {
    let (file, bytes) = open_regular(path, what)?;
    if bytes > limit {
        return Err(CheckpointError::TooLarge {
            what,
            bytes,
            limit,
            path: path.to_owned(),
        });
    }
    let mut text = vec![0; bytes as usize];
    read_exact_at(&file, 0, &mut text).map_err(|source| CheckpointError::Io {
        what,
        source,
        path: path.to_owned(),
    })?;
    serde_json::from_slice(&text).map_err(|error| CheckpointError::NotJson {
        what,
        problem: error.to_string(),
        path: path.to_owned(),
    })
}

#[cfg(unix)]
fn read_exact_at(file: &File, position: u64, buffer: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, position)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut position: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, buffer, position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        position += count as u64;
        buffer = &mut buffer[count..];
    }
    Ok(())
}

//! Original-prefix moments on disk: one folder per key, one file per stage, each an f32 upper triangle and its vectors.
//!
//! `<folder>/<key>/b<block>-s<stage>.safetensors`; the folder gets its name when its last file is written, so that an
//! entry is either whole or absent. Sizes are known before anything is written; the oldest entries make room.
//! Knows no model or corpus: what a key stands for is the caller's business. A damaged file is a miss, never a panic.

use super::StoreError;
use super::moments_file::{read_moments, write_moments};
use super::store::atomic::write_file;
use crate::moments::{Moments, StageKey};
use crate::tensor::Symmetric;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Notes are tables of numbers about layers; anything larger is none of ours.
const MOST_NOTE_BYTES: u64 = 64 << 20;

/// Bytes of tensor data that the moments of one input of `width` features take.
pub fn moments_bytes(width: usize) -> u64 {
    (Symmetric::stored_len(width) as u64 + 3 * width as u64) * 4
}

/// Why moments could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The entry is larger than the whole cache may be.
    #[error(
        "the moments take {needed} bytes and the cache may hold {capacity}; use fewer layers or a larger cache; {path}"
    )]
    TooLarge {
        /// Bytes of the entry.
        needed: u64,
        /// Bytes allowed.
        capacity: u64,
        /// The cache.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("the cache of moments could not be used: {source}; {path}")]
    Io {
        /// Its word.
        source: io::Error,
        /// The file or folder.
        path: PathBuf,
    },
    /// A file of the cache is not what was written.
    #[error(
        "cached moments are damaged ({problem}); delete the folder and calibrate again; {path}"
    )]
    Damaged {
        /// What is wrong.
        problem: String,
        /// The file.
        path: PathBuf,
    },
}

/// The cache folder and how large it may grow.
#[derive(Debug, Clone)]
pub struct MomentsCache {
    folder: PathBuf,
    capacity_bytes: u64,
}

/// A whole entry.
#[derive(Debug, Clone)]
pub struct CachedMoments {
    folder: PathBuf,
}

/// An entry that is being written; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct CacheWriter {
    partial: PathBuf,
    finished: PathBuf,
}

impl MomentsCache {
    /// The cache in `folder`, at most `capacity_bytes` large.
    pub fn new(folder: &Path, capacity_bytes: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            capacity_bytes,
        }
    }

    /// The entry of `key`, if it is there and whole. Marks it as used.
    #[expect(
        clippy::disallowed_methods,
        reason = "the mark orders evictions; no output depends on it"
    )]
    pub fn find(&self, key: &str) -> Option<CachedMoments> {
        let folder = self.folder.join(key);
        folder.is_dir().then(|| {
            // Only the order of eviction depends on this mark.
            let _ = fs::File::open(&folder).and_then(|file| file.set_modified(SystemTime::now()));
            CachedMoments { folder }
        })
    }

    /// Begins the entry of `key`, which will take `announced_bytes`; oldest entries go until it fits.
    pub fn begin(&self, key: &str, announced_bytes: u64) -> Result<CacheWriter, CacheError> {
        if announced_bytes > self.capacity_bytes {
            return Err(CacheError::TooLarge {
                needed: announced_bytes,
                capacity: self.capacity_bytes,
                path: self.folder.clone(),
            });
        }
        self.evict(self.capacity_bytes - announced_bytes)?;
        let partial = self.folder.join(format!("{key}{}", partial_ending()));
        fs::create_dir_all(&partial).map_err(|source| CacheError::Io {
            source,
            path: partial.clone(),
        })?;
        Ok(CacheWriter {
            partial,
            finished: self.folder.join(key),
        })
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes on disk of all entries.
    pub fn size_bytes(&self) -> u64 {
        self.entries().iter().map(|entry| entry.size_bytes).sum()
    }

    /// Removes all entries, also those that a crash left unfinished; what this process is writing stays.
    pub fn clear(&self) -> Result<(), CacheError> {
        let own = partial_ending();
        let entries = self.entries().into_iter();
        let written = |entry: &Entry| entry.path.to_string_lossy().ends_with(&own);
        entries
            .filter(|entry| !written(entry))
            .try_for_each(|entry| entry.remove())
    }

    /// Removes the oldest entries until at most `keep_bytes` are left.
    fn evict(&self, keep_bytes: u64) -> Result<(), CacheError> {
        let mut entries = self.entries();
        entries.sort_by_key(|entry| entry.used);
        let mut total: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
        for entry in entries {
            if total <= keep_bytes {
                break;
            }
            total -= entry.size_bytes;
            entry.remove()?;
        }
        Ok(())
    }

    fn entries(&self) -> Vec<Entry> {
        let Ok(folders) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let entry = |folder: fs::DirEntry| {
            let metadata = folder.metadata().ok().filter(fs::Metadata::is_dir)?;
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Entry {
                size_bytes: size_of_folder(&folder.path()),
                path: folder.path(),
                used,
            })
        };
        folders.flatten().filter_map(entry).collect()
    }
}

struct Entry {
    path: PathBuf,
    size_bytes: u64,
    used: SystemTime,
}

impl Entry {
    fn remove(&self) -> Result<(), CacheError> {
        fs::remove_dir_all(&self.path).map_err(|source| CacheError::Io {
            source,
            path: self.path.clone(),
        })
    }
}

/// How names of entries end while this process writes them.
fn partial_ending() -> String {
    format!(".{}.partial", std::process::id())
}

impl CachedMoments {
    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        size_of_folder(&self.folder)
    }

    /// A note kept beside the moments under `name`; `None` where there is none, or where it is larger than any note is.
    pub fn note(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(note_name(name));
        let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= MOST_NOTE_BYTES);
        is_small.then(|| fs::read(&path).ok()).flatten()
    }

    /// Keeps a note beside the moments: it lives and goes with them.
    pub fn keep_note(&self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.folder.join(note_name(name));
        let kept = write_file(&path, |writer| {
            writer
                .write_all(bytes)
                .map_err(StoreError::io("could not be written", &path))
        });
        kept.map_err(|error| CacheError::Io {
            source: io::Error::other(error),
            path,
        })
    }

    /// The moments of one stage, whose input has `width` features.
    pub fn load(&self, key: StageKey, width: usize) -> Result<Moments, CacheError> {
        let path = self.folder.join(file_name(key));
        let bytes = fs::read(&path).map_err(|source| CacheError::Io {
            source,
            path: path.clone(),
        })?;
        read_moments(&bytes, width).map_err(|problem| CacheError::Damaged { problem, path })
    }
}

impl CacheWriter {
    /// Adds the moments of one stage.
    pub fn add(&mut self, key: StageKey, moments: &Moments) -> Result<(), CacheError> {
        let path = self.partial.join(file_name(key));
        write_moments(&path, moments).map_err(|source| CacheError::Io { source, path })
    }

    /// Makes the entry visible. If another process was first, its entry stays: both hold the same values.
    pub fn finish(self) -> Result<CachedMoments, CacheError> {
        if !self.finished.is_dir() {
            fs::rename(&self.partial, &self.finished).map_err(|source| CacheError::Io {
                source,
                path: self.finished.clone(),
            })?;
        }
        Ok(CachedMoments {
            folder: self.finished.clone(),
        })
    }
}

impl Drop for CacheWriter {
    fn drop(&mut self) {
        // Renamed away where it was finished; nothing to tell anyone if it cannot be removed.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

fn note_name(name: &str) -> String {
    format!("{name}.json")
}

fn file_name(key: StageKey) -> String {
    format!("b{:04}-s{:02}.safetensors", key.block, key.stage)
}

fn size_of_folder(folder: &Path) -> u64 {
    let Ok(files) = fs::read_dir(folder) else {
        return 0;
    };
    files
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![expect(
        clippy::disallowed_methods,
        reason = "damage is made as a crash makes it"
    )]
    use super::*;

    const KEY: StageKey = StageKey { block: 3, stage: 1 };

    fn moments() -> Moments {
        Moments {
            count: 2,
            gram: Symmetric::new(3, vec![0.625, -0.875, 0.0, 2.03125, 0.0, 0.0]),
            mean_square: vec![0.625, 2.03125, 0.0],
            mean_abs: vec![0.75, 1.125, 0.0],
            abs_max: vec![1.0, 2.0, 0.0],
        }
    }

    fn cache_with_entry(folder: &Path) -> (MomentsCache, CachedMoments) {
        let cache = MomentsCache::new(folder, 1 << 20);
        let mut writer = cache.begin("key", moments_bytes(3)).unwrap();
        assert!(
            cache.find("key").is_none(),
            "an unfinished entry is not there"
        );
        writer.add(KEY, &moments()).unwrap();
        let entry = writer.finish().unwrap();
        (cache, entry)
    }

    #[test]
    fn returns_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, entry) = cache_with_entry(folder.path());
        assert_eq!(entry.load(KEY, 3).unwrap(), moments());
        assert_eq!(cache.find("key").unwrap().load(KEY, 3).unwrap(), moments());
        assert!(entry.size_bytes() >= moments_bytes(3));
    }

    #[test]
    fn notes_live_with_the_moments() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, entry) = cache_with_entry(folder.path());
        assert_eq!(entry.note("table"), None);
        entry.keep_note("table", b"{}").unwrap();
        entry.keep_note("table", b"[]").unwrap();
        assert_eq!(cache.find("key").unwrap().note("table").unwrap(), b"[]");
        cache.clear().unwrap();
        assert_eq!(entry.note("table"), None);
    }

    #[test]
    fn a_dropped_writer_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = MomentsCache::new(folder.path(), 1 << 20);
        let mut writer = cache.begin("key", moments_bytes(3)).unwrap();
        writer.add(KEY, &moments()).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn damage_and_absence_are_values() {
        let folder = tempfile::tempdir().unwrap();
        let (_, entry) = cache_with_entry(folder.path());
        let missing = StageKey { block: 0, stage: 0 };
        assert!(matches!(entry.load(missing, 3), Err(CacheError::Io { .. })));
        assert!(
            matches!(entry.load(KEY, 4), Err(CacheError::Damaged { .. })),
            "another width"
        );
        let path = entry.folder().join(file_name(KEY));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(
            matches!(entry.load(KEY, 3), Err(CacheError::Damaged { .. })),
            "truncated"
        );
    }

    #[test]
    fn clearing_leaves_only_what_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, entry) = cache_with_entry(folder.path());
        assert_eq!(cache.size_bytes(), entry.size_bytes());
        let mut writer = cache.begin("other", moments_bytes(3)).unwrap();
        fs::create_dir(folder.path().join("crashed.0.partial")).unwrap();
        cache.clear().unwrap();
        assert!(cache.find("key").is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        writer.add(KEY, &moments()).unwrap();
        assert_eq!(writer.finish().unwrap().load(KEY, 3).unwrap(), moments());
        let absent = MomentsCache::new(&folder.path().join("absent"), 1);
        assert_eq!(absent.size_bytes(), 0);
        absent.clear().unwrap();
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let (_, entry) = cache_with_entry(folder.path());
        let small = MomentsCache::new(folder.path(), entry.size_bytes() + 10);
        drop(small.begin("other", 5).unwrap());
        assert!(small.find("key").is_some(), "both fit");
        drop(small.begin("other", 11).unwrap());
        assert!(small.find("key").is_none(), "the older one went");
        assert!(matches!(
            small.begin("huge", 1 << 30),
            Err(CacheError::TooLarge { .. })
        ));
    }
}

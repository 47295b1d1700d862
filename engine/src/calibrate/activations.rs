//! Hidden states of all calibration sequences between two blocks, in memory or spilled to a file.
//!
//! Every sequence has the same number of values. Knows no model: it stores and returns rows of f32.

use crate::grid::ScaleDtype;
use crate::packed::floats;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Where spilled activations may go, and from what size on.
#[derive(Debug, Clone)]
pub struct SpillPolicy {
    /// Activations larger than this go to a file.
    pub memory_bytes: u64,
    /// The folder for that file; the file has no name once it is open where the system allows it.
    pub folder: PathBuf,
}

/// `sequences` times `values` f32 values, written and read by sequence.
#[derive(Debug)]
pub struct Activations {
    sequences: usize,
    values: usize,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    Memory(Vec<Mutex<Vec<f32>>>),
    Disk { file: Mutex<File>, path: PathBuf },
}

impl Activations {
    /// Room for `sequences` sequences of `values` values; spilled if `policy` says so.
    pub fn new(sequences: usize, values: usize, policy: &SpillPolicy) -> io::Result<Self> {
        let size_bytes = (sequences as u64)
            .saturating_mul(values as u64)
            .saturating_mul(4);
        let backing = if size_bytes <= policy.memory_bytes {
            Backing::Memory((0..sequences).map(|_| Mutex::new(Vec::new())).collect())
        } else {
            let (file, path) = create_spill_file(&policy.folder)?;
            file.set_len(size_bytes)?;
            Backing::Disk {
                file: Mutex::new(file),
                path,
            }
        };
        Ok(Self {
            sequences,
            values,
            backing,
        })
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// Whether they lie on disk.
    pub fn is_spilled(&self) -> bool {
        matches!(self.backing, Backing::Disk { .. })
    }

    /// Stores one sequence.
    ///
    /// # Panics
    /// If `values` has another length than the others: a mistake of the caller.
    pub fn set(&self, sequence: usize, values: Vec<f32>) -> io::Result<()> {
        assert_eq!(
            values.len(),
            self.values,
            "every sequence has as many values"
        );
        match &self.backing {
            Backing::Memory(slots) => *lock(&slots[sequence]) = values,
            Backing::Disk { file, .. } => {
                let bytes = floats::to_bytes(&values, ScaleDtype::F32);
                let mut file = lock(file);
                file.seek(SeekFrom::Start(self.offset(sequence)))?;
                file.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    /// One sequence's values, as last stored.
    pub fn get(&self, sequence: usize) -> io::Result<Vec<f32>> {
        match &self.backing {
            Backing::Memory(slots) => Ok(lock(&slots[sequence]).clone()),
            Backing::Disk { file, .. } => {
                let mut bytes = vec![0; self.values * 4];
                {
                    let mut file = lock(file);
                    file.seek(SeekFrom::Start(self.offset(sequence)))?;
                    file.read_exact(&mut bytes)?;
                }
                Ok(floats::from_bytes(&bytes, ScaleDtype::F32))
            }
        }
    }

    fn offset(&self, sequence: usize) -> u64 {
        (sequence * self.values * 4) as u64
    }
}

impl Drop for Activations {
    fn drop(&mut self) {
        if let Backing::Disk { path, .. } = &self.backing {
            // Already gone where it could be unlinked while open; nothing to tell anyone if it cannot be removed.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A new file that no other run uses; unlinked at once on Unix, so that a crash leaves nothing behind.
fn create_spill_file(folder: &Path) -> io::Result<(File, PathBuf)> {
    std::fs::create_dir_all(folder)?;
    for attempt in 0..1000u32 {
        let path = folder.join(format!("activations-{}-{attempt}.tmp", std::process::id()));
        match File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Ok(file) => {
                if cfg!(unix) {
                    std::fs::remove_file(&path)?;
                }
                return Ok((file, path));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a thousand spill files are in the way",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_and_disk_return_what_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        for (memory_bytes, spilled) in [(1 << 20, false), (0, true)] {
            let policy = SpillPolicy {
                memory_bytes,
                folder: folder.path().to_owned(),
            };
            let activations = Activations::new(3, 4, &policy).unwrap();
            assert_eq!(activations.is_spilled(), spilled);
            for sequence in [2, 0, 1] {
                activations.set(sequence, vec![sequence as f32; 4]).unwrap();
            }
            assert_eq!(activations.get(1).unwrap(), [1.0; 4]);
            assert_eq!(activations.get(2).unwrap(), [2.0; 4]);
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "spill files are gone"
        );
    }
}

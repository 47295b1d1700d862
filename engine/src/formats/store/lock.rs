//! One run in a folder at a time: the partial folder is made by one, and a locked file in it keeps others out, in this
//! process or another. The system frees the lock of a process that ends, however it ends.

use super::{OWN_FOLDER, RunFolder, StoreError};
use std::fs::{self, File, TryLockError};
use std::io;

/// Name of the file in `.pare/` that the run at work holds locked.
pub(super) const LOCK: &str = "lock";

impl RunFolder {
    pub(super) fn check_exists(&self) -> Result<(), StoreError> {
        match self.own("fingerprint").exists() {
            true => Ok(()),
            false => Err(StoreError::NothingToResume {
                path: self.partial.clone(),
            }),
        }
    }

    /// Makes the partial folder; of two that try at once, one succeeds.
    pub(super) fn make_partial(&mut self) -> Result<(), StoreError> {
        match fs::create_dir(&self.partial) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Says so where somebody is at work there.
                self.take_lock()?;
                return Err(StoreError::Unfinished {
                    path: self.partial.clone(),
                });
            }
            Err(error) => {
                return Err(StoreError::io("could not be created", &self.partial)(error));
            }
        }
        let own = self.partial.join(OWN_FOLDER);
        fs::create_dir(&own).map_err(StoreError::io("could not be created", &own))
    }

    /// Locks the folder for this run. File systems without locks leave it at the folder's name.
    pub(super) fn take_lock(&mut self) -> Result<(), StoreError> {
        let path = self.own(LOCK);
        let opened = File::options().create(true).append(true).open(&path);
        let file = match opened {
            Ok(file) => file,
            // A folder of that name that is no run: whoever asked finds that out next.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("could not be locked", &path)(error)),
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy {
                    path: self.partial.clone(),
                });
            }
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(StoreError::io("could not be locked", &path)(error));
            }
            _ => {}
        }
        self.lock = Some(file);
        // Between opening and locking, the run before may have ended and taken the folder away.
        match path.exists() {
            true => Ok(()),
            false => Err(StoreError::NothingToResume {
                path: self.partial.clone(),
            }),
        }
    }
}

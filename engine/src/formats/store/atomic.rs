//! Files that are either whole or absent: written under another name, synced, renamed.
//!
//! Knows no format. The one place in the engine, beside the cache, that creates files.

use super::StoreError;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes `path` by way of `<name>.tmp` beside it: filled by `fill`, synced, renamed, and its folder synced.
/// On any failure the temporary file is removed and `path` is as it was.
pub fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let temporary = temporary_name(path);
    let written = write_and_sync(&temporary, fill).and_then(|()| {
        fs::rename(&temporary, path)
            .map_err(StoreError::io("could not be renamed into place", path))
    });
    if written.is_err() {
        // Best effort: the error that is returned says what to do.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    // A bare name lies in the process's own folder.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

/// Writes `bytes` to `path` as `write_file` does; a relative path is one of the process.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    // A bare name has no folder that could be synced.
    let whole = std::path::absolute(path).map_err(StoreError::io("could not be found", path))?;
    write_file(&whole, |writer| {
        writer
            .write_all(bytes)
            .map_err(StoreError::io("could not be written", path))
    })
}

/// Makes a folder's list of names durable, where the system can.
pub fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(StoreError::io("could not be synced", folder))?;
    }
    Ok(())
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the writer that others must go through"
)]
fn write_and_sync(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let file = File::create(path).map_err(StoreError::io("could not be created", path))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    fill(&mut writer)?;
    let file = writer
        .into_inner()
        .map_err(|error| StoreError::io("could not be written", path)(error.into_error()))?;
    file.sync_all()
        .map_err(StoreError::io("could not be synced", path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_bytes(&path, b"old").unwrap();
        let full = |writer: &mut dyn Write| {
            writer.write_all(&[0; 100]).unwrap();
            let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
            Err(StoreError::io("could not be written", &path)(error))
        };
        let error = write_file(&path, full).unwrap_err().to_string();
        assert!(error.contains("could not be written"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }
}

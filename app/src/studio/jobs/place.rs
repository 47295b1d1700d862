//! A folder's name for a run that nobody else takes, in this window or another.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Names tried before the run is left to say what is wrong with the place.
const MOST_NAMES: u32 = 10_000;

/// An empty folder that holds a name. Where the run leaves it empty, it goes again.
#[derive(Debug)]
pub(super) struct Reservation {
    folder: PathBuf,
}

impl Reservation {
    /// Holds `wanted`, or the first free name beside it: `NAME-2`, `NAME-3`.
    pub(super) fn near(wanted: &Path) -> Self {
        if let Some(parent) = wanted.parent() {
            // The run says what is wrong with the place, in better words.
            let _ = fs::create_dir_all(parent);
        }
        let names = (1..MOST_NAMES).map(|number| numbered(wanted, number));
        let mut free = names.filter(|folder| !ended(folder, ".partial").exists());
        // Making a folder either succeeds or finds it there: two windows never hold one name.
        let folder = free.find_map(|folder| match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
            _ => Some(folder),
        });
        Self {
            folder: folder.unwrap_or_else(|| wanted.to_owned()),
        }
    }

    /// The folder held.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Only an empty folder goes: what a run wrote stays.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Whether a run into `out` was cut off there: it left a partial folder that can be gone on with.
pub(super) fn is_begun(out: &Path) -> bool {
    ended(out, ".partial").exists()
}

fn numbered(wanted: &Path, number: u32) -> PathBuf {
    match number {
        1 => wanted.to_owned(),
        number => ended(wanted, &format!("-{number}")),
    }
}

fn ended(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_is_begun_where_its_partial_folder_lies() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("model-1");
        assert!(!is_begun(&out));
        fs::create_dir(folder.path().join("model-1.partial")).unwrap();
        assert!(is_begun(&out));
    }

    #[test]
    fn taken_names_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("runs").join("model-1");
        fs::create_dir_all(&wanted).unwrap();
        fs::create_dir(folder.path().join("runs").join("model-1-2.partial")).unwrap();
        let third = Reservation::near(&wanted);
        let fourth = Reservation::near(&wanted);
        let names = [&third, &fourth].map(|held| held.folder().file_name().unwrap().to_owned());
        assert_eq!(names, ["model-1-3", "model-1-4"]);
        let left = third.folder().to_owned();
        drop(third);
        assert!(!left.exists(), "an empty folder is not left behind");
    }
}

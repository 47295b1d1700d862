//! Every file of a run with its SHA-256, in the order of their paths.
//!
//! Links are told and not followed: they may lead anywhere.

use super::super::SessionError;
use super::super::environment::sha256_of_file;
use crate::monitor::Stopped;
use crate::report::page::HashedFile;
use crate::report::{Notice, Observer};
use std::fs;
use std::path::{Path, PathBuf};

/// A run has a few files a layer; anything far larger is none.
const MAX_FILES: usize = 200_000;
const MAX_DEPTH: usize = 16;

/// A file that was found.
struct Found {
    place: PathBuf,
    /// Path inside the run, with `/`.
    path: String,
    bytes: u64,
    is_file: bool,
}

/// The files of `run` but for those of `but`, which a report itself writes.
pub(super) fn hashed(
    run: &Path,
    but: &[&Path],
    observer: &dyn Observer,
) -> Result<Vec<HashedFile>, SessionError> {
    let but: Vec<PathBuf> = but.iter().filter_map(|path| place_of(path)).collect();
    let root = run.canonicalize().unwrap_or_else(|_| run.to_owned());
    let mut found = Vec::new();
    collect(&root, "", 0, &mut found)?;
    found.retain(|file| !but.contains(&file.place));
    found.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    observer.notice(Notice::Stage {
        name: "hashing the files of the run",
        steps: found.len() as u64,
    });
    let total = found.len() as u64;
    let hash = |(index, file): (usize, Found)| {
        let hashed = hash(file, observer)?;
        observer.step(index as u64 + 1, total);
        Ok(hashed)
    };
    found.into_iter().enumerate().map(hash).collect()
}

/// Where a path leads, whether something lies there or not.
fn place_of(path: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(path).ok()?;
    let folder = whole.parent()?.canonicalize().ok()?;
    Some(folder.join(whole.file_name()?))
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), SessionError> {
    let problem = |problem: String| SessionError::Input {
        problem,
        path: folder.to_owned(),
    };
    if depth > MAX_DEPTH {
        return Err(problem(
            "folders lie too deep in each other for a run".to_owned(),
        ));
    }
    let unread = |error: std::io::Error| problem(format!("the folder could not be read: {error}"));
    for entry in fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // Of a link itself, not of what it leads to.
        let data = entry.metadata().map_err(unread)?;
        if data.is_dir() {
            collect(&entry.path(), &format!("{path}/"), depth + 1, found)?;
            continue;
        }
        if found.len() >= MAX_FILES {
            return Err(problem(format!(
                "more than {MAX_FILES} files lie here, so it is no run"
            )));
        }
        found.push(Found {
            place: entry.path(),
            path,
            bytes: data.len(),
            is_file: data.is_file(),
        });
    }
    Ok(())
}

fn hash(file: Found, observer: &dyn Observer) -> Result<HashedFile, SessionError> {
    let refused = |reason: String, bytes: u64| HashedFile {
        path: file.path.clone(),
        bytes,
        sha256: Err(reason),
    };
    if !file.is_file {
        return Ok(refused(
            "a link or no ordinary file: not followed".to_owned(),
            file.bytes,
        ));
    }
    match sha256_of_file(&file.place, observer) {
        Ok(Some((bytes, sha256))) => Ok(HashedFile {
            path: file.path,
            bytes,
            sha256: Ok(sha256),
        }),
        Ok(None) => Err(Stopped.into()),
        Err(error) => Ok(refused(format!("could not be read: {error}"), file.bytes)),
    }
}

//! `report`: a finished run as one page, and its layers as comma-separated values.
//!
//! The way: what the run left (`read`) and the hash of every file (`files`) -> `report::page` -> written under another
//! name, synced, renamed. Changes nothing in the run.

mod files;
mod read;

use super::SessionError;
use crate::formats::StoreError;
use crate::formats::store::atomic::write_bytes;
use crate::report::Observer;
use crate::report::page::layers_csv;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What `report` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRequest {
    /// The folder of a finished run or of an export.
    pub run: PathBuf,
    /// The page to write; what lies there is replaced.
    pub out: PathBuf,
    /// The table of layers to write beside it.
    pub csv: Option<PathBuf>,
    /// What `allocate --json` printed, to draw its front.
    pub allocation: Option<PathBuf>,
}

/// `pare report --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenReport {
    /// The page.
    pub out: String,
    /// Its bytes.
    pub bytes: u64,
    /// The table of layers; null where none was asked for.
    pub csv: Option<String>,
    /// Its bytes.
    pub csv_bytes: Option<u64>,
}

/// Writes the page of a run.
pub fn write_report(
    request: &ReportRequest,
    observer: &dyn Observer,
) -> Result<WrittenReport, SessionError> {
    let mut page = read::page(&request.run)?;
    if let Some(path) = &request.allocation {
        page.front = Some(read::front(path)?);
    }
    if request.csv.is_some() && page.layers.is_empty() {
        return Err(SessionError::Input {
            problem: "this run has no table of layers to write; leave out --csv".to_owned(),
            path: request.run.clone(),
        });
    }
    let own: Vec<&Path> = std::iter::once(request.out.as_path())
        .chain(request.csv.as_deref())
        .collect();
    page.files = files::hashed(&request.run, &own, observer)?;
    let csv_bytes = match &request.csv {
        Some(path) => Some(write(path, &layers_csv(&page.layers))?),
        None => None,
    };
    let bytes = write(&request.out, &page.html())?;
    Ok(WrittenReport {
        out: request.out.display().to_string(),
        bytes,
        csv: request.csv.as_ref().map(|path| path.display().to_string()),
        csv_bytes,
    })
}

fn write(path: &Path, text: &str) -> Result<u64, SessionError> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent).map_err(StoreError::io("could not be created", parent))?;
    }
    write_bytes(path, text.as_bytes())?;
    Ok(text.len() as u64)
}

#[cfg(test)]
mod tests;

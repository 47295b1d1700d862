//! What an export keeps of the run that it was made of: its recipe, its report, and what the export itself found.
//!
//! They lie in `.pare` of the new folder, as those of a run do. Knows no format.

use super::store::{OWN_FOLDER, StoreError, atomic};
use crate::report::ExportReport;
use std::fs;
use std::path::Path;

/// A report takes about 12 kB a layer; anything far larger is none and stays behind.
const MAX_REPORT_BYTES: u64 = 256 << 20;

/// What the run was made by goes along: it also says how the model is to run.
pub(super) fn keep_recipe(folder: &Path, recipe_toml: Option<&str>) -> Result<(), StoreError> {
    let Some(text) = recipe_toml else {
        return Ok(());
    };
    let own = folder.join(OWN_FOLDER);
    fs::create_dir_all(&own).map_err(StoreError::io("could not be created", &own))?;
    atomic::write_bytes(&own.join("recipe.toml"), text.as_bytes())
}

/// What was found goes along with the report of the run, so that an export can be reported like one.
pub(super) fn keep_report(
    folder: &Path,
    run: &Path,
    report: &ExportReport,
) -> Result<(), StoreError> {
    let own = folder.join(OWN_FOLDER);
    fs::create_dir_all(&own).map_err(StoreError::io("could not be created", &own))?;
    let text = serde_json::to_string_pretty(report).unwrap_or_default();
    atomic::write_bytes(&own.join("export.json"), text.as_bytes())?;
    let origin = run.join(OWN_FOLDER).join("report.json");
    let is_small = |data: fs::Metadata| data.is_file() && data.len() <= MAX_REPORT_BYTES;
    if !fs::metadata(&origin).is_ok_and(is_small) {
        return Ok(());
    }
    let bytes = fs::read(&origin).map_err(StoreError::io("could not be read", &origin))?;
    atomic::write_bytes(&own.join("origin.json"), &bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::Verified;

    #[test]
    fn the_report_of_a_run_goes_along_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let (run, out) = (folder.path().join("run"), folder.path().join("out"));
        let report = ExportReport {
            out: out.display().to_string(),
            format: "gguf".to_owned(),
            bytes: 7,
            verified: Verified {
                tensors: 1,
                max_abs_difference: 0.0,
            },
            fallbacks: Vec::new(),
        };
        fs::create_dir_all(run.join(OWN_FOLDER)).unwrap();
        keep_report(&out, &run, &report).unwrap();
        let own = out.join(OWN_FOLDER);
        assert!(own.join("export.json").is_file() && !own.join("origin.json").exists());
        atomic::write_bytes(&run.join(OWN_FOLDER).join("report.json"), b"{}").unwrap();
        keep_recipe(&out, Some("version = 1")).unwrap();
        keep_report(&out, &run, &report).unwrap();
        assert_eq!(fs::read(own.join("origin.json")).unwrap(), b"{}");
        assert_eq!(fs::read(own.join("recipe.toml")).unwrap(), b"version = 1");
    }
}

//! The smaller model's folder: one file of tensors for each block and one for the ends, an index, side files, and what
//! was found. Written under another name, synced and renamed when all of it stands.

use super::super::SessionError;
use super::plan::{SideContent, SmallerPlan};
use crate::formats::StoreError;
use crate::formats::store::OWN_FOLDER;
use crate::formats::store::atomic::{sync_folder, write_bytes};
use crate::formats::store::stream::{TensorSpec, write_tensors};
use crate::report::StructureReport;
use crate::tensor::WeightSource;
use crate::transform::structure::CutSource;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// File of what was found, in Pare's own folder.
const REPORT: &str = "structure.json";

/// A smaller model being written.
#[derive(Debug)]
pub(super) struct Writer {
    finished: PathBuf,
    partial: PathBuf,
    files: usize,
    homes: Map<String, Value>,
    total_bytes: u64,
}

/// What was found when the model in `folder` was made; `None` where no whole one stands there.
pub(super) fn read_report(folder: &Path) -> Option<StructureReport> {
    let text = fs::read(folder.join(OWN_FOLDER).join(REPORT)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes the side files of `plan` into `folder` and returns their names.
pub(super) fn write_sides(folder: &Path, plan: &SmallerPlan) -> Result<Vec<PathBuf>, SessionError> {
    let mut names = Vec::new();
    for side in &plan.sides {
        let path = folder.join(&side.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("could not be created", parent))?;
        }
        let bytes = match &side.content {
            SideContent::Copy(from) => {
                fs::read(from).map_err(StoreError::io("could not be read", from))?
            }
            SideContent::Json(value) => format!("{value:#}\n").into_bytes(),
        };
        write_bytes(&path, &bytes)?;
        names.push(side.path.clone());
    }
    Ok(names)
}

impl Writer {
    /// Begins anew what will be `folder`, with `files` files of tensors.
    pub(super) fn begin(folder: &Path, files: usize) -> Result<Self, SessionError> {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let partial = folder.with_file_name(name);
        for left in [&partial, &folder.to_owned()] {
            if left.exists() {
                fs::remove_dir_all(left).map_err(StoreError::io("could not be removed", left))?;
            }
        }
        let own = partial.join(OWN_FOLDER);
        fs::create_dir_all(&own).map_err(StoreError::io("could not be created", &own))?;
        Ok(Self {
            finished: folder.to_owned(),
            partial,
            files,
            homes: Map::new(),
            total_bytes: 0,
        })
    }

    /// Writes the tensors of a block, or of none, those of `changed` with these bytes.
    pub(super) fn write_part(
        &mut self,
        source: &CutSource,
        block: Option<usize>,
        changed: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), SessionError> {
        let number = block.map_or(self.files, |block| block + 1);
        let file = format!("model-{number:05}-of-{:05}.safetensors", self.files);
        let specs: Vec<TensorSpec> = source
            .part(block)
            .into_iter()
            .filter_map(|name| {
                let info = source.info(&name)?;
                Some(TensorSpec {
                    name,
                    dtype: info.dtype,
                    shape: info.shape,
                })
            })
            .collect();
        for spec in &specs {
            self.homes.insert(spec.name.clone(), file.clone().into());
            self.total_bytes += spec.size_bytes();
        }
        let path = self.partial.join(file);
        let metadata = [("format".to_owned(), "pt".to_owned())];
        write_tensors(&path, &specs, &metadata, |index, output| {
            let spec = &specs[index];
            let failed = StoreError::io("could not be written", &path);
            if let Some(bytes) = changed.get(&spec.name) {
                return output.write_all(bytes).map_err(failed);
            }
            let mut bytes = vec![0; spec.size_bytes() as usize];
            source.read_bytes(&spec.name, 0, &mut bytes)?;
            output.write_all(&bytes).map_err(failed)
        })?;
        Ok(())
    }

    /// Writes all but the tensors and gives the folder its name.
    pub(super) fn finish(
        self,
        plan: &SmallerPlan,
        report: &StructureReport,
    ) -> Result<(), SessionError> {
        let index =
            json!({ "metadata": { "total_size": self.total_bytes }, "weight_map": self.homes });
        let path = self.partial.join("model.safetensors.index.json");
        write_bytes(&path, format!("{index:#}\n").as_bytes())?;
        write_sides(&self.partial, plan)?;
        let text = serde_json::to_string_pretty(report).unwrap_or_default();
        let path = self.partial.join(OWN_FOLDER).join(REPORT);
        write_bytes(&path, text.as_bytes())?;
        fs::rename(&self.partial, &self.finished).map_err(StoreError::io(
            "could not be renamed into place",
            &self.finished,
        ))?;
        sync_folder(self.finished.parent().unwrap_or(Path::new(".")))?;
        Ok(())
    }
}

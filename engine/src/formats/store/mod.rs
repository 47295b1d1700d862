//! The run folder: `OUT.partial/` while a run works, `OUT/` once it is whole.
//!
//! In `.pare/`: `recipe.toml`, `fingerprint`, `lock` (held while the run works), `layers/` (one solved layer a file), `changed/` (dense tensors that a fold
//! changed), `seconds/` (only while the run works), and at the end `report.json`. Every file is written under another
//! name, synced and renamed; a crash loses at most the layer in progress. Knows no solver and no network.

pub mod atomic;
mod layer_file;
mod lock;
pub mod stream;

pub use layer_file::StoredLayer;

use super::layout::LayoutError;
use crate::checkpoint::CheckpointError;
use crate::grid::ScaleDtype;
use crate::monitor::Stopped;
use crate::packed::{ActivationPlan, OriginalTensor, PackError, floats};
use crate::report::LayerReport;
use crate::solved::Solved;
use crate::tensor::{Dtype, SourceError};
use lock::LOCK;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use stream::{TensorSpec, write_tensors};

/// Why something could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The monitor asked for it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The operating system refused.
    #[error("a file or folder {problem}: {source}; check space and permissions; {path}")]
    Io {
        /// What could not be done, as the end of a sentence.
        problem: &'static str,
        /// Its word.
        source: io::Error,
        /// The file or folder.
        path: PathBuf,
    },
    /// The output exists and holds something.
    #[error("the output folder is not empty; choose another --out or empty it; {path}")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The output would lie in the input.
    #[error("the output would lie inside the input model; choose another --out; {path}")]
    InsideInput {
        /// The output.
        path: PathBuf,
    },
    /// An unfinished run is in the way.
    #[error("an unfinished run is in the way; continue it with --resume, or delete it; {path}")]
    Unfinished {
        /// The partial folder.
        path: PathBuf,
    },
    /// Another run works in the folder.
    #[error(
        "another run is at work in this folder; wait until it ends or stop it, or choose another --out; {path}"
    )]
    Busy {
        /// The partial folder.
        path: PathBuf,
    },
    /// `--resume` without an unfinished run.
    #[error("there is no unfinished run to resume; leave out --resume; {path}")]
    NothingToResume {
        /// The partial folder.
        path: PathBuf,
    },
    /// The unfinished run was asked something else.
    #[error(
        "the unfinished run was made with another {what}; use the same, or delete it and start anew; {path}"
    )]
    OtherRun {
        /// What differs.
        what: String,
        /// The partial folder.
        path: PathBuf,
    },
    /// A plan and what was written disagree: a mistake of this program.
    #[error(
        "tensor {tensor} was planned with {planned} bytes and got {written}; please report this"
    )]
    Miscounted {
        /// The tensor.
        tensor: String,
        /// Bytes planned.
        planned: u64,
        /// Bytes written.
        written: u64,
    },
    /// A solved layer cannot be packed: a mistake of a solver.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The source could not be read while it was copied.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The folder is no run, or a run whose solved layers were dropped.
    #[error(
        "the folder keeps no solved layers: it was written with --no-keep, or is no run of pare; compress again without --no-keep; a model that is no run becomes dense, gguf or onnx; {path}"
    )]
    NoLayers {
        /// The folder.
        path: PathBuf,
    },
    /// A layer of the plan was not stored, or its file is damaged.
    #[error("the run's file of solved layer {layer} is missing or damaged; compress again; {path}")]
    NoLayer {
        /// The layer.
        layer: String,
        /// The run.
        path: PathBuf,
    },
    /// The container cannot hold what is asked.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What was written cannot be opened again.
    #[error(transparent)]
    Reopen(#[from] CheckpointError),
    /// A tensor could not be made.
    #[error("tensor {tensor} could not be written: {problem}")]
    Unsolved {
        /// The tensor.
        tensor: String,
        /// Why.
        problem: String,
    },
    /// What was written reads back as something else.
    #[error(
        "tensor {tensor} was written and {problem} when it was opened again; check the disk and try again; {path}"
    )]
    Differs {
        /// The tensor.
        tensor: String,
        /// What is wrong, as a clause.
        problem: String,
        /// The folder.
        path: PathBuf,
    },
}

impl StoreError {
    /// For `map_err`: the operating system's word about `path`.
    pub fn io(problem: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            problem,
            source,
            path: path.to_owned(),
        }
    }
}

/// A run on disk while it works.
#[derive(Debug)]
pub struct RunFolder {
    partial: PathBuf,
    finished: PathBuf,
    /// Held as long as the run works: nobody else may write here.
    lock: Option<File>,
}

/// Name of Pare's own folder inside a run.
pub const OWN_FOLDER: &str = ".pare";

/// What a run was asked, by part, so that a resume can say what differs.
pub type Fingerprint = Vec<(String, String)>;

impl RunFolder {
    /// Makes `OUT.partial/`, or finds it again where `resume` is set and `fingerprint` is the same.
    pub fn create(
        out: &Path,
        input: &Path,
        recipe_toml: &str,
        fingerprint: &Fingerprint,
        resume: bool,
    ) -> Result<Self, StoreError> {
        check_output(out, input)?;
        let mut run = Self {
            partial: partial_name(out),
            finished: out.to_owned(),
            lock: None,
        };
        if resume {
            run.check_exists()?;
            run.take_lock()?;
            run.check_fingerprint(fingerprint)?;
            return Ok(run);
        }
        run.make_partial()?;
        run.take_lock()?;
        for folder in [run.own("layers"), run.own("changed"), run.own("seconds")] {
            fs::create_dir_all(&folder).map_err(StoreError::io("could not be created", &folder))?;
        }
        let lines: String = fingerprint
            .iter()
            .map(|(part, value)| format!("{part}\t{value}\n"))
            .collect();
        write_text(&run.own("recipe.toml"), recipe_toml)?;
        write_text(&run.own("fingerprint"), &lines)?;
        Ok(run)
    }

    /// The folder while the run works.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// The folder once it is whole.
    pub fn finished(&self) -> &Path {
        &self.finished
    }

    /// A solved layer of an earlier try; `None` if it must be solved (again).
    pub fn finished_layer(&self, layer: &str) -> Result<Option<StoredLayer>, StoreError> {
        let mut stored = layer_file::read_layer(&self.layer_path(layer), layer)?;
        if let Some(stored) = &mut stored {
            let text = fs::read_to_string(self.seconds_path(layer)).unwrap_or_default();
            stored.report.seconds = text.trim().parse().unwrap_or(0.0);
        }
        Ok(stored)
    }

    /// Stores a solved layer that stands for `tensor`. Its seconds lie apart until the run's report takes them over, so
    /// that the same choices give the same layer files.
    pub fn store_layer(
        &self,
        tensor: OriginalTensor,
        solved: &Solved,
        activations: &ActivationPlan,
        report: &LayerReport,
    ) -> Result<(), StoreError> {
        write_text(
            &self.seconds_path(&report.name),
            &report.seconds.to_string(),
        )?;
        let report = LayerReport {
            seconds: 0.0,
            ..report.clone()
        };
        layer_file::write_layer(
            &self.layer_path(&report.name),
            tensor,
            solved,
            activations,
            &report,
        )
    }

    /// Stores a dense tensor that a fold has changed.
    pub fn store_changed_tensor(
        &self,
        name: &str,
        shape: &[usize],
        values: &[f32],
    ) -> Result<(), StoreError> {
        let path = self.own("changed").join(layer_file::file_name(name));
        let spec = TensorSpec {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
        };
        write_tensors(&path, &[spec], &[], |_, writer| {
            let bytes = floats::to_bytes(values, ScaleDtype::F32);
            writer
                .write_all(&bytes)
                .map_err(StoreError::io("could not be written", &path))
        })
    }

    /// Writes the report, drops the solved layers unless they are kept, and gives the folder its name.
    pub fn finish(mut self, report_json: &str, keep_layers: bool) -> Result<PathBuf, StoreError> {
        write_text(&self.own("report.json"), report_json)?;
        let seconds = self.own("seconds");
        fs::remove_dir_all(&seconds).map_err(StoreError::io("could not be removed", &seconds))?;
        if !keep_layers {
            let layers = self.own("layers");
            fs::remove_dir_all(&layers).map_err(StoreError::io("could not be removed", &layers))?;
        }
        if self.finished.exists() {
            // Only an empty folder is allowed to stand there (checked when the run began).
            fs::remove_dir(&self.finished)
                .map_err(StoreError::io("is in the way", &self.finished))?;
        }
        if cfg!(windows) {
            // There a folder with an open file in it cannot be renamed.
            self.lock = None;
        }
        fs::rename(&self.partial, &self.finished).map_err(StoreError::io(
            "could not be renamed into place",
            &self.finished,
        ))?;
        // Removed last: until now it kept others out. The run is whole with it or without.
        let _ = fs::remove_file(self.finished.join(OWN_FOLDER).join(LOCK));
        atomic::sync_folder(parent_of(&self.finished))?;
        Ok(self.finished)
    }

    fn own(&self, name: &str) -> PathBuf {
        self.partial.join(OWN_FOLDER).join(name)
    }

    fn seconds_path(&self, layer: &str) -> PathBuf {
        self.own("seconds")
            .join(layer_file::file_name(layer))
            .with_extension("txt")
    }

    fn layer_path(&self, layer: &str) -> PathBuf {
        self.own("layers").join(layer_file::file_name(layer))
    }

    fn check_fingerprint(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let path = self.own("fingerprint");
        let Ok(found) = fs::read_to_string(&path) else {
            return Err(StoreError::NothingToResume {
                path: self.partial.clone(),
            });
        };
        let mut lines = found.lines();
        for (part, value) in fingerprint {
            if lines.next() != Some(&format!("{part}\t{value}")) {
                return Err(StoreError::OtherRun {
                    what: part.clone(),
                    path: self.partial.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The solved layer `layer` of a finished (or partial) run folder.
pub fn layer_of_run(run: &Path, layer: &str) -> Result<Option<StoredLayer>, StoreError> {
    let path = run
        .join(OWN_FOLDER)
        .join("layers")
        .join(layer_file::file_name(layer));
    layer_file::read_layer(&path, layer)
}

/// The changed tensor `name` of a run folder, as f32 values.
pub fn changed_tensor_of_run(run: &Path, name: &str) -> Result<Option<Vec<f32>>, StoreError> {
    let path = run
        .join(OWN_FOLDER)
        .join("changed")
        .join(layer_file::file_name(name));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if layer_file::is_absent(&error) => return Ok(None),
        Err(error) => return Err(StoreError::io("could not be read", &path)(error)),
    };
    let damaged = || StoreError::io("is damaged", &path)(io::ErrorKind::InvalidData.into());
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
    let view = file.tensor(name).map_err(|_| damaged())?;
    Ok(Some(floats::from_bytes(view.data(), ScaleDtype::F32)))
}

fn write_text(path: &Path, text: &str) -> Result<(), StoreError> {
    atomic::write_file(path, |writer| {
        writer
            .write_all(text.as_bytes())
            .map_err(StoreError::io("could not be written", path))
    })
}

pub(super) fn partial_name(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    out.with_file_name(name)
}

pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Refuses outputs that are taken or lie inside the input.
pub(in crate::formats) fn check_output(out: &Path, input: &Path) -> Result<(), StoreError> {
    let taken = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    if taken {
        return Err(StoreError::NotEmpty {
            path: out.to_owned(),
        });
    }
    let parent = parent_of(out);
    fs::create_dir_all(parent).map_err(StoreError::io("could not be created", parent))?;
    let parent = parent
        .canonicalize()
        .map_err(StoreError::io("could not be found", parent))?;
    let input = input.canonicalize().unwrap_or_else(|_| input.to_owned());
    let inside = parent.join(out.file_name().unwrap_or_default());
    if input.is_dir() && inside.starts_with(&input) {
        return Err(StoreError::InsideInput {
            path: out.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! The true loss of a recipe: a whole run into a folder that goes again, reopened and measured.

use super::evaluate_job::open_runnable;
use super::requests::CompressRequest;
use super::scored_text::{Loss, ScoredText};
use super::{Session, SessionError};
use crate::formats::Format;
use crate::recipe::Recipe;
use crate::report::{Notice, Observer};
use std::path::Path;

impl Session {
    /// Compresses by `recipe` and measures what was written.
    pub(super) fn loss_of_recipe(
        &self,
        recipe: &Recipe,
        format: Format,
        text: &ScoredText,
        observer: &dyn Observer,
    ) -> Result<Loss, SessionError> {
        let folder = self.scratch()?;
        let request = CompressRequest {
            recipe: recipe.clone(),
            out: folder.path().join("run"),
            format,
            evaluate: None,
            resume: false,
            keep_layers: false,
        };
        // Warnings of the recipe are told once, by whoever asked.
        self.compress_here(&request, &WithoutWarnings(observer))?;
        let written = open_runnable(&request.out)?;
        self.loss_of(&written, recipe.kv_cache, text, observer)
    }

    /// A folder in the cache that is removed when it is dropped.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir, SessionError> {
        let parent = self.options.cache_folder.join("scratch");
        remove_left_over(&parent);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let made = std::fs::create_dir_all(&parent)
            .and_then(|()| tempfile::Builder::new().prefix(&prefix).tempdir_in(&parent));
        made.map_err(|error| self.scratch_problem(&parent, &error))
    }

    fn scratch_problem(&self, parent: &Path, error: &std::io::Error) -> SessionError {
        SessionError::Input {
            problem: format!(
                "no folder could be made to measure a recipe in: {error}; free some room or choose another cache folder"
            ),
            path: parent.to_owned(),
        }
    }
}

/// How names of scratch folders begin; the number of the process follows.
const PREFIX: &str = "measure-";

/// Removes what processes that were killed left behind, where the system tells which still run.
fn remove_left_over(parent: &Path) {
    let processes = Path::new("/proc");
    let Ok(folders) = std::fs::read_dir(parent) else {
        return;
    };
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let number = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'));
        let is_left = number.is_some_and(|(process, _)| {
            process.parse::<u32>().is_ok() && !processes.join(process).exists()
        });
        if processes.join("self").exists() && is_left {
            // What cannot be removed now is tried again next time.
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

/// Passes on all but warnings and layers.
pub(super) struct WithoutWarnings<'a>(pub(super) &'a dyn Observer);

impl crate::monitor::Monitor for WithoutWarnings<'_> {
    fn step(&self, done: u64, total: u64) {
        self.0.step(done, total);
    }

    fn should_stop(&self) -> bool {
        self.0.should_stop()
    }
}

impl Observer for WithoutWarnings<'_> {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Stage { .. } = notice {
            self.0.notice(notice);
        }
    }
}

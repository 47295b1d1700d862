//! The student as an ordinary model folder, before it is trained: one that is there, a teacher with parts left out, or
//! weights drawn anew.
//!
//! What is made lies in the run's own folder until the run is whole, so that a resumed run finds it.

use super::super::structure::make_student;
use super::super::{Session, SessionError};
use super::foresee::read_config;
use super::request::StudentSpec;
use super::sides::write_sides;
use crate::formats::StoreError;
use crate::formats::store::atomic::write_bytes;
use crate::formats::store::stream::{TensorSpec, write_tensors};
use crate::model::{ModelConfig, PlannedTensor};
use crate::recipe::{BlockChoice, CalibrationSettings, Recipe, Structure};
use crate::report::Observer;
use crate::tensor::Dtype;
use crate::train::fresh_values;
use std::fs;
use std::path::{Path, PathBuf};

/// The mark of a whole folder: written last.
const DONE: &str = "made";

impl Session {
    /// The folder of the student that `spec` names; made in `folder` where it has to be made, if it is not there yet.
    pub(super) fn student_folder(
        &self,
        spec: &StudentSpec,
        recipe: &Recipe,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<PathBuf, SessionError> {
        if let StudentSpec::Model(path) = spec {
            return Ok(path.clone());
        }
        if folder.join(DONE).is_file() {
            return Ok(folder.to_owned());
        }
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(StoreError::io("could not be removed", folder))?;
        }
        match spec {
            StudentSpec::Config(path) => self.fresh_student(path, recipe, folder)?,
            spec => {
                let recipe = Recipe {
                    structure: self.structure_of(spec)?,
                    calibration: self.fitting(&recipe.calibration)?,
                    ..recipe.clone()
                };
                make_student(self, &recipe, folder, observer)?;
            }
        }
        write_bytes(&folder.join(DONE), b"")?;
        Ok(folder.to_owned())
    }

    /// As many sequences as the text holds, where it holds fewer than parts are to be chosen on.
    pub(super) fn fitting(
        &self,
        asked: &CalibrationSettings,
    ) -> Result<CalibrationSettings, SessionError> {
        let mut asked = asked.clone();
        if let Some(path) = &asked.corpus {
            let tokens = self.open_corpus(Path::new(path))?.ids().len();
            asked.length = asked.length.min(tokens).max(1);
            asked.sequences = asked.sequences.min(tokens / asked.length).max(1);
        }
        Ok(asked)
    }

    /// What has to go for this student.
    pub(super) fn structure_of(&self, spec: &StudentSpec) -> Result<Structure, SessionError> {
        let config = self.model()?.config();
        let mut structure = Structure {
            repair: true,
            ..Structure::default()
        };
        match *spec {
            StudentSpec::Depth { share, evenly } => {
                let kept = ((share * config.blocks as f64).round() as usize).max(1);
                let gone = config.blocks - kept;
                // Similarity never takes the first or the last.
                structure.blocks = match evenly || gone > config.blocks.saturating_sub(2) {
                    true => BlockChoice::These(evenly_gone(config.blocks, kept)),
                    false => BlockChoice::Count(gone),
                };
            }
            StudentSpec::Width { share } => {
                structure.neurons = 1.0 - share;
                // A single group of heads has to stay.
                if config.kv_heads > 1 {
                    structure.heads = 1.0 - share;
                }
            }
            StudentSpec::Model(_) | StudentSpec::Config(_) => {}
        }
        match structure.is_none() {
            true => Err(self.input_problem(&format!(
                "{spec} leaves the teacher as it is; name a smaller share"
            ))),
            false => Ok(structure),
        }
    }

    /// Random weights of the network that a `config.json` describes, with the teacher's tokenizer.
    fn fresh_student(
        &self,
        config: &Path,
        recipe: &Recipe,
        folder: &Path,
    ) -> Result<(), SessionError> {
        let (text, json) = read_config(config)?;
        let parsed = ModelConfig::parse(&json)?;
        fs::create_dir_all(folder).map_err(StoreError::io("could not be created", folder))?;
        write_bytes(&folder.join("config.json"), &text)?;
        write_sides(&self.checkpoint, folder, false)?;
        let seed = recipe.train.as_ref().map_or(0, |train| train.seed);
        write_fresh(&parsed, seed, &folder.join("model.safetensors"))
    }
}

/// Blocks to take out so that `kept` of `all` stay at even distances, the last among them.
fn evenly_gone(all: usize, kept: usize) -> Vec<usize> {
    let stay: Vec<usize> = (0..kept)
        .map(|place| match kept {
            1 => 0,
            _ => place * (all - 1) / (kept - 1),
        })
        .collect();
    (0..all).filter(|block| !stay.contains(block)).collect()
}

fn write_fresh(config: &ModelConfig, seed: u64, path: &Path) -> Result<(), SessionError> {
    let tensors = config.tensors();
    let spec = |tensor: &PlannedTensor| TensorSpec {
        name: tensor.name.clone(),
        dtype: Dtype::F32,
        shape: tensor.shape.clone(),
    };
    let specs: Vec<TensorSpec> = tensors.iter().map(spec).collect();
    let metadata = [("format".to_owned(), "pt".to_owned())];
    write_tensors(path, &specs, &metadata, |index, output| {
        let values = fresh_values(config, &tensors[index], seed, index as u64);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let failed = StoreError::io("could not be written", path);
        output.write_all(&bytes).map_err(failed)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stay_at_even_distances() {
        let stay = |all: usize, kept: usize| -> Vec<usize> {
            let gone = evenly_gone(all, kept);
            (0..all).filter(|block| !gone.contains(block)).collect()
        };
        assert_eq!(stay(12, 6), [0, 2, 4, 6, 8, 11]);
        assert_eq!(stay(3, 2), [0, 2]);
        assert_eq!(stay(2, 1), [0]);
        assert_eq!(stay(5, 4), [0, 1, 2, 4]);
    }
}

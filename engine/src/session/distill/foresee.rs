//! What a training would take, told before anything is made: from shapes alone.

use super::super::evaluate_job::open_runnable;
use super::super::{Session, SessionError};
use super::memory::TrainMemory;
use super::mode_memory::WeightMemory;
use super::request::{DistillRequest, StudentSpec};
use super::teachers::needs_teachers;
use super::text::sequence_length;
use crate::model::{Model, ModelConfig};
use crate::recipe::Recipe;
use std::path::Path;

/// What a training would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainForesight {
    /// Memory at the peak, bytes: with the teachers in memory where they fit, else block by block.
    pub memory_bytes: u64,
    /// Memory that it may take, bytes.
    pub allowed_bytes: u64,
    /// Weights of the student.
    pub parameters: u64,
}

impl Session {
    /// What `distill` would take for `request`. Makes nothing; reads headers of other models only.
    pub fn foresee_training(
        &self,
        request: &DistillRequest,
    ) -> Result<TrainForesight, SessionError> {
        let settings = request.recipe.train.clone().unwrap_or_default();
        let first = self.model()?;
        let student = self.student_config(&request.student)?;
        let length = sequence_length(&settings, &student, first.is_encoder());
        let others = request
            .others
            .iter()
            .map(|other| open_runnable(&other.path));
        let others = others.collect::<Result<Vec<Model>, _>>()?;
        let teachers: Vec<&Model> = match needs_teachers(&settings, first.is_encoder()) {
            true => std::iter::once(first).chain(&others).collect(),
            false => Vec::new(),
        };
        let threads = self.install(rayon::current_num_threads);
        let memory = TrainMemory::of_config(&student, &teachers, &settings, length, threads);
        // Of a student that lies somewhere, what its codes take; any other is taken as dense.
        let memory = match &request.student {
            StudentSpec::Model(path) => {
                let student = Self::open_within(path, self.options.clone(), self.pool.clone())?;
                let codes = student.checkpoint.as_ref();
                let weights = WeightMemory::of(student.model()?, codes, &settings);
                memory.with_weights(weights, &settings)
            }
            _ => memory,
        };
        let allowed_bytes = self.memory_bytes();
        Ok(TrainForesight {
            memory_bytes: match memory.resident() <= allowed_bytes {
                true => memory.resident(),
                false => memory.by_block(),
            },
            allowed_bytes,
            parameters: memory.parameters,
        })
    }

    fn student_config(&self, spec: &StudentSpec) -> Result<ModelConfig, SessionError> {
        let json = match spec {
            StudentSpec::Model(path) => return Ok(open_runnable(path)?.config().clone()),
            StudentSpec::Config(path) => read_config(path)?.1,
            spec => {
                let recipe = Recipe {
                    structure: self.structure_of(spec)?,
                    ..Recipe::default()
                };
                self.plan_smaller(&recipe)?.config
            }
        };
        Ok(ModelConfig::parse(&json)?)
    }
}

/// A `config.json` that describes a fresh student: its bytes and what they say.
pub(super) fn read_config(path: &Path) -> Result<(Vec<u8>, serde_json::Value), SessionError> {
    let problem = |problem: String| SessionError::Input {
        problem,
        path: path.to_owned(),
    };
    let text = std::fs::read(path)
        .map_err(|error| problem(format!("the student's config.json cannot be read: {error}")))?;
    let json = serde_json::from_slice(&text)
        .map_err(|error| problem(format!("the student's config.json is no JSON ({error})")))?;
    Ok((text, json))
}

//! What a training would take, told before anything is made: from shapes alone.

use super::super::evaluate_job::open_runnable;
use super::super::{Session, SessionError};
use super::memory::{TrainMemory, VALUE_BYTES};
use super::mode_memory::WeightMemory;
use super::request::{DistillRequest, StudentSpec};
use super::teachers::needs_teachers;
use super::text::sequence_length;
use crate::model::{LayerInfo, Model, ModelConfig, PlannedTensor, list_layers};
use crate::packed::Stored;
use crate::recipe::{Recipe, TrainMode, TrainSettings};
use crate::tensor::{Dtype, SourceError, TensorInfo, WeightSource};
use std::collections::HashMap;
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
        let (student, weights) = self.foreseen_student(request, &settings)?;
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
        let memory = TrainMemory::of_config(&student, &teachers, &settings, length, threads)
            .with_weights(weights, &settings);
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

    /// The student's shape, and what its weights take: as they lie, or as they will after `prepare_training`.
    fn foreseen_student(
        &self,
        request: &DistillRequest,
        settings: &TrainSettings,
    ) -> Result<(ModelConfig, WeightMemory), SessionError> {
        let json = match &request.student {
            StudentSpec::Model(path) => {
                let student = Self::open_within(path, self.options.clone(), self.pool.clone())?;
                let model = student.model()?;
                let weights = match student.has_codes() {
                    true => WeightMemory::of(model, student.checkpoint.as_ref(), settings),
                    false => compressed(model.layers(), &request.recipe, settings),
                };
                return Ok((model.config().clone(), weights));
            }
            StudentSpec::Config(path) => read_config(path)?.1,
            spec => {
                let recipe = Recipe {
                    structure: self.structure_of(spec)?,
                    ..Recipe::default()
                };
                self.plan_smaller(&recipe)?.config
            }
        };
        let config = ModelConfig::parse(&json)?;
        let layers = list_layers(&Planned(config.tensors()), Some(&config));
        let weights = compressed(&layers, &request.recipe, settings);
        Ok((config, weights))
    }
}

/// What dense layers take in training: modes that learn on codes compress them first, as `recipe` says.
fn compressed(layers: &[LayerInfo], recipe: &Recipe, settings: &TrainSettings) -> WeightMemory {
    let has_codes = matches!(
        settings.mode,
        TrainMode::Scales | TrainMode::Round | TrainMode::Qat
    );
    let decisions = recipe.resolve(layers).decisions;
    let decided = layers.iter().zip(&decisions);
    let decided: HashMap<&str, Stored> = decided
        .map(|(layer, decision)| {
            let (rows, columns) = (layer.rows, layer.columns);
            let stored = Stored::of_settings(&decision.settings, rows, columns, layer.dtype);
            (layer.tensor.as_str(), stored)
        })
        .filter(|(_, stored)| has_codes && stored.code.bits().is_some())
        .collect();
    let codes = |layer: &LayerInfo| decided.get(layer.tensor.as_str()).copied();
    WeightMemory::of_layers(layers, &codes, settings)
}

/// Tensors of a network that nobody has made yet: names and shapes, no values.
#[derive(Debug)]
struct Planned(Vec<PlannedTensor>);

impl WeightSource for Planned {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|tensor| tensor.name.clone()).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let mut tensors = self.0.iter();
        let shape = &tensors.find(|tensor| tensor.name == name)?.shape;
        Some(TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
            size_bytes: shape.iter().product::<usize>() as u64 * VALUE_BYTES,
        })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        Err(absent(name))
    }

    fn read_bytes(&self, name: &str, _offset: u64, _buffer: &mut [u8]) -> Result<(), SourceError> {
        Err(absent(name))
    }
}

fn absent(name: &str) -> SourceError {
    SourceError::Missing {
        name: name.to_owned(),
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

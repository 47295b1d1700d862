//! The model that a run stands for, where its container is one that is written and not read: solved layers and changed
//! tensors of the run folder over the tensors of the model that it was made of.

use super::{Session, SessionError};
use crate::checkpoint::Checkpoint;
use crate::formats::emit;
use crate::formats::layout::{Placement, Plan};
use crate::formats::store::{changed_tensor_of_run, layer_of_run};
use crate::grid::ScaleDtype;
use crate::model::Model;
use crate::packed::{ActivationPlan, PackedSource, floats};
use crate::solved::Solved;
use crate::tensor::{SourceError, TensorInfo, WeightSource};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Session {
    /// The model of `plan`, whose layers stand in the run folder `run`.
    pub(super) fn solved_model(&self, plan: &Plan, run: &Path) -> Result<Model, SessionError> {
        let solved = plan.layers.iter();
        let solved = solved.filter(|layer| layer.placement != Placement::Source);
        let source = Arc::new(SolvedSource {
            source: self.checkpoint.clone(),
            run: run.to_owned(),
            layers: solved
                .map(|layer| {
                    let place = (layer.name.clone(), layer.tensor.transposed);
                    (layer.tensor.name.clone(), place)
                })
                .collect(),
        });
        let config = self.checkpoint.config_json().cloned().unwrap_or_default();
        let model = Model::open(source.clone(), &config);
        let model = model.map_err(|reason| SessionError::NoNetwork {
            reason: reason.to_string(),
            path: self.path.clone(),
        })?;
        Ok(model.on_kernels(source))
    }
}

struct SolvedSource {
    source: Arc<Checkpoint>,
    run: PathBuf,
    /// Names of solved layers, and whether they are stored `[in, out]`, by their tensors.
    layers: HashMap<String, (String, bool)>,
}

impl WeightSource for SolvedSource {
    fn names(&self) -> Vec<String> {
        self.source.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.source.info(name)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        if let Some((solved, _)) = self.of_run(name)? {
            let is_transposed = self.layers.get(name).is_some_and(|(_, turned)| *turned);
            return Ok(emit::dense_values(&solved, is_transposed).into_data());
        }
        let changed = changed_tensor_of_run(&self.run, name);
        match changed.map_err(|error| unfit(name, error))? {
            Some(values) => Ok(values),
            None => self.source.read_f32(name),
        }
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        if !self.layers.contains_key(name) {
            return self.source.read_bytes(name, offset, buffer);
        }
        let values = self.read_f32(name)?;
        let bytes = floats::to_bytes(&values, ScaleDtype::F32);
        let asked = usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(asked.ok_or_else(|| unfit(name, "is shorter than what is asked"))?);
        Ok(())
    }
}

impl PackedSource for SolvedSource {
    fn is_packed(&self, tensor: &str) -> bool {
        self.layers.contains_key(tensor) || self.source.is_packed(tensor)
    }

    fn solved(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError> {
        match self.of_run(tensor)? {
            Some(solved) => Ok(Some(solved)),
            None => self.source.solved(tensor),
        }
    }
}

impl SolvedSource {
    fn of_run(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError> {
        let Some((layer, _)) = self.layers.get(tensor) else {
            return Ok(None);
        };
        let stored = layer_of_run(&self.run, layer).map_err(|error| unfit(tensor, error))?;
        let stored = stored.ok_or_else(|| unfit(tensor, "is not among the layers of the run"))?;
        Ok(Some((stored.solved, stored.activations)))
    }
}

fn unfit(name: &str, problem: impl std::fmt::Display) -> SourceError {
    SourceError::Unfit {
        name: name.to_owned(),
        problem: problem.to_string(),
    }
}

//! A run in the format `gguf`: its one file, from the layers that were solved and the model that they came from.

use super::plan::GgufPlan;
use super::verify::verify;
use super::write::{AsItIs, Material, Materials, of_source, write};
use crate::checkpoint::Checkpoint;
use crate::formats::layout::{Placement, Plan};
use crate::formats::store::{StoreError, changed_tensor_of_run, layer_of_run};
use crate::moments::Moments;
use crate::report::{Observer, Verified};
use crate::tensor::WeightSource;
use std::collections::HashMap;
use std::path::Path;

/// Writes the file of `plan` at `path`, from the run folder `run` and its source.
pub(in crate::formats) fn write_run(
    path: &Path,
    gguf: &GgufPlan,
    plan: &Plan,
    run: &Path,
    source: &dyn WeightSource,
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    let materials = Run::new(plan, run, source);
    write(path, gguf, &materials, observer).map(|_| ())
}

/// Opens the file again and compares what this run made of it.
pub(in crate::formats) fn verify_run(
    path: &Path,
    gguf: &GgufPlan,
    plan: &Plan,
    run: &Path,
    observer: &dyn Observer,
) -> Result<Verified, StoreError> {
    let reopened = Checkpoint::open(path)?;
    let materials = Run::new(plan, run, &reopened);
    let mut compared = gguf.clone();
    compared.parts.clear();
    for part in &gguf.parts {
        match part.tensor() {
            Some(tensor) if materials.is_new(tensor)? => compared.parts.push(part.clone()),
            _ => {}
        }
    }
    verify(path, &compared, None, &materials, observer)
}

struct Run<'a> {
    run: &'a Path,
    source: &'a dyn WeightSource,
    /// Names of solved layers by their tensors.
    solved: HashMap<&'a str, &'a str>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, run: &'a Path, source: &'a dyn WeightSource) -> Self {
        let layers = plan.layers.iter();
        let solved = layers.filter(|layer| layer.placement != Placement::Source);
        Self {
            run,
            source,
            solved: solved
                .map(|layer| (layer.tensor.name.as_str(), layer.name.as_str()))
                .collect(),
        }
    }
}

impl Materials for Run<'_> {
    fn material(&self, tensor: &str, as_it_is: AsItIs) -> Result<Material, StoreError> {
        if let Some(layer) = self.solved.get(tensor) {
            let stored = layer_of_run(self.run, layer)?.ok_or_else(|| StoreError::NoLayer {
                layer: (*layer).to_owned(),
                path: self.run.to_owned(),
            })?;
            return Ok(Material::Solved(Box::new(stored.solved)));
        }
        if let Some(values) = changed_tensor_of_run(self.run, tensor)? {
            return Ok(Material::Values(values));
        }
        of_source(self.source, tensor, as_it_is)
    }

    fn source(&self) -> &dyn WeightSource {
        self.source
    }

    fn is_new(&self, tensor: &str) -> Result<bool, StoreError> {
        Ok(self.solved.contains_key(tensor) || changed_tensor_of_run(self.run, tensor)?.is_some())
    }

    fn importance(&self, _: &str) -> Option<&[f32]> {
        None
    }

    fn moments(&self, _: &str) -> Result<Option<Moments>, StoreError> {
        Ok(None)
    }
}

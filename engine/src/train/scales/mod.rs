//! Scales alone: the codes of a compressed model stay, their scales (zeros where they are fractional, levels of palettes)
//! learn what rounding has spoilt.
//!
//! After DWQ of mlx-lm: codes are frozen, scales follow the teacher's logits. A scale is learnt as `start * (1 + v)`, so
//! that one learning rate suits layers of any size; it is snapped to its stored dtype in each forward pass, and the
//! gradient goes through that as through the identity: what is trained is what will be stored.
//! Knows no file and no loss.

mod form;
#[cfg(test)]
mod tests;

use super::beside::{Norms, in_order, rounded_inputs};
use super::error::TrainError;
use super::frozen::Frozen;
use super::learner::{Learner, Variable};
use super::values::{constant, values_of, variable};
use crate::model::{Around, ChangedTensor, LayerInfo, Model, ModelError, Provider, Role};
use crate::packed::{ActivationPlan, PackedSource};
use crate::solved::{LowRank, Solved};
use crate::tensor::Matrix;
use candle_core::{Tensor, Var};
use form::Form;
use std::collections::BTreeMap;

/// What is trained beside scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScaleOptions {
    /// Norms too.
    pub norms: bool,
}

/// A layer whose codes stay.
struct Layer {
    /// Index into the model's list.
    index: usize,
    transposed: bool,
    form: Form,
    activations: ActivationPlan,
    vars: Vec<Var>,
    /// Factors multiplied out, `[out, in]`.
    added: Option<Tensor>,
}

/// The scales of a compressed model.
pub struct ScaleLearner {
    frozen: Frozen,
    layers: BTreeMap<String, Layer>,
    norms: Norms,
    variables: Vec<Variable>,
}

/// A layer with the scales that it has learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedLayer {
    /// Index into the model's list.
    pub layer: usize,
    /// What is to be stored.
    pub solved: Solved,
    /// What it does to its inputs, as before.
    pub activations: ActivationPlan,
}

impl ScaleLearner {
    /// Over all layers that `packed` holds as codes; `model` is the same model with dense values.
    pub fn new(
        model: &Model,
        packed: &dyn PackedSource,
        options: ScaleOptions,
    ) -> Result<Self, TrainError> {
        let mut learner = Self {
            frozen: Frozen::new(model.source().clone()),
            layers: BTreeMap::new(),
            norms: Norms::default(),
            variables: Vec::new(),
        };
        for (index, info) in model.layers().iter().enumerate() {
            if options.norms && info.role == Role::Norm && info.dtype.is_float() {
                let norm = learner
                    .norms
                    .add(info, learner.frozen.values(&info.tensor)?)?;
                learner.variables.push(norm);
                continue;
            }
            let found = packed.solved(&info.tensor).map_err(ModelError::from)?;
            if let Some((solved, activations)) = found {
                learner.add_layer(index, info, solved, activations)?;
            }
        }
        if learner.layers.is_empty() {
            return Err(TrainError::misuse(
                "the student has no layers with codes whose scales could be trained; name a run that pare compressed as --student",
            ));
        }
        Ok(learner)
    }

    fn add_layer(
        &mut self,
        index: usize,
        info: &LayerInfo,
        solved: Solved,
        activations: ActivationPlan,
    ) -> Result<(), TrainError> {
        let factors = solved.factors.clone();
        let Some(form) = Form::new(solved)? else {
            return Ok(());
        };
        let added = factors.map(|factors| product(&factors)).transpose()?;
        let mut vars = Vec::new();
        for (suffix, shape) in form.variables() {
            let var = variable(vec![0.0; shape.0 * shape.1], shape)?;
            self.variables.push(Variable {
                name: format!("{}.{suffix}", info.tensor),
                var: var.clone(),
                decay: false,
                rate: 1.0,
            });
            vars.push(var);
        }
        let layer = Layer {
            index,
            transposed: info.transposed,
            form,
            activations,
            vars,
            added,
        };
        self.layers.insert(info.tensor.clone(), layer);
        Ok(())
    }

    /// Every layer with its scales as they stand.
    pub fn layers(&self) -> Result<Vec<TrainedLayer>, TrainError> {
        in_order(self.layers.values().map(|layer| {
            let values = layer.vars.iter().map(|var| values_of(var));
            Ok(TrainedLayer {
                layer: layer.index,
                solved: layer.form.solved(&values.collect::<Result<Vec<_>, _>>()?)?,
                activations: layer.activations,
            })
        }))
    }

    /// Dense tensors that were trained: norms, where asked.
    pub fn changed_tensors(&self) -> Result<Vec<ChangedTensor>, TrainError> {
        self.norms.changed()
    }
}

/// Factors multiplied out.
fn product(factors: &LowRank) -> candle_core::Result<Tensor> {
    let tensor =
        |matrix: &Matrix| constant(matrix.data().to_vec(), (matrix.rows(), matrix.columns()));
    tensor(&factors.outer)?.matmul(&tensor(&factors.inner)?)
}

impl std::fmt::Debug for ScaleLearner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ScaleLearner")
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl Layer {
    fn weights(&self) -> candle_core::Result<Tensor> {
        let weights = self.form.weights(&self.vars)?;
        let weights = match &self.added {
            Some(added) => (weights + added)?,
            None => weights,
        };
        match self.transposed {
            true => weights.t(),
            false => Ok(weights),
        }
    }
}

impl Provider for ScaleLearner {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        if let Some(layer) = self.layers.get(name) {
            return Ok(layer.weights()?);
        }
        match self.norms.tensor(name)? {
            Some(norm) => Ok(norm),
            None => self.frozen.tensor(name, shape),
        }
    }

    fn around(&self, name: &str) -> Result<Option<Around>, ModelError> {
        let around = |layer: &Layer| {
            let group = layer.form.integer_group()?;
            rounded_inputs(layer.activations, group)
        };
        Ok(self.layers.get(name).and_then(around))
    }
}

impl Learner for ScaleLearner {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn provider(&self) -> &(dyn Provider + Sync) {
        self
    }
}

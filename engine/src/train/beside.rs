//! What learners over codes share: norms that are trained beside them, inputs that are rounded in front of them, and the
//! order in which layers come out.
//!
//! Norms are shown as they will be stored: in a checkpoint of 16-bit floats small changes of theirs vanish, and nobody
//! should train on them. Knows no codes.

use super::error::TrainError;
use super::learner::Variable;
use super::scales::TrainedLayer;
use super::stored::{Stored, as_stored};
use super::values::{values_of, variable};
use crate::model::{Around, ChangedTensor, LayerInfo, RoundedInputs};
use crate::packed::ActivationPlan;
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;

/// Norms by tensor.
#[derive(Default)]
pub(super) struct Norms(BTreeMap<String, (Var, Option<Stored>)>);

impl Norms {
    /// The norm `info` starts at `values`; gives its variable.
    pub(super) fn add(
        &mut self,
        info: &LayerInfo,
        values: Vec<f32>,
    ) -> Result<Variable, TrainError> {
        let var = variable(values, info.shape.as_slice())?;
        let how = Stored::of_dense(info.dtype);
        self.0.insert(info.tensor.clone(), (var.clone(), how));
        Ok(Variable {
            name: info.tensor.clone(),
            var,
            decay: false,
            rate: 1.0,
        })
    }

    /// The norm `name` as it will be stored; `None` = it is not trained.
    pub(super) fn tensor(&self, name: &str) -> candle_core::Result<Option<Tensor>> {
        self.0.get(name).map(shown).transpose()
    }

    /// All of them as they will be stored.
    pub(super) fn changed(&self) -> Result<Vec<ChangedTensor>, TrainError> {
        let changed = self.0.iter().map(|(name, norm)| {
            Ok((
                name.clone(),
                norm.0.dims().to_vec(),
                values_of(&shown(norm)?)?,
            ))
        });
        changed.collect()
    }
}

fn shown((var, how): &(Var, Option<Stored>)) -> candle_core::Result<Tensor> {
    match how {
        Some(how) => as_stored(var.as_tensor(), *how),
        None => Ok(var.as_tensor().clone()),
    }
}

/// What stands in front of a layer with such a plan and groups of so many columns.
pub(super) fn rounded_inputs(plan: ActivationPlan, group: usize) -> Option<Around> {
    (plan != ActivationPlan::NONE).then_some(Around::RoundedInputs(RoundedInputs { plan, group }))
}

/// Layers in the order of the model's list.
pub(super) fn in_order(
    layers: impl Iterator<Item = Result<TrainedLayer, TrainError>>,
) -> Result<Vec<TrainedLayer>, TrainError> {
    let mut layers = layers.collect::<Result<Vec<_>, _>>()?;
    layers.sort_by_key(|layer| layer.layer);
    Ok(layers)
}

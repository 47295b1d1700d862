//! Every tensor of a network as a variable of its own, with zeros that stay zero where masks say so.
//!
//! Knows no loss and no schedule.

use super::error::TrainError;
use super::learner::{Learner, Variable};
use super::prune::Pruner;
use crate::model::{LayerKind, Model, ModelError, Provider};
use crate::recipe::TrainPruning;
use candle_core::{Device, Tensor, Var};
use std::cell::RefCell;
use std::collections::HashMap;

/// A network that is trained as a whole.
#[derive(Debug)]
pub struct Dense {
    variables: Vec<Variable>,
    tensors: Tensors,
    pruner: Option<Pruner>,
}

/// Variables by tensor name.
#[derive(Debug)]
struct Tensors(HashMap<String, Var>);

impl Dense {
    /// Variables that start at the model's weights, in the network's own order. Matrices decay, vectors do not.
    pub fn new(model: &Model) -> Result<Self, TrainError> {
        let maker = Maker {
            model,
            made: RefCell::default(),
        };
        model.build_ends(&maker)?;
        for index in 0..model.config().blocks {
            model.build_block(index, &maker)?;
        }
        let variables = maker.made.into_inner();
        let named = variables.iter();
        let tensors = named.map(|variable| (variable.name.clone(), variable.var.clone()));
        Ok(Self {
            tensors: Tensors(tensors.collect()),
            variables,
            pruner: None,
        })
    }

    /// The same with zeros that grow in all linear layers of blocks over a run of `steps` steps.
    pub fn pruned(mut self, model: &Model, plan: TrainPruning, steps: u64) -> Self {
        let layers = model.layers().iter();
        let layers =
            layers.filter(|layer| layer.kind == LayerKind::Linear && layer.block.is_some());
        let found = layers.filter_map(|layer| {
            let mut variables = self.variables.iter();
            let variable = variables.find(|variable| variable.name == layer.tensor)?;
            Some((variable.clone(), layer.transposed))
        });
        self.pruner = Some(Pruner::new(plan, found.collect(), steps));
        self
    }

    /// What grows zeros, where something does.
    pub fn pruner(&self) -> Option<&Pruner> {
        self.pruner.as_ref()
    }

    /// The value of a tensor now, row-major; `None` where the network has no such tensor.
    pub fn values(&self, tensor: &str) -> Result<Option<Vec<f32>>, TrainError> {
        let variable = self.tensors.0.get(tensor);
        let values = variable.map(|variable| variable.flatten_all()?.to_vec1::<f32>());
        Ok(values.transpose()?)
    }
}

impl Learner for Dense {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn provider(&self) -> &(dyn Provider + Sync) {
        &self.tensors
    }

    fn settle(&self, step: u64) -> Result<(), TrainError> {
        match &self.pruner {
            Some(pruner) => pruner.settle(step),
            None => Ok(()),
        }
    }

    fn may_end(&self, step: u64) -> bool {
        self.pruner
            .as_ref()
            .is_none_or(|pruner| pruner.is_complete(step))
    }

    fn resume(&self, step: u64) -> Result<(), TrainError> {
        match &self.pruner {
            Some(pruner) => pruner.resume(step),
            None => Ok(()),
        }
    }
}

impl Provider for Tensors {
    fn tensor(&self, name: &str, _shape: &[usize]) -> Result<Tensor, ModelError> {
        let variable = self.0.get(name).ok_or_else(|| ModelError::MissingTensor {
            name: name.to_owned(),
        })?;
        Ok(variable.as_tensor().clone())
    }
}

/// Makes a variable of everything that the network asks for.
struct Maker<'a> {
    model: &'a Model,
    made: RefCell<Vec<Variable>>,
}

impl Provider for Maker<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let values = self.model.source().read_f32(name)?;
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
        self.made.borrow_mut().push(Variable {
            name: name.to_owned(),
            var: var.clone(),
            decay: shape.len() > 1,
            rate: 1.0,
        });
        Ok(var.as_tensor().clone())
    }
}

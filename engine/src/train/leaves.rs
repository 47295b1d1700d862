//! Where a part of the network ends and what its weights are made of begins.
//!
//! A part's tensors are derived once for all sequences of a step: each derived tensor is cut off from its derivation and
//! becomes a leaf, sequences are pulled back to the leaves, and the sums of their gradients are pulled back to the
//! variables once. Knows no part and no loss.

use super::error::TrainError;
use super::gradients::Gradients;
use super::learner::Learner;
use crate::model::{Around, ModelError, Multiplied, Provider};
use crate::packed::ActivationPlan;
use crate::solved::Solved;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use std::cell::RefCell;

/// Gives a learner's tensors as leaves.
pub(super) struct Leaves<'a> {
    provider: &'a (dyn Provider + Sync),
    given: RefCell<Vec<Leaf>>,
}

/// A tensor that follows from variables, and what stands for it in passes.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    derived: Tensor,
    /// The variable itself where nothing is derived.
    leaf: Tensor,
}

/// Gives a learner's tensors as constants.
pub(super) struct Constants<'a>(pub(super) &'a (dyn Provider + Sync));

impl<'a> Leaves<'a> {
    pub(super) fn of(provider: &'a (dyn Provider + Sync)) -> Self {
        Self {
            provider,
            given: RefCell::default(),
        }
    }

    /// Those that were asked for, in that order.
    pub(super) fn given(self) -> Vec<Leaf> {
        self.given.into_inner()
    }
}

impl Leaves<'_> {
    /// What stands for `derived` in passes; constants stand for themselves.
    fn leaf(&self, derived: Tensor) -> Result<Tensor, ModelError> {
        if !derived.track_op() {
            return Ok(derived);
        }
        let leaf = match derived.is_variable() {
            true => derived.clone(),
            false => Var::from_tensor(&derived.detach())?.as_tensor().clone(),
        };
        self.given.borrow_mut().push(Leaf {
            derived,
            leaf: leaf.clone(),
        });
        Ok(leaf)
    }
}

impl Provider for Leaves<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        self.leaf(self.provider.tensor(name, shape)?)
    }

    fn packed(&self, name: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
        self.provider.packed(name)
    }

    fn matrix(&self, name: &str) -> Result<Option<Multiplied>, ModelError> {
        self.provider.matrix(name)
    }

    fn around(&self, name: &str) -> Result<Option<Around>, ModelError> {
        let around = self.provider.around(name)?;
        let around = around.map(|around| around.mapped(|tensor| self.leaf(tensor)));
        around.transpose()
    }
}

impl Provider for Constants<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        Ok(self.0.tensor(name, shape)?.detach())
    }

    fn packed(&self, name: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
        self.0.packed(name)
    }

    fn matrix(&self, name: &str) -> Result<Option<Multiplied>, ModelError> {
        self.0.matrix(name)
    }

    fn around(&self, name: &str) -> Result<Option<Around>, ModelError> {
        let around = self.0.around(name)?;
        let around = around.map(|around| around.mapped(|tensor| Ok(tensor.detach())));
        around.transpose()
    }
}

/// One unit's way back through a part of the network.
pub(super) struct Passed {
    pub(super) loss: f64,
    /// At what entered; absent at the beginning of the network.
    pub(super) gradient: Option<Tensor>,
    pub(super) leaves: LeafSums,
}

/// Gradients at the leaves of one part, in their order.
#[derive(Debug)]
pub(super) struct LeafSums(Vec<Option<Tensor>>);

impl LeafSums {
    pub(super) fn of(leaves: &[Leaf]) -> Self {
        Self(vec![None; leaves.len()])
    }

    /// What `store` holds for the leaves.
    pub(super) fn taken(leaves: &[Leaf], store: &mut GradStore) -> Self {
        Self(leaves.iter().map(|leaf| store.remove(&leaf.leaf)).collect())
    }

    /// Adds another pass. The caller keeps the order.
    pub(super) fn add(&mut self, other: Self) -> Result<(), TrainError> {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = match (sum.take(), more) {
                (Some(sum), Some(more)) => Some((sum + more)?),
                (sum, more) => sum.or(more),
            };
        }
        Ok(())
    }

    /// Pulls the sums back to the variables.
    pub(super) fn pull_back(
        self,
        leaves: &[Leaf],
        learner: &dyn Learner,
        gradients: &mut Gradients,
    ) -> Result<(), TrainError> {
        let mut derived: Option<Tensor> = None;
        for (leaf, sum) in leaves.iter().zip(self.0) {
            let Some(sum) = sum else { continue };
            if leaf.derived.is_variable() {
                gradients.add(&leaf.derived, sum)?;
                continue;
            }
            let along = (&leaf.derived * sum)?.sum_all()?;
            derived = Some(match derived {
                Some(total) => (total + along)?,
                None => along,
            });
        }
        let Some(derived) = derived else {
            return Ok(());
        };
        let mut store = derived.backward()?;
        for variable in learner.variables() {
            if let Some(gradient) = store.remove(&variable.var) {
                gradients.add(&variable.var, gradient)?;
            }
        }
        Ok(())
    }
}

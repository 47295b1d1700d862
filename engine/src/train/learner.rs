//! What training changes: named variables, and how the network's tensors follow from them.
//!
//! The one meeting point of the loop and of the things that are trained (whole networks, scales, fake-quantized weights,
//! adapters): the loop knows variables and gradients only, a learner knows no loss, optimizer or text.

use super::error::TrainError;
use crate::model::Provider;
use candle_core::Var;

/// One variable.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Unique among a learner's variables; a dense one bears its tensor's name.
    pub name: String,
    /// Its value, f32.
    pub var: Var,
    /// Whether weight decay applies.
    pub decay: bool,
    /// A factor on the learning rate.
    pub rate: f64,
}

/// What training changes, and how the network's tensors follow from it.
pub trait Learner: Send + Sync {
    /// All variables, in an order that never changes (checkpoints rely on it).
    fn variables(&self) -> &[Variable];

    /// The network's tensors as differentiable functions of the variables; frozen ones are constants, read when asked
    /// for. Each is asked for once a pass and micro-batch.
    fn provider(&self) -> &(dyn Provider + Sync);

    /// Called after each step, one that was skipped too (masks kept, ranges clamped). `step` counts from 1.
    fn settle(&self, _step: u64) -> Result<(), TrainError> {
        Ok(())
    }

    /// Whether what the variables are after `step` may be the end of a run: not while zeros still grow.
    fn may_end(&self, _step: u64) -> bool {
        true
    }

    /// Called once when a stored run goes on after `step` steps, its variables already in place.
    fn resume(&self, _step: u64) -> Result<(), TrainError> {
        Ok(())
    }

    /// Called before and after a look at sequences that no step is taken on: what only training does (dropout) rests.
    fn rest(&self, _rests: bool) {}
}

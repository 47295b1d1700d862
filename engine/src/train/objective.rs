//! What a batch is judged by: a loss of the network's outputs (and of states inside it), with its gradient.
//!
//! Knows no optimizer; the pass knows no loss.

use super::error::TrainError;
use candle_core::Tensor;

/// Neighbouring positions of one sequence of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Index in the batch.
    pub sequence: usize,
    /// First position.
    pub start: usize,
    /// Positions.
    pub count: usize,
}

/// What a block's output says about the loss.
#[derive(Debug)]
pub struct StateLoss {
    /// Its share of the loss.
    pub loss: f64,
    /// The gradient at the states, of their shape.
    pub gradient: Tensor,
    /// Gradients at variables of the objective itself: variable, gradient.
    pub own: Vec<(Tensor, Tensor)>,
}

/// A loss over one batch. What it gives is final: already weighted and divided by whatever it is a mean over.
pub trait Objective: Sync {
    /// The loss of a part's outputs, `[count, width]` row-major (logits; of an encoder, last hidden states), which are
    /// replaced by the gradient. A loss that is no finite number makes the step one that is skipped.
    fn judge(&self, part: Part, outputs: &mut [f32], width: usize) -> Result<f64, TrainError>;

    /// Whether a sequence's outputs must come in one part.
    fn wants_whole_sequences(&self) -> bool {
        false
    }

    /// Whether `judge_attention` is to be asked.
    fn wants_attention(&self) -> bool {
        false
    }

    /// The loss of where tokens look in block `block`: the mean over heads of attention's shares,
    /// `[members, tokens, tokens]`. One value, a differentiable function of `shares`.
    fn judge_attention(
        &self,
        _block: usize,
        _members: &[usize],
        _shares: &Tensor,
    ) -> Result<Option<Tensor>, TrainError> {
        Ok(None)
    }

    /// The loss of what leaves block `block` for the sequences `members` of the batch, `[members, tokens, hidden]`.
    fn judge_states(
        &self,
        _block: usize,
        _members: &[usize],
        _states: &Tensor,
    ) -> Result<Option<StateLoss>, TrainError> {
        Ok(None)
    }
}

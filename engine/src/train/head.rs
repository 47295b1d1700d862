//! The end of the network: last states through final norm and head to the loss, a few positions at a time.
//!
//! Logits of a long sequence never exist together. Knows no block and no loss.

use super::batch::Batch;
use super::error::TrainError;
use super::leaves::{Leaf, LeafSums, Passed};
use super::objective::{Objective, Part};
use crate::model::Ends;
use candle_core::{Device, Tensor, Var};

/// Logits computed at once: 4 MB of them.
const LOGITS_AT_ONCE: usize = 1 << 20;

/// Positions at once at least, so that the head's weights are not read for each position.
const FEWEST_POSITIONS: usize = 32;

/// One unit's last states through final norm and head to the loss and back, a few positions at a time.
pub(super) fn pass_head(
    ends: &Ends,
    leaves: &[Leaf],
    states: &Tensor,
    batch: &Batch,
    unit: usize,
    objective: &dyn Objective,
) -> Result<Passed, TrainError> {
    let mut sums = LeafSums::of(leaves);
    let (mut loss, mut rows) = (0.0, Vec::new());
    for (row, &sequence) in batch.members(unit).iter().enumerate() {
        let state = states.narrow(0, row, 1)?;
        let mut pieces = Vec::new();
        for part in parts(ends, sequence, batch.unit_length(unit), objective)? {
            let input = state.narrow(1, part.start, part.count)?.contiguous()?;
            let input = Var::from_tensor(&input)?;
            let output = ends.head(input.as_tensor())?;
            let mut values = output.flatten_all()?.to_vec1::<f32>()?;
            loss += objective.judge(part, &mut values, output.dim(2)?)?;
            let toward = Tensor::from_vec(values, output.shape(), &Device::Cpu)?;
            let mut store = (output * toward)?.sum_all()?.backward()?;
            pieces.extend(store.remove(input.as_tensor()));
            sums.add(LeafSums::taken(leaves, &mut store))?;
        }
        rows.push(Tensor::cat(&pieces, 1)?);
    }
    Ok(Passed {
        loss,
        gradient: Some(Tensor::cat(&rows, 0)?),
        leaves: sums,
    })
}

/// The loss alone.
pub(super) fn judge_head(
    ends: &Ends,
    states: &Tensor,
    batch: &Batch,
    unit: usize,
    objective: &dyn Objective,
) -> Result<f64, TrainError> {
    let mut loss = 0.0;
    for (row, &sequence) in batch.members(unit).iter().enumerate() {
        let state = states.narrow(0, row, 1)?;
        for part in parts(ends, sequence, batch.unit_length(unit), objective)? {
            let output = ends.head(&state.narrow(1, part.start, part.count)?)?;
            let mut values = output.flatten_all()?.to_vec1::<f32>()?;
            loss += objective.judge(part, &mut values, output.dim(2)?)?;
        }
    }
    Ok(loss)
}

/// Positions whose logits exist together.
pub fn positions_at_once(vocabulary: usize) -> usize {
    (LOGITS_AT_ONCE / vocabulary.max(1)).max(FEWEST_POSITIONS)
}

/// The positions of a sequence, as many at a time as their logits allow.
fn parts(
    ends: &Ends,
    sequence: usize,
    tokens: usize,
    objective: &dyn Objective,
) -> Result<Vec<Part>, TrainError> {
    let at_once = match objective.wants_whole_sequences() {
        true => tokens,
        false => positions_at_once(ends.vocabulary()?),
    };
    let starts = (0..tokens).step_by(at_once.max(1));
    let part = |start| Part {
        sequence,
        start,
        count: at_once.min(tokens - start),
    };
    Ok(starts.map(part).collect())
}

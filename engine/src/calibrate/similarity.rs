//! How much each block turns what passes through it: one forward pass over a sample.
//!
//! Similarity is the mean cosine between a block's input and output over tokens, where the residual stream is what goes
//! from block to block (Men et al. 2024, arXiv 2403.03853). A block whose output is almost its input can go.

use super::stream::values;
use super::{CalibrateError, SpillPolicy, Stream};
use crate::model::Model;
use crate::monitor::Monitor;
use rayon::prelude::*;

/// The similarity of every block of `model`, in order.
pub fn block_similarity(
    model: &Model,
    sequences: &[Vec<u32>],
    policy: &SpillPolicy,
    monitor: &dyn Monitor,
) -> Result<Vec<f64>, CalibrateError> {
    let blocks = model.config().blocks;
    let stream = Stream::embed(model, &model.load_ends()?, sequences, policy, monitor)?;
    let mut similarity = Vec::with_capacity(blocks);
    for index in 0..blocks {
        let block = model.load_block(index)?;
        let sums = (0..stream.sequences())
            .into_par_iter()
            .map(|sequence| {
                monitor.check()?;
                let input = values(&stream.hidden(sequence)?)?;
                stream.advance_one(&block, sequence)?;
                let output = values(&stream.hidden(sequence)?)?;
                Ok(cosines(&input, &output, model.config().hidden))
            })
            .collect::<Result<Vec<f64>, CalibrateError>>()?;
        let tokens = (stream.sequences() * stream.tokens()).max(1);
        let mean = sums.iter().sum::<f64>() / tokens as f64;
        if !mean.is_finite() {
            let layer = format!("block {index}");
            return Err(CalibrateError::NonFinite { layer });
        }
        similarity.push(mean);
        monitor.step(index as u64 + 1, blocks as u64);
    }
    Ok(similarity)
}

/// The sum of the cosines of all tokens; a token of zeros counts as unchanged.
fn cosines(input: &[f32], output: &[f32], width: usize) -> f64 {
    let tokens = input.chunks_exact(width).zip(output.chunks_exact(width));
    tokens.map(|(before, after)| cosine(before, after)).sum()
}

fn cosine(before: &[f32], after: &[f32]) -> f64 {
    let (mut product, mut left, mut right) = (0.0f64, 0.0f64, 0.0f64);
    for (&before, &after) in before.iter().zip(after) {
        let (before, after) = (f64::from(before), f64::from(after));
        product += before * after;
        left += before * before;
        right += after * after;
    }
    match left > 0.0 && right > 0.0 {
        true => product / (left.sqrt() * right.sqrt()),
        false => 1.0,
    }
}

//! One gradient pass: how much the loss minds an error at each output of each linear layer.
//!
//! Let `z` be what the loss is a function of (of a decoder, the logits at the scored positions; of an encoder, the pooled
//! embedding) and `L(z)` the divergence from the original's own `z`. Its value and slope are zero where nothing is
//! changed, so a small change `δ` of the outputs of one layer costs `½ δᵀ Jᵀ F J δ`, with `J = ∂z/∂outputs` and `F` the
//! curvature of `L` at the original: the Fisher information (Martens 2014, arXiv 1412.1193, sections 5 and 9).
//! Wherever `F = E[u uᵀ]` for random `u` that can be drawn, one backward pass of `u·z` gives `G = Jᵀ u` with
//! `E[G Gᵀ] = Jᵀ F J`:
//! - KL(original || changed), summed over positions: `u = ∂ log p(y)/∂z` for labels `y` drawn from the original's own
//!   distribution, at each position by itself. Never the labels of the text: those give another matrix.
//! - `1 - cosine` of embeddings: it is `½ |δ_⊥|²/|z|²` with `δ_⊥` the part of `δ` across `z`: `u = v_⊥/|z|` for a
//!   standard normal `v`.
//!
//! Products of different tokens and of different outputs are left out: the loss of one layer's error is then
//! `½ Σ_s Σ_i G_si² δ_si²`, and with `G` and `δ` independent over the `S` tokens, `½ Σ_i (Σ_s G_si²)(dW H dWᵀ)_ii`, for
//! `(dW H dWᵀ)_ii` is the mean of `δ_si²`. Per scored token (of an encoder, per sentence), of which there are `N`:
//! `g_i = Σ_s G_si² / N`. Too small where errors of all tokens share a sign and the loss averages over tokens, as mean
//! pooling does; ranks of layers survive that better than sizes.
//! Knows no option and no solver.

use crate::evaluate::{EvaluateError, Pooling, Slice, positions_at_once};
use crate::model::{Block, Context, Ends, ModelError};
use crate::report::{Notice, Observer};
use crate::rng::Rng;
use candle_core::{Device, Tensor, Var};

/// For each layer of the model's list, `g_i` for each output `i`; `None` of layers that are neither linear layers of a
/// block nor the head (an embedding that is the head too counts as the head).
pub type OutputGains = Vec<Option<Vec<f64>>>;

/// One pass backward through the original network of `slice`. Draws depend on `seed` and the place of a sequence.
pub fn output_gains(
    slice: &Slice<'_>,
    seed: u64,
    observer: &dyn Observer,
) -> Result<OutputGains, EvaluateError> {
    let blocks = slice.model().config().blocks;
    let mut progress = Progress::start(observer, slice.groups().len() * (blocks + 1));
    let mut sums: OutputGains = vec![None; slice.model().layers().len()];
    for group in slice.groups() {
        let states = slice.states_before(blocks, group.clone())?;
        let passed = slice.with_ends(|ends| {
            slice.in_lanes(group.len(), |offset| {
                let batch = group.start + offset;
                let sequences = slice.sequences(batch);
                pass_ends(ends, &states[offset], &sequences, slice.pooling(), seed)
            })
        })?;
        let mut gradients = add_up(passed, &mut sums);
        progress.step()?;
        for index in (0..blocks).rev() {
            let states = slice.states_before(index, group.clone())?;
            let block = slice.block(index)?;
            let passed = slice.in_lanes(group.len(), |offset| {
                let context = slice.context(group.start + offset);
                Ok(pass_block(
                    &block,
                    &states[offset],
                    context,
                    &gradients[offset],
                )?)
            })?;
            gradients = add_up(passed, &mut sums);
            progress.step()?;
        }
    }
    let scored = slice.scored() as f64;
    sums.iter_mut()
        .flatten()
        .flatten()
        .for_each(|sum| *sum /= scored);
    Ok(sums)
}

/// What leaves one batch's way back through a part of the network.
struct Passed {
    /// The gradient at what entered.
    gradient: Tensor,
    /// By layer: sums of squares at each output.
    squares: Vec<(usize, Vec<f64>)>,
}

/// Adds squares up in the order of the batches, and hands the gradients on.
fn add_up(passed: Vec<Passed>, sums: &mut OutputGains) -> Vec<Tensor> {
    let mut gradients = Vec::with_capacity(passed.len());
    for Passed { gradient, squares } in passed {
        for (layer, squares) in squares {
            let sums = sums[layer].get_or_insert_with(|| vec![0.0; squares.len()]);
            sums.iter_mut()
                .zip(squares)
                .for_each(|(sum, square)| *sum += square);
        }
        gradients.push(gradient);
    }
    gradients
}

/// One batch back through a block.
fn pass_block(
    block: &Block,
    hidden: &Tensor,
    context: &Context,
    gradient: &Tensor,
) -> Result<Passed, ModelError> {
    let mut block = block.clone();
    block.watch_outputs();
    let input = Var::from_tensor(hidden)?;
    let output = block.forward(input.as_tensor(), context, None)?;
    Ok(Passed {
        gradient: pull_back(&input, &output, gradient)?,
        squares: block.watched_squares(),
    })
}

/// One batch back from the loss through head and final norm. `sequences`: their places, and their tokens.
fn pass_ends(
    ends: &Ends,
    hidden: &Tensor,
    sequences: &[(usize, &[u32])],
    pooling: Option<&Pooling>,
    seed: u64,
) -> Result<Passed, EvaluateError> {
    let mut ends = ends.clone();
    ends.watch_head();
    let mut rows = Vec::with_capacity(sequences.len());
    for (row, &(index, _)) in sequences.iter().enumerate() {
        let states = hidden.narrow(0, row, 1).map_err(ModelError::from)?;
        let mut rng = Rng::new(seed, index as u64);
        let gradient = match pooling {
            Some(pooling) => pass_embedding(&ends, &states, pooling, &mut rng)?,
            None => pass_logits(&ends, &states, &mut rng)?,
        };
        rows.push(gradient.ok_or_else(|| EvaluateError::NotFinite {
            place: format!("sequence {index}"),
        })?);
    }
    Ok(Passed {
        gradient: Tensor::cat(&rows, 0).map_err(ModelError::from)?,
        squares: ends.watched_squares().into_iter().collect(),
    })
}

/// The gradient of `Σ log p(y)` over the scored positions of one sequence, `y` drawn from `p`; `None` where a logit is
/// not finite.
fn pass_logits(ends: &Ends, states: &Tensor, rng: &mut Rng) -> Result<Option<Tensor>, ModelError> {
    let (_, tokens, _) = states.dims3()?;
    let scored = tokens.saturating_sub(1);
    let mut parts = Vec::new();
    let mut start = 0;
    while start < scored {
        let count = positions_at_once(ends.vocabulary()?).min(scored - start);
        let input = Var::from_tensor(&states.narrow(1, start, count)?.contiguous()?)?;
        let logits = ends.head(input.as_tensor())?;
        let vocabulary = logits.dim(2)?;
        let mut toward = logits.flatten_all()?.to_vec1::<f32>()?;
        for row in toward.chunks_exact_mut(vocabulary) {
            if !draw_score(row, rng) {
                return Ok(None);
            }
        }
        let toward = Tensor::from_vec(toward, logits.shape(), &Device::Cpu)?;
        parts.push(pull_back(&input, &logits, &toward)?);
        start += count;
    }
    // Nothing is asked of the last position.
    parts.push(states.narrow(1, scored, tokens - scored)?.zeros_like()?);
    Ok(Some(Tensor::cat(&parts, 1)?))
}

/// Puts `∂ log p(y)/∂logits` in place of `logits`, `y` drawn from their softmax `p`; false where that is no distribution.
fn draw_score(logits: &mut [f32], rng: &mut Rng) -> bool {
    let largest = logits
        .iter()
        .fold(f32::NEG_INFINITY, |most, &logit| most.max(logit));
    let weights: Vec<f64> = logits
        .iter()
        .map(|&logit| (f64::from(logit) - f64::from(largest)).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let mut left = rng.uniform() * total;
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding can leave a rest behind the last weight.
    let drawn = drawn.unwrap_or(weights.len() - 1);
    for (index, (value, weight)) in logits.iter_mut().zip(weights).enumerate() {
        let hit = if index == drawn { 1.0 } else { 0.0 };
        *value = (hit - weight / total) as f32;
    }
    total.is_finite() && total > 0.0
}

/// The gradient of `v_⊥ · embedding / |embedding|` of one sentence; `None` where the embedding is not finite.
fn pass_embedding(
    ends: &Ends,
    states: &Tensor,
    pooling: &Pooling,
    rng: &mut Rng,
) -> Result<Option<Tensor>, ModelError> {
    let input = Var::from_tensor(&states.contiguous()?)?;
    let output = ends.head(input.as_tensor())?;
    let width = output.dim(2)?;
    let values = output.flatten_all()?.to_vec1::<f32>()?;
    let embedding = pooling.pool_unscaled(&values, width);
    let Some(across) = draw_across(&embedding, rng) else {
        return Ok(None);
    };
    let toward = pooling.pull_back(&values, width, &across);
    let toward = Tensor::from_vec(toward, output.shape(), &Device::Cpu)?;
    Ok(Some(pull_back(&input, &output, &toward)?))
}

/// A standard normal vector less its part along `embedding`, over the embedding's length; zero where that is zero.
fn draw_across(embedding: &[f32], rng: &mut Rng) -> Option<Vec<f32>> {
    let drawn: Vec<f64> = embedding.iter().map(|_| rng.normal()).collect();
    let energy: f64 = embedding
        .iter()
        .map(|&value| f64::from(value).powi(2))
        .sum();
    if energy == 0.0 {
        return Some(vec![0.0; embedding.len()]);
    }
    let product: f64 = drawn
        .iter()
        .zip(embedding)
        .map(|(v, &e)| v * f64::from(e))
        .sum();
    let across = drawn.iter().zip(embedding);
    let across = across.map(|(v, &e)| (v - product / energy * f64::from(e)) / energy.sqrt());
    energy
        .is_finite()
        .then(|| across.map(|value| value as f32).collect())
}

/// The gradient of `output · toward` at `input`.
fn pull_back(input: &Var, output: &Tensor, toward: &Tensor) -> Result<Tensor, ModelError> {
    let mut gradients = (output * toward)?.sum_all()?.backward()?;
    let found = gradients.remove(input.as_tensor());
    Ok(found.expect("every part of the network depends on what enters it"))
}

/// Steps of one stage.
struct Progress<'a> {
    observer: &'a dyn Observer,
    done: u64,
    total: u64,
}

impl<'a> Progress<'a> {
    fn start(observer: &'a dyn Observer, steps: usize) -> Self {
        let total = steps as u64;
        observer.notice(Notice::Stage {
            name: "gradients",
            steps: total,
        });
        Self {
            observer,
            done: 0,
            total,
        }
    }

    fn step(&mut self) -> Result<(), EvaluateError> {
        self.done += 1;
        self.observer.step(self.done, self.total);
        Ok(self.observer.check()?)
    }
}

#[cfg(test)]
mod tests;

//! What neurons taken out of a block save in time: the same block as it is and as it is left, run in turns.
//!
//! Both blocks are the very code that runs models. What the removed arithmetic predicts is the share of the products'
//! multiply-adds that goes; attention and norms are in the times and not in the prediction.

use super::profile::{ProfileError, random};
use crate::model::{Block, LayerKind, Model};
use crate::monitor::Monitor;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

/// Tokens in a pass: one that is written, and a prompt.
const TOKENS: [usize; 2] = [1, 128];

/// A block, and what stays of its neurons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructureBench {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Heads.
    pub heads: usize,
    /// Neurons.
    pub neurons: usize,
    /// Neurons that stay.
    pub kept: usize,
    /// Times each block runs; the best counts.
    pub rounds: u32,
}

impl StructureBench {
    /// A block of Llama 7B that loses a quarter of its neurons.
    pub const LLAMA_7B: Self = Self {
        hidden: 4096,
        heads: 32,
        neurons: 11008,
        kept: 8256,
        rounds: 15,
    };
}

/// What the bench found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StructureBenchReport {
    /// Processor, instruction set and threads.
    pub machine: String,
    /// Share of the block's multiply-adds that goes.
    pub predicted_fall: f64,
    /// One row for each kind of weights and number of tokens.
    pub rows: Vec<StructureRow>,
}

/// One kind of weights at one number of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StructureRow {
    /// How weights and inputs are held.
    pub weights: String,
    /// Tokens of a pass.
    pub tokens: usize,
    /// Wall seconds of the block as it is.
    pub before_seconds: f64,
    /// Of what is left.
    pub after_seconds: f64,
    /// Share of the time that goes.
    pub fall: f64,
    /// That over the share that was predicted.
    pub of_predicted: f64,
}

/// Measures all rows on the threads of the current pool.
pub fn bench_structure(
    bench: StructureBench,
    monitor: &dyn Monitor,
) -> Result<StructureBenchReport, ProfileError> {
    let kinds = [
        ("f32", None),
        ("8 bits, inputs of 8 bits", Some((8, true))),
        ("4 bits", Some((4, false))),
        ("4 bits, inputs of 8 bits", Some((4, true))),
    ];
    let mut rows = Vec::new();
    let mut predicted_fall = 0.0;
    let total = (kinds.len() * TOKENS.len()) as u64;
    for (weights, packing) in kinds {
        let before = Subject::new(bench, bench.neurons, packing)?;
        let after = Subject::new(bench, bench.kept, packing)?;
        predicted_fall = 1.0 - after.weights() / before.weights();
        for tokens in TOKENS {
            let (before_seconds, after_seconds) =
                in_turns(&before, &after, (tokens, bench.rounds), monitor)?;
            let fall = 1.0 - after_seconds / before_seconds;
            rows.push(StructureRow {
                weights: weights.to_owned(),
                tokens,
                before_seconds,
                after_seconds,
                fall,
                of_predicted: fall / predicted_fall,
            });
            monitor.step(rows.len() as u64, total);
        }
    }
    Ok(StructureBenchReport {
        machine: super::machine(),
        predicted_fall,
        rows,
    })
}

/// A block that is timed.
struct Subject {
    model: Model,
    block: Block,
}

impl Subject {
    fn new(
        bench: StructureBench,
        neurons: usize,
        packing: Option<(u8, bool)>,
    ) -> Result<Self, ProfileError> {
        let config = json!({"model_type": "llama", "hidden_size": bench.hidden, "intermediate_size": neurons,
            "num_hidden_layers": 1, "num_attention_heads": bench.heads, "vocab_size": 64,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": true});
        let model = random::network(&config, packing)?;
        Ok(Self {
            block: model.load_block(0)?,
            model,
        })
    }

    /// Weights of its products, as many as multiply-adds for each token.
    fn weights(&self) -> f64 {
        let layers = self.model.layers().iter();
        let products = layers.filter(|layer| layer.kind == LayerKind::Linear);
        products.map(|layer| layer.parameters as f64).sum()
    }

    fn seconds(&self, input: &Tensor) -> Result<f64, ProfileError> {
        let context = self.model.context(input.dim(1)?)?;
        let started = Instant::now();
        black_box(self.block.forward(input, &context, None)?);
        Ok(started.elapsed().as_secs_f64())
    }
}

/// The best rounds of both, one after the other in each round, so that a slow phase of the machine slows both.
fn in_turns(
    before: &Subject,
    after: &Subject,
    (tokens, rounds): (usize, u32),
    monitor: &dyn Monitor,
) -> Result<(f64, f64), ProfileError> {
    let hidden = before.model.config().hidden;
    let values = random::floats(tokens * hidden);
    let input = Tensor::from_vec(values, (1, tokens, hidden), &Device::Cpu)?;
    let (mut long, mut short) = (f64::INFINITY, f64::INFINITY);
    before.seconds(&input)?;
    after.seconds(&input)?;
    for _ in 0..rounds.max(1) {
        monitor.check()?;
        long = long.min(before.seconds(&input)?);
        short = short.min(after.seconds(&input)?);
    }
    Ok((long, short))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;

    #[test]
    fn what_goes_is_predicted_from_shapes() {
        let small = StructureBench {
            hidden: 64,
            heads: 4,
            neurons: 256,
            kept: 192,
            rounds: 1,
        };
        let report = bench_structure(small, &Unwatched).unwrap();
        let (removed, all) = (3 * 64 * 64, 4 * 64 * 64 + 3 * 64 * 256);
        let expected = f64::from(removed) / f64::from(all);
        assert!(
            (report.predicted_fall - expected).abs() < 1e-12,
            "{report:?}"
        );
        assert_eq!(report.rows.len(), 8);
        assert!(report.rows.iter().all(|row| row.before_seconds > 0.0));
    }
}

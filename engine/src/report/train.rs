//! What training tells: a point of its curves at each step, and a report at the end.

use super::{Evaluation, Verified};
use serde::{Deserialize, Serialize};

/// One step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainPoint {
    /// The step, counted from 1; 0 is the look at the held-out sequences before the first.
    pub step: u64,
    /// Loss of the step's batch before the step; null at step 0 and where it was no finite number (the step is skipped).
    pub loss: Option<f64>,
    /// Loss of the held-out sequences after the step; null where nobody looked.
    pub held_out: Option<f64>,
    /// Learning rate.
    pub rate: f64,
    /// Length of the gradient before it is clipped; null where there was none.
    pub gradient_norm: Option<f64>,
    /// Tokens per second of this step, looks and stored states not counted. A time: no part of what must repeat.
    #[serde(skip)]
    pub tokens_per_second: f64,
    /// Seconds that the rest will take at this pace.
    #[serde(skip)]
    pub seconds_left: f64,
}

impl TrainPoint {
    /// A point of which nothing is known yet.
    pub fn before(step: u64) -> Self {
        Self {
            step,
            loss: None,
            held_out: None,
            rate: 0.0,
            gradient_norm: None,
            tokens_per_second: 0.0,
            seconds_left: 0.0,
        }
    }
}

/// `pare distill --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistillReport {
    /// The folder made.
    pub out: String,
    /// What was trained: weights, scales, round, qat, adapter.
    pub mode: String,
    /// Steps done.
    pub steps: u64,
    /// Steps without a finite loss or gradient, which changed nothing.
    pub skipped_steps: u64,
    /// Whether training ended before its last step because the held-out loss fell no more.
    pub ended_early: bool,
    /// Loss of the first step; null where it was skipped.
    pub loss_first: Option<f64>,
    /// Loss of the last step.
    pub loss_last: Option<f64>,
    /// Held-out loss before the first step; null where nothing is held out.
    pub held_out_first: Option<f64>,
    /// Lowest held-out loss: that of the weights written.
    pub held_out_best: Option<f64>,
    /// The step after which it was found.
    pub best_step: Option<u64>,
    /// Of the student before training, on the evaluation text; null of an encoder and without a text.
    pub perplexity_before: Option<f64>,
    /// Of the student as written and opened again.
    pub perplexity_after: Option<f64>,
    /// Of the first teacher; null without one.
    pub reference_perplexity: Option<f64>,
    /// What `evaluate` gives of the student as written, against the first teacher.
    pub evaluation: Option<Evaluation>,
    /// Wall seconds.
    pub seconds: f64,
    /// Mean seconds of a training step, looks and stored states not counted.
    pub step_seconds: f64,
    /// Training tokens per second.
    pub tokens_per_second: f64,
    /// Share of this machine's fused multiply-add rate that the steps' products reached; null where nobody measured it.
    pub of_fma_bound: Option<f64>,
    /// Parameters of the student, and how many of them are trained.
    pub parameters: u64,
    /// Trained values.
    pub trained_parameters: u64,
    /// Bytes of memory stated before the start.
    pub memory_bytes: u64,
    /// The process's high-water mark.
    pub peak_rss_bytes: u64,
    /// Share of zeros in pruned layers; null where nothing was pruned.
    pub sparsity: Option<f64>,
    /// Largest difference between the outputs of what was trained and those of what was written, over the largest output,
    /// on one held-out sequence; null where nothing of the kind was compared.
    #[serde(default)]
    pub export_difference: Option<f64>,
    /// Bytes of all files written outside `.pare`.
    pub bytes: u64,
    /// Outcome of reopening what was written.
    pub verified: Verified,
    /// The recipe in force, as TOML.
    pub recipe: String,
    /// Every step, or every second, fourth, … of a long run.
    pub curve: Vec<TrainPoint>,
    /// For people.
    pub warnings: Vec<String>,
}

//! What a person may ask about bits, `sensitivity` and `allocate`, and the plain results, as `--json` spells them.
//!
//! Types only. Every path is absolute or relative to the process.

use super::estimate_job::RunShape;
use crate::allocate::{FrontPoint, Rules};
use crate::device::DeviceProfile;
use crate::formats::Format;
use crate::recipe::Recipe;
use crate::report::{Measure, SensitivityTable};
use crate::settings::LayerOption;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What `sensitivity` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct SensitivityRequest {
    /// Method and settings that options change, and the text that calibrates. Layers that its rules leave as they are
    /// are not judged.
    pub recipe: Recipe,
    /// The container whose bytes count.
    pub format: Format,
    /// Options to judge; dense is always one.
    pub options: Vec<LayerOption>,
    /// Judge embeddings and head too.
    pub ends: bool,
    /// How much work.
    pub effort: Effort,
    /// What losses are measured on.
    pub slice: Slice,
}

/// How much work goes into a sensitivity table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effort {
    /// Errors of the recipe's own method (GPTQ: seconds for each large layer); otherwise of plain rounding with clip
    /// search.
    pub own_method: bool,
    /// Options at which each layer alone is changed and the loss measured.
    pub probes: Vec<LayerOption>,
    /// One gradient pass.
    pub gradient: bool,
    /// Options at which all layers together are changed and the loss measured.
    pub anchors: Vec<LayerOption>,
}

impl Effort {
    /// Rounding's errors and one gradient pass: seconds for small models, and no whole model is made.
    pub fn quick() -> Self {
        Self {
            own_method: false,
            probes: Vec::new(),
            gradient: true,
            anchors: Vec::new(),
        }
    }

    /// Everything: the method's own errors, each layer alone at 2, 3 and 4 bits, all layers together at 2, 3, 4 and 6.
    pub fn full(group: usize) -> Self {
        let grids = |bits: &[u8]| {
            let bits = bits.iter().copied();
            bits.map(|bits| LayerOption::Grid { bits, group }).collect()
        };
        Self {
            own_method: true,
            probes: grids(&[2, 3, 4]),
            gradient: true,
            anchors: grids(&[2, 3, 4, 6]),
        }
    }
}

/// A small text that no calibration saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// A text of its own (of an encoder: sentences); `None` = sequences of the calibration text that do not calibrate.
    pub corpus: Option<PathBuf>,
    /// Sequences, or sentences.
    pub sequences: usize,
    /// Tokens of each at most.
    pub length: usize,
}

impl Slice {
    /// From the calibration text: 16 sequences of at most 256 tokens, of an encoder 128 sentences.
    pub fn usual(is_encoder: bool) -> Self {
        Self {
            corpus: None,
            sequences: if is_encoder { 128 } else { 16 },
            length: if is_encoder { 128 } else { 256 },
        }
    }
}

/// `pare sensitivity`, before it is spelled as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensitivityReport {
    /// The table.
    pub table: SensitivityTable,
    /// How gains by gradient and by measurement agree; null where one of them is missing.
    pub agreement: Option<Agreement>,
    /// The folder in which it is kept.
    pub cache: String,
    /// Cells that were there already.
    pub reused: usize,
    /// Wall seconds.
    pub seconds: f64,
}

/// How well one row of numbers tells another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Pairs compared.
    pub pairs: usize,
    /// Spearman's rank correlation; null for fewer than 3 pairs.
    pub rank_correlation: Option<f64>,
    /// Median of predicted / measured.
    pub median_ratio: Option<f64>,
}

/// What the written model may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// Stored bits for each weight, over all layers that are chosen for or locked to codes.
    BitsPerWeight(f64),
    /// Bytes of all files written.
    Bytes(u64),
    /// Milliseconds of a token on the target, of an encoder of the prompt, as estimated.
    Milliseconds(f64),
}

/// Where a model shall be fast.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyTarget {
    /// The device.
    pub device: DeviceProfile,
    /// What of it computes; `None` = the usual engine.
    pub engine: Option<String>,
    /// What is run.
    pub run: RunShape,
}

/// What `allocate` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct AllocateRequest {
    /// What is known, gathered now where it is not there.
    pub sensitivity: SensitivityRequest,
    /// What the result may take.
    pub budget: Budget,
    /// Where times are told for; a budget of time needs it.
    pub target: Option<LatencyTarget>,
    /// What must hold.
    pub rules: Rules,
    /// Measure the result, uniform bits and the ends-higher rule of thumb at the same bytes, and return the best.
    pub verify: Option<Verification>,
}

/// How recipes are measured: each is made by a whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The text; of an encoder, sentences. `None` = the slice on which losses were measured.
    pub corpus: Option<PathBuf>,
    /// Windows of the text at most.
    pub windows: Option<usize>,
    /// Window length.
    pub length: Option<usize>,
}

/// `pare allocate`, before it is spelled as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct AllocateReport {
    /// What losses are measured in.
    pub measure: Measure,
    /// The best recipe known.
    pub recipe: Recipe,
    /// Where `recipe` comes from: `allocated`, or what was measured to be better.
    pub best: Candidate,
    /// All that were compared, the allocated one first.
    pub candidates: Vec<CandidateReport>,
    /// Bytes that all files may take.
    pub budget_bytes: u64,
    /// Predicted loss over bytes of all files, few bytes first.
    pub front: Vec<FrontPoint>,
    /// Of a budget of time: milliseconds of each point of the front; else nothing.
    pub front_milliseconds: Vec<f64>,
    /// For people.
    pub warnings: Vec<String>,
}

/// Where a recipe comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidate {
    /// Chosen layer by layer.
    Allocated,
    /// All layers alike.
    Uniform,
    /// All layers alike, but more bits for the first and last blocks.
    EndsHigher,
}

/// One recipe that was compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CandidateReport {
    /// Which.
    pub candidate: Candidate,
    /// Bytes of all files that it writes.
    pub bytes: u64,
    /// Stored bits for each weight, over the layers that a budget in bits counts.
    pub bits_per_weight: f64,
    /// Milliseconds of a token on the target (of an encoder, of the prompt), as estimated; `None` without a target.
    pub milliseconds: Option<f64>,
    /// Loss predicted.
    pub predicted_loss: Option<f64>,
    /// Loss measured, and its standard error where there is one.
    pub measured: Option<(f64, Option<f64>)>,
}

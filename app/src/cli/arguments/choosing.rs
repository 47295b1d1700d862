//! Words of `pare sensitivity` and `pare allocate`.
//!
//! Both ask the same questions about layers; `allocate` adds a budget and rules.

use super::{CalibrationFlags, SolverFlags, TargetFlags};
use crate::cli::options::{AllowedWord, OptionWord};
use crate::cli::words;
use clap::Args;
use pare_engine::formats::Format;
use std::path::PathBuf;

/// Which errors are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorsOf {
    /// The recipe's method.
    Own,
    /// Plain rounding with clip search.
    Rounding,
}

/// One way to find out what an error of a layer costs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gain {
    /// Change the layer alone and measure.
    Measured,
    /// One gradient pass.
    Gradient,
    /// Neither.
    None,
}

/// What is asked about layers.
#[derive(Debug, Clone, Args)]
pub(crate) struct SensitivityFlags {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
    /// Recipe (TOML) whose method, settings and rules hold; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Container whose bytes count; default: pare.
    #[arg(long, value_name = "WORD", value_parser = words::format())]
    pub(crate) format: Option<Format>,
    /// How layers are judged.
    #[command(flatten)]
    pub(crate) judging: JudgingFlags,
    /// How layers are solved.
    #[command(flatten)]
    pub(crate) solver: SolverFlags,
    /// Which text calibrates.
    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,
}

/// How layers are judged.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Judging")]
pub(crate) struct JudgingFlags {
    /// Options to judge: bits and group as 4/64, bits alone as 4 for the recipe's group, zeros behind them as 4/64@2:4,
    /// 4@50% or float@1x4:50%, factors as rank25% (percent of the dense bytes), or dense; default: 2, 3, 4, 5, 6 and 8
    /// bits in groups of 32, 64, 128 and the recipe's, and dense.
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    pub(crate) options: Vec<OptionWord>,
    /// Errors of the recipe's own method, or of plain rounding with clip search, which is quicker.
    #[arg(long, value_name = "WORD", default_value = "own", value_parser = words::errors_of())]
    pub(crate) solver: ErrorsOf,
    /// How errors become losses of the whole model: measured (each layer changed alone), gradient (one pass), or none;
    /// default: measured,gradient.
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = words::gain())]
    pub(crate) gain: Vec<Gain>,
    /// Options at which each layer is changed alone; default: 2, 3 and 4 bits in the recipe's group.
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    pub(crate) probes: Vec<OptionWord>,
    /// Options at which all layers are changed together; default: 2, 3, 4 and 6 bits in the recipe's group.
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    pub(crate) anchors: Vec<OptionWord>,
    /// Judge embeddings and head too.
    #[arg(long)]
    pub(crate) embeddings: bool,
    /// Text to measure losses on, or `sample`; default: sequences of the calibration text that do not calibrate.
    #[arg(long, value_name = "FILE")]
    pub(crate) slice_corpus: Option<PathBuf>,
    /// Sequences of it; of an encoder, sentences.
    #[arg(long, value_name = "N", default_value = "16", value_parser = words::count)]
    pub(crate) slice_sequences: usize,
    /// Tokens of each at most.
    #[arg(long, value_name = "L", default_value = "256", value_parser = words::count)]
    pub(crate) slice_length: usize,
}

/// `pare sensitivity`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "What is found is kept in the cache folder: a stopped run goes on when the same command is given again, and `pare allocate` with the same flags begins with it."
)]
pub(crate) struct Sensitivity {
    /// Write the JSON document into this file too.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) out: Option<PathBuf>,
    /// What is asked about layers.
    #[command(flatten)]
    pub(crate) asked: SensitivityFlags,
}

/// `pare allocate`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "What `pare sensitivity` with the same flags has found is used; what is missing is gathered first."
)]
pub(crate) struct Allocate {
    /// Recipe (TOML) to write.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) out: PathBuf,
    /// What is asked about layers.
    #[command(flatten)]
    pub(crate) asked: SensitivityFlags,
    /// What the result may take and must keep to.
    #[command(flatten)]
    pub(crate) wish: WishFlags,
    /// How the result is measured.
    #[command(flatten)]
    pub(crate) verification: VerificationFlags,
    /// Where times are told for.
    #[command(flatten)]
    pub(crate) target: TargetFlags,
}

/// What the result may take and must keep to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Budget and rules")]
pub(crate) struct WishFlags {
    /// Stored bits for each weight of the layers that are judged, scales and zeros included, such as 4.25.
    #[arg(long, value_name = "X", value_parser = words::bits_per_weight, conflicts_with = "bytes")]
    pub(crate) bits_per_weight: Option<f64>,
    /// Bytes of all files of the written model, such as 3500000000, 3.5GB or 3GiB.
    #[arg(long, value_name = "BYTES", value_parser = words::bytes)]
    pub(crate) bytes: Option<u64>,
    /// Milliseconds that a token may take on --device, as estimated; of an encoder, the prompt.
    #[arg(long, value_name = "T", value_parser = words::milliseconds, conflicts_with_all = ["bytes", "bits_per_weight"])]
    pub(crate) latency_ms: Option<f64>,
    /// Leave layers that this glob or /regex/ hits as the recipe has them; may be given again.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) lock: Vec<String>,
    /// The only options of layers that a pattern hits, such as '*.down_proj=4/64,6/64'; may be given again, the last
    /// that hits decides.
    #[arg(long, value_name = "PATTERN=WORDS")]
    pub(crate) allow: Vec<AllowedWord>,
    /// One option for layers that runtimes fuse: q, k and v; gate and up.
    #[arg(long)]
    pub(crate) fused: bool,
    /// Fewest bits of embeddings and head; needs --embeddings.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) minimum_end_bits: Option<u8>,
}

/// How the result is measured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Verifying")]
pub(crate) struct VerificationFlags {
    /// Measure the result, uniform bits, and more bits for the first and last blocks, all at the same bytes, each by a
    /// whole run; write the best.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Text to measure on, or `sample`; default: what losses were measured on before.
    #[arg(long, value_name = "FILE")]
    pub(crate) verify_corpus: Option<PathBuf>,
    /// Windows of it at most.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) verify_windows: Option<usize>,
    /// Tokens of a window.
    #[arg(long, value_name = "L", value_parser = words::count)]
    pub(crate) verify_length: Option<usize>,
}

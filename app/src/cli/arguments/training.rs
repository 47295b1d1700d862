//! Words of `pare distill`.

use crate::cli::words;
use clap::Args;
use pare_engine::recipe::LEAST_TEMPERATURE;
use pare_engine::session::StudentSpec;
use std::path::PathBuf;

/// `pare distill`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Distill {
    /// Model to learn from, or `sample`; several are averaged, the first one chooses parts and is compared with.
    #[arg(long, value_name = "MODEL", required = true)]
    pub(crate) teacher: Vec<PathBuf>,
    /// Weight of each teacher in the average, in their order; default: 1 each.
    #[arg(long, value_name = "W", value_parser = words::teacher_weight)]
    pub(crate) teacher_weight: Vec<f64>,
    /// Model to train: a model folder, depth:0.5 (or depth:0.5:even), width:0.5 or config:FILE.
    #[arg(long, value_name = "SPEC")]
    pub(crate) student: StudentSpec,
    /// Text to train on: .txt, .jsonl, .safetensors with token ids, or `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) corpus: Option<PathBuf>,
    /// Folder to make; it must not hold anything yet.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Recipe (TOML) whose [train] is used; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Text to evaluate on before and after, or `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) evaluate: Option<PathBuf>,
    /// Continue a stopped run from its last stored step.
    #[arg(long)]
    pub(crate) resume: bool,
    /// What is trained.
    #[command(flatten)]
    pub(crate) mode: ModeFlags,
    /// How.
    #[command(flatten)]
    pub(crate) training: TrainingFlags,
    /// The adapter, where one is trained.
    #[command(flatten)]
    pub(crate) adapting: AdapterFlags,
}

/// What is trained; without one of these, every weight of a dense student.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "What is trained")]
#[group(multiple = false)]
pub(crate) struct ModeFlags {
    /// Low-rank matrices beside frozen weights.
    #[arg(long)]
    pub(crate) adapter: bool,
    /// Weights behind fake quantization.
    #[arg(long)]
    pub(crate) qat: bool,
    /// Scales and zeros of a quantized student; its codes stay.
    #[arg(long)]
    pub(crate) scales: bool,
    /// How each weight is rounded, block by block.
    #[arg(long)]
    pub(crate) round: bool,
}

/// How training goes; each flag wins over the recipe.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingFlags {
    /// Optimizer steps; default 1000. With --round for each block; default 200.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) steps: Option<usize>,
    /// Sequences of a step; default 8.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) batch: Option<usize>,
    /// Tokens of a sequence; default: the smaller of 512 and the student's context (128 for sentences).
    #[arg(long, value_name = "L", value_parser = words::count)]
    pub(crate) length: Option<usize>,
    /// Highest learning rate; default 0.0001, with --scales 0.003, with --round (in codes) one over the steps.
    #[arg(long, value_name = "X", value_parser = words::rate)]
    pub(crate) rate: Option<f64>,
    /// Temperature of teacher and student in the divergence; default 1.
    #[arg(long, value_name = "T", value_parser = temperature)]
    pub(crate) temperature: Option<f64>,
    /// Share of the text's own tokens in the loss, 0 to 1; default 0. At 1 the teacher is not asked.
    #[arg(long, value_name = "X", value_parser = words::share)]
    pub(crate) hard: Option<f64>,
}

/// `--temperature` of a loss, as recipes limit it.
fn temperature(text: &str) -> Result<f64, String> {
    let found = text.parse::<f64>().ok();
    found
        .filter(|found| *found >= LEAST_TEMPERATURE && found.is_finite())
        .ok_or_else(|| format!("write a number of {LEAST_TEMPERATURE} or more, such as 2"))
}

/// What an adapter is; each flag wins over the recipe.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Adapter")]
pub(crate) struct AdapterFlags {
    /// Columns of the one matrix, rows of the other; default 8.
    #[arg(long, value_name = "N", value_parser = words::count, requires = "adapter")]
    pub(crate) rank: Option<usize>,
    /// The adapter's product counts alpha / rank; default 16.
    #[arg(long, value_name = "X", value_parser = words::rate, requires = "adapter")]
    pub(crate) alpha: Option<f64>,
    /// Globs on names of layers, with commas between them; default: all linear layers inside blocks.
    #[arg(long, value_name = "GLOBS", requires = "adapter")]
    pub(crate) targets: Option<String>,
    /// Work the adapter into the weights; a quantized student is quantized anew.
    #[arg(long, requires = "adapter")]
    pub(crate) merge: bool,
}

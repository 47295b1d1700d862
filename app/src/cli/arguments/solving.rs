//! Words of `pare calibrate` and `pare compress`, and the flags on calibration and solving that other verbs share.

use super::StructureFlags;
use crate::cli::words;
use clap::Args;
use pare_engine::formats::Format;
use pare_engine::grid::ScaleDtype;
use pare_engine::mask::SparsityPattern;
use pare_engine::moments::Prefix;
use pare_engine::recipe::{Activations, ColumnOrder, PruneMethod, PruneScope, Rank, Refine};
use pare_engine::solved::Method;
use std::path::PathBuf;

/// `pare calibrate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Calibrate {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
    /// Recipe (TOML) whose [calibration] is used.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Which text calibrates.
    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,
    /// Also write the mean squares of inputs, as llama.cpp's imatrix does; a name that ends with .dat means its older form.
    #[arg(long, value_name = "FILE")]
    pub(crate) imatrix: Option<PathBuf>,
}

/// `pare compress`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Compress {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
    /// Folder to make; it must not hold anything yet.
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    pub(crate) out: Option<PathBuf>,
    /// Recipe (TOML); flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Container to write; default: pare.
    #[arg(long, value_name = "WORD", value_parser = words::format())]
    pub(crate) format: Option<Format>,
    /// Text to evaluate on afterwards, beside the original, or `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) evaluate: Option<PathBuf>,
    /// Continue a stopped run from its finished layers.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) resume: bool,
    /// Only show each layer, the rule that decides it, and its bytes.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Drop the solved layers at the end; `export` is then impossible.
    #[arg(long)]
    pub(crate) no_keep: bool,
    /// Fail before the run where the format cannot hold what is asked.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How layers are solved.
    #[command(flatten)]
    pub(crate) solver: SolverFlags,
    /// What goes before anything is solved.
    #[command(flatten)]
    pub(crate) structure: StructureFlags,
    /// Which text calibrates.
    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,
}

/// Which text calibrates, and how much of it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Calibration")]
pub(crate) struct CalibrationFlags {
    /// Calibration text: .txt, .jsonl, .safetensors with token ids, or `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) corpus: Option<PathBuf>,
    /// Sequences drawn from it; default 128.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) sequences: Option<usize>,
    /// Tokens of each sequence; default: the smaller of 2048 and the model's context.
    #[arg(long, value_name = "L", value_parser = words::count)]
    pub(crate) length: Option<usize>,
}

/// How layers are solved; each flag wins over the recipe.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Solving")]
pub(crate) struct SolverFlags {
    /// Method; default: gptq.
    #[arg(long, value_name = "WORD", value_parser = words::method())]
    pub(crate) method: Option<Method>,
    /// Bits of a code, 2 to 8; default 4.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) bits: Option<u8>,
    /// Weights per scale along the input, 0 = a whole row; default 128.
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<usize>,
    /// Fix the zero in the middle; `--symmetric=false` undoes a recipe's true.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) symmetric: Option<bool>,
    /// How scales are stored; default f16.
    #[arg(long, value_name = "WORD", value_parser = words::scale_dtype())]
    pub(crate) scale_dtype: Option<ScaleDtype>,
    /// Steps of the clip search, 0 = min-max; default 20.
    #[arg(long, value_name = "N")]
    pub(crate) clip_search: Option<u32>,
    /// Column order of GPTQ; default static.
    #[arg(long, value_name = "WORD", value_parser = words::order())]
    pub(crate) order: Option<ColumnOrder>,
    /// Share of the mean diagonal added to the Gram matrix; default 0.01.
    #[arg(long, value_name = "X", value_parser = words::damping)]
    pub(crate) damping: Option<f64>,
    /// Refine GPTQ's result; default auto: at 3 bits and fewer.
    #[arg(long, value_name = "WORD", value_parser = words::refine())]
    pub(crate) refine: Option<Refine>,
    /// Inputs that calibrate: as the compressed or as the original blocks make them; default compressed.
    #[arg(long, value_name = "WORD", value_parser = words::prefix())]
    pub(crate) prefix: Option<Prefix>,
    /// NF4: quantize the block scales too; `--double-quant=false` undoes a recipe's true.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) double_quant: Option<bool>,
    /// How layers round their inputs when they run; default none.
    #[arg(long, value_name = "WORD", value_parser = words::activations())]
    pub(crate) activations: Option<Activations>,
    /// Inputs that share a scale under dynamic8: 32 or 128, or 0 for those of a whole token; default 0.
    #[arg(long, value_name = "N", value_parser = words::activation_block())]
    pub(crate) activation_block: Option<usize>,
    /// SmoothQuant's exponent, 0 to 1: how much of the inputs' range moves into the weights; default 0.
    #[arg(long, value_name = "X", value_parser = words::smooth)]
    pub(crate) smooth: Option<f64>,
    /// Rows that share a palette, 0 = all of a layer; default 0.
    #[arg(long, value_name = "N")]
    pub(crate) palette_rows: Option<usize>,
    /// Weights of a palette as bits, 2 to 8: `--method palette --bits N`.
    #[arg(long, value_name = "N", conflicts_with_all = ["method", "bits"], value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) palette: Option<u8>,
    /// Factors: their rank, their share of the dense bytes (25%), or the energy they hold (energy:0.95); 0 = none.
    #[arg(long, value_name = "R", value_parser = words::rank)]
    pub(crate) rank: Option<Rank>,
    /// Which weights become zero.
    #[command(flatten)]
    pub(crate) zeros: ZeroFlags,
}

/// Which weights become zero; each flag wins over the recipe.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Zeros")]
pub(crate) struct ZeroFlags {
    /// How weights are scored that become zero; `--method float` leaves those that stay as they are.
    #[arg(long, value_name = "WORD", value_parser = words::prune_method())]
    pub(crate) prune: Option<PruneMethod>,
    /// Where zeros may lie: unstructured, N:M (such as 2:4) or 1x4; default unstructured.
    #[arg(long, value_name = "WORD", value_parser = words::pattern)]
    pub(crate) pattern: Option<SparsityPattern>,
    /// Share of weights that become zero, 0 to 1; default 0.5. N:M says it itself.
    #[arg(long, value_name = "X", value_parser = words::sparsity)]
    pub(crate) sparsity: Option<f64>,
    /// Among which weights zeros are chosen: those of a row, a layer or the model; default row.
    #[arg(long, value_name = "WORD", value_parser = words::scope())]
    pub(crate) scope: Option<PruneScope>,
}

//! What was typed, checked word by word; nothing here says what the words mean together (`plan` does).
//!
//! The doc comments are the help texts.

use crate::cli::words;
use crate::studio::action::View;
use crate::studio::preferences::ThemeChoice;
use crate::studio::request::Renderer;
use crate::studio::sample;
use clap::{Args, Parser, Subcommand};
use pare_engine::formats::Format;
use pare_engine::grid::ScaleDtype;
use pare_engine::moments::Prefix;
use pare_engine::recipe::{ColumnOrder, Refine};
use pare_engine::solved::Method;
use std::path::PathBuf;

/// Pare makes language models smaller, measures what that costs, and writes files that other programs load.
#[derive(Debug, Parser)]
#[command(
    name = "pare",
    version,
    after_help = "Without a verb, the studio opens on the sample. MODEL is a Hugging Face folder, a .safetensors file, a folder that pare wrote, or the word `sample` for the built-in model.",
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    /// Flags of every verb.
    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
    /// The job; without one, the studio opens.
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Everywhere {
    /// Print exactly one JSON document on stdout.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Threads to use; default: all cores. The result does not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = words::count)]
    pub(crate) threads: Option<usize>,
    /// Seed of every random draw; default 0, or what the recipe says.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Working memory the job may use, such as 2GB or 512MiB; default: half of what is free.
    #[arg(long, global = true, value_name = "BYTES", value_parser = words::bytes)]
    pub(crate) memory: Option<u64>,
    /// No progress and no warnings on stderr, only errors.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Folder for statistics that later runs reuse; default: `pare` in the user's cache folder.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Verb {
    /// Open the studio: a window, or a picture of it.
    Open(Open),
    /// Show what is in a model, from its headers alone.
    Inspect(Inspect),
    /// Run the network on given token ids and write its outputs.
    Logits(Logits),
    /// Gather statistics of every layer's inputs into the cache.
    Calibrate(Calibrate),
    /// Quantize a model and write it.
    Compress(Box<Compress>),
    /// Measure quality: perplexity, or correlation of sentence embeddings.
    Evaluate(Evaluate),
    /// Write text with a decoder.
    Generate(Generate),
    /// Write a finished run in another format, without solving again.
    Export(Export),
    /// Measure this machine's solvers beside their bounds.
    Bench(Bench),
}

/// `pare open`, and `pare` alone.
#[derive(Debug, Clone, Args)]
pub(crate) struct Open {
    /// Model folder or file, or `sample`.
    #[arg(default_value = sample::WORD)]
    pub(crate) model: PathBuf,
    /// Recipe (TOML) to begin with.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// What draws the window: auto tries wgpu, then glow (OpenGL).
    #[arg(long, value_name = "WORD", default_value = "auto", value_parser = words::renderer(), conflicts_with = "headless")]
    pub(crate) renderer: Renderer,
    /// Draw into a file instead of a window; needs no display.
    #[arg(long, requires = "screenshot", help_heading = "Picture")]
    pub(crate) headless: bool,
    /// PNG file to write.
    #[arg(long, value_name = "FILE.png", requires = "headless", value_parser = words::png(), help_heading = "Picture")]
    pub(crate) screenshot: Option<PathBuf>,
    /// Width and height of the window, in points.
    #[arg(long, value_name = "WxH", requires = "headless", default_value = "1400x900", value_parser = words::size, help_heading = "Picture")]
    pub(crate) size: [u16; 2],
    /// Pixels of a point, 0.5 to 4.
    #[arg(long, value_name = "S", requires = "headless", default_value = "1", value_parser = words::scale, help_heading = "Picture")]
    pub(crate) scale: f32,
    /// Colours.
    #[arg(long, value_name = "WORD", requires = "headless", default_value = "dark", value_parser = words::theme(), help_heading = "Picture")]
    pub(crate) theme: ThemeChoice,
    /// View in front.
    #[arg(long, value_name = "WORD", requires = "headless", value_parser = words::view(), help_heading = "Picture")]
    pub(crate) view: Option<View>,
    /// Layers to select, in the words of the studio's filter, such as `down_proj block:0`.
    #[arg(
        long,
        value_name = "FILTER",
        requires = "headless",
        help_heading = "Picture"
    )]
    pub(crate) select: Option<String>,
    /// Run first, in a folder that is deleted again.
    #[arg(long, requires = "headless", help_heading = "Picture")]
    pub(crate) run: bool,
}

impl Default for Open {
    /// `pare` alone: a window on the sample.
    fn default() -> Self {
        Self {
            model: sample::WORD.into(),
            recipe: None,
            renderer: Renderer::Auto,
            headless: false,
            screenshot: None,
            size: [1400, 900],
            scale: 1.0,
            theme: ThemeChoice::Dark,
            view: None,
            select: None,
            run: false,
        }
    }
}

/// `pare inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Inspect {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
}

/// `pare logits`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Logits {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
    /// File with the tensor `input_ids`, i64 [batch, tokens].
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) ids: PathBuf,
    /// File to write: `logits`, or `last_hidden_state` of an encoder, in f32.
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) out: PathBuf,
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
    /// Which text calibrates.
    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,
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
}

/// `pare evaluate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Evaluate {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
    /// Text to score: .txt, .jsonl, .safetensors with token ids, or `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) corpus: Option<PathBuf>,
    /// Model to compare with, usually the original.
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference: Option<PathBuf>,
    /// Tokens of a window; default: the smaller of 2048 and the model's context.
    #[arg(long, value_name = "L", value_parser = words::count)]
    pub(crate) length: Option<usize>,
    /// Score only the first N windows.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) windows: Option<usize>,
    /// Sentence pairs with human scores (an encoder): score, sentence, sentence, tab-separated.
    #[arg(long, value_name = "FILE")]
    pub(crate) sts: Option<PathBuf>,
}

/// `pare generate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Generate {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
    /// Text to go on from.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: String,
    /// Most tokens to write.
    #[arg(long, value_name = "N", default_value = "64", value_parser = words::count)]
    pub(crate) tokens: usize,
    /// 0 takes the likeliest token each time; higher is freer.
    #[arg(long, value_name = "T", default_value = "0", value_parser = words::temperature)]
    pub(crate) temperature: f64,
    /// How keys and values are kept.
    #[arg(long, value_name = "WORD", default_value = "f32", value_parser = ["f32"])]
    pub(crate) kv: String,
}

/// `pare export`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Export {
    /// Folder that `pare compress` made.
    pub(crate) run: PathBuf,
    /// Container to write.
    #[arg(long, value_name = "WORD", value_parser = words::format())]
    pub(crate) format: Format,
    /// Folder to make; it must not hold anything yet.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
}

/// `pare bench`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(value_name = "WHAT", default_value = "solvers", value_parser = ["solvers"])]
    pub(crate) what: String,
    /// Outputs of the layer; default 4096.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) rows: Option<usize>,
    /// Inputs of the layer; default 4096.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) columns: Option<usize>,
    /// Tokens of the Gram matrix; default 2048.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) tokens: Option<usize>,
    /// Times each job runs, the best counts; default 3.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) rounds: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_a_verb_the_studio_opens_as_without_flags() {
        let alone = Arguments::try_parse_from(["pare"]).map(|words| words.verb);
        assert!(matches!(alone, Ok(None)), "{alone:?}");
        let open = Arguments::try_parse_from(["pare", "open"]).map(|words| words.verb);
        let Ok(Some(Verb::Open(open))) = open else {
            panic!("{open:?}");
        };
        assert_eq!(format!("{open:?}"), format!("{:?}", Open::default()));
    }
}

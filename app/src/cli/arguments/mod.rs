//! What was typed, checked word by word; nothing here says what the words mean together (`plan` does).
//!
//! The doc comments are the help texts.

mod choosing;
mod machine;
mod report;
mod solving;
mod structure;
mod studio;
mod training;

pub(crate) use choosing::{
    Allocate, ErrorsOf, Gain, Sensitivity, SensitivityFlags, VerificationFlags, WishFlags,
};
pub(crate) use machine::{Devices, Estimate, TargetFlags};
pub(crate) use report::Report;
pub(crate) use solving::{Calibrate, CalibrationFlags, Compress, SolverFlags, ZeroFlags};
pub(crate) use structure::StructureFlags;
pub(crate) use studio::Open;
pub(crate) use training::{AdapterFlags, Distill, ModeFlags, TrainingFlags};

use crate::cli::words;
use clap::{Args, Parser, Subcommand};
use pare_engine::formats::Format;
use pare_engine::ggml::GgmlType;
use pare_engine::model::CacheKind;
use pare_engine::settings::Activations;
use std::path::PathBuf;

/// Pare makes language models smaller, measures what that costs, and writes files that other programs load.
#[derive(Debug, Parser)]
#[command(
    name = "pare",
    version,
    after_help = "Without a verb, the studio opens on the sample. MODEL is a Hugging Face folder (dense, or quantized by GPTQ, AWQ, compressed-tensors, bitsandbytes or MLX), a .safetensors or .gguf file, a folder that pare wrote, or the word `sample` for the built-in model.",
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
    /// Tell what each layer costs at every number of bits.
    Sensitivity(Box<Sensitivity>),
    /// Choose the bits of each layer within a budget, and write the recipe.
    Allocate(Box<Allocate>),
    /// Quantize a model and write it.
    Compress(Box<Compress>),
    /// Train a student, smaller or compressed, against one or more teachers.
    Distill(Box<Distill>),
    /// Measure quality: perplexity, or correlation of sentence embeddings.
    Evaluate(Evaluate),
    /// Write text with a decoder.
    Generate(Generate),
    /// Write a finished run in another format, without solving again.
    Export(Export),
    /// Write a finished run as one page for a browser, with its layers as a table.
    Report(Report),
    /// Estimate size, memory and speed on a device, without running the model.
    Estimate(Box<Estimate>),
    /// List devices, and measure this machine.
    Devices(Devices),
    /// Measure this machine's solvers beside their bounds.
    Bench(Bench),
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
    /// How quantized layers round their inputs.
    #[command(flatten)]
    pub(crate) inputs: InputFlags,
}

/// How quantized layers round their inputs.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputFlags {
    /// Let quantized layers round their inputs to bytes (dynamic8) or leave them (none), however the model is stored.
    /// Default: as it is stored, in a GGUF file not at all.
    #[arg(long, value_name = "WORD", value_parser = words::input_rounding())]
    pub(crate) activations: Option<Activations>,
    /// Inputs that share a scale; 0 = those of a whole token. Default: of a GGUF file as llama.cpp has it for each
    /// layer's type, 32 or 256; of others 0.
    #[arg(long, value_name = "N", value_parser = words::input_block(), requires = "activations")]
    pub(crate) activation_block: Option<usize>,
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
    /// Let each token see all keys and values as a cache of this kind gives them back, as in `generate`; the reference
    /// sees them as they are. Default: as the run's recipe says, else f32.
    #[arg(long, value_name = "WORD", value_parser = words::cache_kind())]
    pub(crate) kv: Option<CacheKind>,
    /// How quantized layers round their inputs; those of the reference do as it is stored.
    #[command(flatten)]
    pub(crate) inputs: InputFlags,
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
    /// Draw among the N likeliest tokens only (with a temperature above 0); default: all.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) top_k: Option<usize>,
    /// Draw among the likeliest tokens that together have this probability (with a temperature above 0); 1 = all.
    #[arg(long, value_name = "P", default_value = "1", value_parser = words::probability)]
    pub(crate) top_p: f64,
    /// How keys and values are kept: exact, in half the bytes, or in little over a quarter of them; default: as the
    /// run's recipe says, else f32.
    #[arg(long, value_name = "WORD", value_parser = words::cache_kind())]
    pub(crate) kv: Option<CacheKind>,
}

/// `pare export`.
#[derive(Debug, Clone, Args)]
#[command(after_help = pare_engine::formats::programs::plain())]
pub(crate) struct Export {
    /// Folder that `pare compress` made; for gguf and onnx, any model.
    pub(crate) run: PathBuf,
    /// Container to write.
    #[arg(long, value_name = "WORD", value_parser = words::format())]
    pub(crate) format: Format,
    /// Folder to make, or for gguf a file; it must not hold anything yet.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// gguf: type of every layer, such as Q4_K or F16; default: of each, the one that holds what was solved.
    #[arg(long = "type", value_name = "WORD", value_parser = words::ggml_type())]
    pub(crate) kind: Option<GgmlType>,
    /// gguf: file of llama.cpp's imatrix that tells how important inputs are.
    #[arg(long, value_name = "FILE", conflicts_with = "corpus")]
    pub(crate) imatrix: Option<PathBuf>,
    /// gguf: most bytes of a file, such as 2GB; a larger model becomes files NAME-00001-of-00003.gguf.
    #[arg(long = "split-max-size", value_name = "BYTES", value_parser = words::bytes)]
    pub(crate) split_bytes: Option<u64>,
    /// A text that tells how important inputs are.
    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,
}

/// `pare bench`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(value_name = "WHAT", default_value = "solvers", value_parser = ["kernels", "memory", "solvers", "structure"])]
    pub(crate) what: String,
    /// Outputs of the layer; default 4096, of kernels what each case says.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) rows: Option<usize>,
    /// Inputs of the layer; default 4096, of kernels what each case says.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) columns: Option<usize>,
    /// Tokens of the Gram matrix, default 2048, or of kernels.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) tokens: Option<usize>,
    /// Times each job runs; default 3, of kernels 40, of structure 15.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) rounds: Option<usize>,
    /// Kernels: this case alone.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Kernels: use no better instruction set than this one.
    #[arg(long, value_name = "WORD", value_parser = ["avx512-vnni", "avx512", "avx2-vnni", "avx2", "portable"])]
    pub(crate) isa: Option<String>,
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

//! Words of `pare devices` and `pare estimate`, and the flags on devices that other verbs share.

use crate::cli::words;
use clap::Args;
use pare_engine::formats::Format;
use pare_engine::model::CacheKind;
use std::path::PathBuf;

/// `pare devices`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Your own devices stand in devices.toml in the user's data folder, or in a file named with --devices; assets/devices.toml of the sources is a pattern."
)]
pub(crate) struct Devices {
    /// Measure this machine, which takes some seconds, and keep what is found.
    #[arg(long)]
    pub(crate) measure: bool,
    /// Table of your own devices (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) devices: Option<PathBuf>,
}

/// `pare estimate`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Without --device, this machine is meant, once `pare devices --measure` has measured it. With --threads, measure with the same number of threads."
)]
pub(crate) struct Estimate {
    /// Model folder or file, or `sample`.
    pub(crate) model: PathBuf,
    /// Recipe (TOML) that the model would be compressed by; without one, it is taken as it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Container that it would be written in; default: pare.
    #[arg(long, value_name = "WORD", value_parser = words::format())]
    pub(crate) format: Option<Format>,
    /// Where it would run.
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    /// How keys and values are kept; default: as the recipe says.
    #[arg(long, value_name = "WORD", value_parser = words::cache_kind())]
    pub(crate) kv: Option<CacheKind>,
}

/// Where a model would run, and on how much text.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct TargetFlags {
    /// Device that it would run on, as `pare devices` lists them; default: this machine, as measured.
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// What of the device computes; default: the first that `pare devices` lists.
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// Table of your own devices (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) devices: Option<PathBuf>,
    /// Tokens that are cached when a token is written; default: the smaller of 1024 and the model's context.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) context: Option<usize>,
    /// Tokens of the prompt; default: the smaller of 128 and the context.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) prompt: Option<usize>,
}

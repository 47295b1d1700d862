//! Words of `pare report`.

use crate::cli::words;
use clap::Args;
use std::path::PathBuf;

/// `pare report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Report {
    /// Folder of a finished run, or of an export.
    pub(crate) run: PathBuf,
    /// Page to write; what lies there is replaced. Default: beside the run, under its name.
    #[arg(long, value_name = "FILE.html", value_parser = words::html())]
    pub(crate) out: Option<PathBuf>,
    /// Also write the table of layers.
    #[arg(long, value_name = "FILE.csv", value_parser = words::csv())]
    pub(crate) csv: Option<PathBuf>,
    /// What `pare allocate --json` printed: its front is drawn.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) allocation: Option<PathBuf>,
}

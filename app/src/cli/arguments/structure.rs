//! Flags of `pare compress` that take parts out of the network as a whole.

use crate::cli::failure::Failure;
use crate::cli::words;
use clap::Args;
use pare_engine::recipe::{BlockChoice, Structure};

/// What goes before anything is solved; each flag wins over the recipe.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Structure")]
pub(crate) struct StructureFlags {
    /// Share of attention heads that goes, 0 to 1; heads that share a key head go together.
    #[arg(long, value_name = "X", value_parser = words::share)]
    pub(crate) heads: Option<f64>,
    /// Share of feed-forward neurons that goes, 0 to 1.
    #[arg(long, value_name = "X", value_parser = words::share)]
    pub(crate) neurons: Option<f64>,
    /// Neurons stay in multiples of this; default 1.
    #[arg(long, value_name = "N", value_parser = words::count)]
    pub(crate) neuron_multiple: Option<usize>,
    /// Blocks that go: how many (those most like their input), or which, counted from 0, as in 3,5 (`3,` for one).
    #[arg(long, value_name = "N|LIST", value_parser = words::blocks)]
    pub(crate) drop_blocks: Option<BlockChoice>,
    /// Take out tokens that the calibration text does not hold; `--vocabulary=false` undoes a recipe's true.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) vocabulary: Option<bool>,
    /// Do not fit layers to the heads and neurons that are left.
    #[arg(long)]
    pub(crate) no_repair: bool,
}

impl StructureFlags {
    /// `asked` with these flags put over it. A flag that could do nothing is told.
    pub(crate) fn over(&self, asked: &Structure) -> Result<Structure, Failure> {
        let structure = Structure {
            heads: self.heads.unwrap_or(asked.heads),
            neurons: self.neurons.unwrap_or(asked.neurons),
            neuron_multiple: self.neuron_multiple.unwrap_or(asked.neuron_multiple),
            blocks: self.drop_blocks.clone().unwrap_or(asked.blocks.clone()),
            vocabulary: self.vocabulary.unwrap_or(asked.vocabulary),
            repair: asked.repair && !self.no_repair,
        };
        let idle = |what: &str, needed: &str| {
            let text = format!("{what} does nothing here. Add {needed}, or leave it out.");
            Err(Failure::WrongUse(text))
        };
        if self.neuron_multiple.is_some() && structure.neurons == 0.0 {
            return idle("--neuron-multiple", "--neurons");
        }
        if self.no_repair && structure.neurons == 0.0 && structure.heads == 0.0 {
            return idle("--no-repair", "--heads or --neurons");
        }
        Ok(structure)
    }
}

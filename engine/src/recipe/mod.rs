//! What the user asked for: versioned, complete, written back with every default spelled out.
//!
//! Types here; text in `parse` (through `section` and `words`) and `write`; rules in `resolve` (through `pattern`).
//! Knows no weights and no files: rules are matched against a list of layers handed in, and paths are text.
//!
//! Precedence: command line > last matching `[[layer]]` > `[default]` > the documented default.

#[cfg(test)]
mod activation_tests;
mod adapter;
mod compose;
mod compression;
#[cfg(test)]
mod compression_tests;
mod error;
mod parse;
mod pattern;
mod resolve;
mod section;
#[cfg(test)]
mod tests;
mod train;
mod train_modes;
mod words;
mod write;

use std::path::Path;

pub use adapter::AdapterSettings;
pub use compose::{most_frequent, role_word};
pub use error::RecipeError;
pub use pattern::{Pattern, literal};
pub use resolve::{Decision, Resolved};

use crate::grid::ScaleDtype;
use crate::moments::Prefix;
pub use crate::settings::{
    Activations, ColumnOrder, KvCache, LayerSettings, PruneMethod, PruneScope, Pruning, Rank,
    Refine,
};
use crate::solved::Method;
pub use train::{
    Ensemble, LEAST_TEMPERATURE, OptimizerKind, Schedule, StateStorage, TrainMode, TrainPruning,
    TrainSettings,
};

/// The version this program writes.
pub const RECIPE_VERSION: u32 = 1;

/// The word for the sample's own text, where a path could stand.
pub const SAMPLE_CORPUS: &str = "sample";

/// A whole recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Format version, 1.
    pub version: u32,
    /// Whether a choice that a format cannot hold is an error before the run instead of a fallback.
    pub strict: bool,
    /// What holds where no rule says otherwise.
    pub default: LayerSettings,
    /// Settings of embeddings and output head; `None` leaves them as they are.
    pub embeddings: Option<Overrides>,
    /// Which text calibrates.
    pub calibration: CalibrationSettings,
    /// Rules in order; later ones win.
    pub layers: Vec<LayerRule>,
    /// What is taken out of the network as a whole, before anything else is done.
    pub structure: Structure,
    /// How a decoder of this recipe keeps keys and values where nobody says otherwise; read from `[default]` only.
    pub kv_cache: KvCache,
    /// How a student is trained; `None` = the documented defaults, which are not written.
    pub train: Option<TrainSettings>,
}

/// Parts of a network that are taken out, so that an ordinary smaller one is left: from every block the same number, as
/// `config.json` can say it.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Structure {
    /// Share of attention heads (with shared keys: of groups of heads) that goes, 0 to 1.
    pub heads: f64,
    /// Share of feed-forward neurons that goes, 0 to 1.
    pub neurons: f64,
    /// Neurons stay in multiples of this, so that widths fit kernels and groups; 0 = 1.
    pub neuron_multiple: usize,
    /// Whole blocks that go.
    pub blocks: BlockChoice,
    /// Whether tokens that the calibration text does not contain lose their rows.
    pub vocabulary: bool,
    /// Whether the layers after heads and neurons are fitted to what is left (least squares).
    pub repair: bool,
}

/// Which blocks go.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum BlockChoice {
    /// So many: those whose output is most like their input.
    Count(usize),
    /// These, counted from 0.
    These(Vec<usize>),
}

impl Default for BlockChoice {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl Structure {
    /// Nothing goes.
    pub fn is_none(&self) -> bool {
        let no_block = match &self.blocks {
            BlockChoice::Count(count) => *count == 0,
            BlockChoice::These(blocks) => blocks.is_empty(),
        };
        self.heads == 0.0 && self.neurons == 0.0 && no_block && !self.vocabulary
    }
}

/// Which text calibrates and how much of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CalibrationSettings {
    /// A path (relative to the recipe) or `sample`; `None` = none given.
    pub corpus: Option<String>,
    /// Sequences drawn.
    pub sequences: usize,
    /// Tokens per sequence.
    pub length: usize,
    /// Seed of the draw.
    pub seed: u64,
}

/// `[[layer]]`: a pattern and what it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRule {
    /// A glob, or `/regex/`, on layer names.
    pub pattern: String,
    /// What it changes.
    pub overrides: Overrides,
}

/// Settings that a rule changes; `None` leaves them.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Overrides {
    pub method: Option<Method>,
    pub bits: Option<u8>,
    pub group: Option<usize>,
    pub symmetric: Option<bool>,
    pub scale_dtype: Option<ScaleDtype>,
    pub clip_search: Option<u32>,
    pub order: Option<ColumnOrder>,
    pub damping: Option<f64>,
    pub refine: Option<Refine>,
    pub double_quant: Option<bool>,
    pub activations: Option<Activations>,
    pub activation_block: Option<usize>,
    pub smooth: Option<f64>,
    pub prune: Option<Pruning>,
    pub rank: Option<Rank>,
    pub palette_rows: Option<usize>,
}

impl Recipe {
    /// This recipe under the flags of a command line: a flag replaces what `[default]` and any `[[layer]]` say about the
    /// same key, `method = "none"` included. A rule that says nothing about a key goes on saying nothing, so that it
    /// decides the same layers as before; `[embeddings]` keeps its own words.
    pub fn with_command_line(mut self, flags: &Overrides) -> Self {
        self.default = flags.apply(self.default);
        for rule in &mut self.layers {
            rule.overrides = flags.over(rule.overrides);
        }
        self
    }

    /// This recipe with its corpus, where that is a relative path, taken from `folder`: the folder that the recipe lies in.
    pub fn relative_to(mut self, folder: &Path) -> Self {
        let corpus = self.calibration.corpus.as_mut();
        if let Some(corpus) = corpus.filter(|corpus| *corpus != SAMPLE_CORPUS) {
            // An absolute path replaces the folder when joined.
            *corpus = folder.join(&*corpus).to_string_lossy().into_owned();
        }
        self
    }
}

impl Overrides {
    /// `rule` with these values in place of those that it sets.
    fn over(&self, rule: Self) -> Self {
        fn first<T>(flag: Option<T>, rule: Option<T>) -> Option<T> {
            rule.map(|rule| flag.unwrap_or(rule))
        }
        Self {
            method: first(self.method, rule.method),
            bits: first(self.bits, rule.bits),
            group: first(self.group, rule.group),
            symmetric: first(self.symmetric, rule.symmetric),
            scale_dtype: first(self.scale_dtype, rule.scale_dtype),
            clip_search: first(self.clip_search, rule.clip_search),
            order: first(self.order, rule.order),
            damping: first(self.damping, rule.damping),
            refine: first(self.refine, rule.refine),
            double_quant: first(self.double_quant, rule.double_quant),
            activations: first(self.activations, rule.activations),
            activation_block: first(self.activation_block, rule.activation_block),
            smooth: first(self.smooth, rule.smooth),
            prune: first(self.prune, rule.prune),
            rank: first(self.rank, rule.rank),
            palette_rows: first(self.palette_rows, rule.palette_rows),
        }
    }

    /// `settings` with these changes.
    pub fn apply(&self, settings: LayerSettings) -> LayerSettings {
        LayerSettings {
            method: self.method.unwrap_or(settings.method),
            bits: self.bits.unwrap_or(settings.bits),
            group: self.group.unwrap_or(settings.group),
            symmetric: self.symmetric.unwrap_or(settings.symmetric),
            scale_dtype: self.scale_dtype.unwrap_or(settings.scale_dtype),
            clip_search: self.clip_search.unwrap_or(settings.clip_search),
            order: self.order.unwrap_or(settings.order),
            damping: self.damping.unwrap_or(settings.damping),
            refine: self.refine.unwrap_or(settings.refine),
            prefix: settings.prefix,
            double_quant: self.double_quant.unwrap_or(settings.double_quant),
            activations: self.activations.unwrap_or(settings.activations),
            activation_block: self.activation_block.unwrap_or(settings.activation_block),
            smooth: self.smooth.unwrap_or(settings.smooth),
            prune: self.prune.unwrap_or(settings.prune),
            rank: self.rank.unwrap_or(settings.rank),
            palette_rows: self.palette_rows.unwrap_or(settings.palette_rows),
        }
    }
}

impl Default for Recipe {
    /// The documented defaults of the command line.
    fn default() -> Self {
        Self {
            version: RECIPE_VERSION,
            strict: false,
            default: LayerSettings {
                method: Method::Gptq,
                bits: 4,
                group: 128,
                symmetric: false,
                scale_dtype: ScaleDtype::F16,
                clip_search: 20,
                order: ColumnOrder::Static,
                damping: 0.01,
                refine: Refine::Auto,
                prefix: Prefix::Compressed,
                double_quant: false,
                activations: Activations::None,
                activation_block: 0,
                smooth: 0.0,
                prune: Pruning::NONE,
                rank: Rank::None,
                palette_rows: 0,
            },
            embeddings: None,
            calibration: CalibrationSettings {
                corpus: None,
                sequences: 128,
                length: 2048,
                seed: 0,
            },
            layers: Vec::new(),
            structure: Structure {
                repair: true,
                ..Structure::default()
            },
            kv_cache: KvCache::F32,
            train: None,
        }
    }
}

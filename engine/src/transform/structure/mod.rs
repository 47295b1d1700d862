//! Structured pruning: whole blocks, groups of heads, neurons and tokens go, and an ordinary smaller network is left.
//!
//! Sizes follow from recipe and config alone (`sizes`), so that bytes are known before anything is scored; then scores
//! say which parts go (`choose`), and least squares fits the layer that read them to what is left (`repair`).
//! `CutSource` is the smaller network's tensors, cut out of the larger one's when asked. Knows no files and no corpus.

mod choose;
mod cut;
mod repair;
mod sizes;
#[cfg(test)]
mod tests;
pub mod vocabulary;

pub use choose::{group_scores, keep_best, least_similar, neuron_scores};
pub use cut::{Cut, CutSource};
pub use repair::{columns_of, masked, repair};
pub use sizes::plan_sizes;

/// Why a network cannot be cut as asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StructureError {
    #[error(transparent)]
    Stopped(#[from] crate::monitor::Stopped),
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    #[error("the recipe takes out all {what}; at least one must stay")]
    NothingLeft { what: &'static str },
    #[error("the recipe takes out block {block}, but blocks are counted from 0 to {last}")]
    NoSuchBlock { block: usize, last: usize },
    #[error(
        "the recipe takes out {asked} blocks, but the first and the last stay, so at most {most} can go; name blocks to take out these too"
    )]
    TooManyBlocks { asked: usize, most: usize },
    #[error("the vocabulary cannot be cut: {0}; leave out vocabulary")]
    Vocabulary(String),
}

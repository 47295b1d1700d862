//! Which weights become zero, and how thin factors are.
//!
//! Knows no mask and no weight: where zeros may lie is `mask`'s word, which ones it are is `solve`'s question.

pub use crate::mask::PruneMethod;

use crate::mask::{Among, SparsityPattern};

/// Which weights become zero, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Pruning {
    /// How weights are scored and what happens to those that stay.
    pub method: PruneMethod,
    /// Where zeros may lie.
    pub pattern: SparsityPattern,
    /// Share of weights that become zero, 0 to 1; of an N:M pattern always 1 - N/M.
    pub sparsity: f64,
    /// Among which weights an unstructured or block pattern chooses.
    pub scope: PruneScope,
}

impl Pruning {
    /// No weight.
    pub const NONE: Self = Self {
        method: PruneMethod::None,
        pattern: SparsityPattern::Unstructured,
        sparsity: 0.0,
        scope: PruneScope::Row,
    };

    /// Whether nothing is pruned.
    pub fn is_none(&self) -> bool {
        self.method == PruneMethod::None
    }

    /// Whether layers with the same pruning share one threshold. N:M leaves nothing to share.
    pub fn shares_threshold(&self) -> bool {
        self.scope == PruneScope::Model && !self.is_none() && self.pattern.sparsity().is_none()
    }

    /// Among which weights an unstructured or block pattern chooses its zeros. SparseGPT goes from left to right, and what
    /// lies right still moves: it chooses span by span. For planning and solving alike, so that sizes are known before.
    pub fn among(&self) -> Among {
        match (self.method, self.scope) {
            (PruneMethod::SparseGpt, PruneScope::Row) => Among::RowSpan(SPARSEGPT_SPAN),
            (PruneMethod::SparseGpt, PruneScope::Layer | PruneScope::Model) => {
                Among::Span(SPARSEGPT_SPAN)
            }
            (_, PruneScope::Row) => Among::Row,
            (_, PruneScope::Layer | PruneScope::Model) => Among::Layer,
        }
    }
}

/// Columns, in the order in which they are visited, over which SparseGPT chooses zeros at a time.
pub const SPARSEGPT_SPAN: usize = 128;

/// Among which weights an unstructured or block pattern chooses its zeros.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PruneScope {
    /// Each row has its share.
    #[default]
    Row,
    /// Each layer has its share.
    Layer,
    /// All layers with the same settings share one threshold on scores beside their layer's mean; settled into layers of
    /// their own sparsity before a run.
    Model,
}

impl PruneScope {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Row, Self::Layer, Self::Model];

    /// The scope's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Layer => "layer",
            Self::Model => "model",
        }
    }
}

/// How thin factors are.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// There are none.
    #[default]
    None,
    /// So many columns of the one and rows of the other.
    Fixed(usize),
    /// As many as take this share of the bytes that the dense layer would take in the factors' dtype.
    Share(f64),
    /// As many as hold this share of the squared singular values of the weights; settled before a run.
    Energy(f64),
}

impl Rank {
    /// The rank for a layer of this shape; at least 1, at most the smaller dimension. `None` where there are no factors
    /// or weights must tell.
    pub fn of_shape(self, rows: usize, columns: usize) -> Option<usize> {
        let most = rows.min(columns).max(1);
        match self {
            Self::None | Self::Energy(_) => None,
            Self::Fixed(rank) => Some(rank.clamp(1, most)),
            Self::Share(share) => {
                let dense = rows as f64 * columns as f64;
                let of_one = (rows + columns).max(1) as f64;
                Some(((share * dense / of_one) as usize).clamp(1, most))
            }
        }
    }
}

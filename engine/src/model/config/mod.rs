//! One description of a network, and what follows from it for each block.
//!
//! Everything that distinguishes families, besides names, ends up here as plain switches, so that the forward pass
//! asks for switches and never for a family. Knows no tensors.

mod read;
mod smaller;

pub use smaller::SmallerSizes;

use super::family::Family;
use super::rope::Rope;

/// One network, as its `config.json` describes it.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Row of the family table.
    pub family: Family,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Width inside the feed-forward part.
    pub intermediate: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub context_length: usize,
    /// Whether head and embedding are one tensor.
    pub tied: bool,
    /// The kind of all norms.
    pub norm: NormKind,
    pub(super) norm_epsilon: f64,
    /// Where the norms of a block stand.
    pub arrangement: Arrangement,
    /// What stands between the halves of the feed-forward part.
    pub activation: Activation,
    /// How queries, keys and values are stored.
    pub projection: ProjectionKind,
    /// Weights stored `[in, out]`.
    pub transposed: bool,
    /// Whether queries and keys are normalized head by head.
    pub head_norms: bool,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether attention's output has one.
    pub output_bias: bool,
    /// Whether the feed-forward part has some.
    pub mlp_bias: bool,
    /// Whether a norm follows the last block.
    pub final_norm: bool,
    /// How the embedding tells positions.
    pub positions: Positions,
    /// Rotary attention of full blocks and, where it differs, of sliding ones; empty without rotary positions.
    pub ropes: Vec<Rope>,
    pub(super) window: Window,
    /// Rows of the token type table; 0 = none.
    pub token_types: usize,
    /// Width of the embedding table.
    pub embedding_width: usize,
    /// Factor on the rows of the embedding.
    pub embedding_scale: f64,
    query_scale: f64,
    query_scale_falls: bool,
    /// Limit of attention's scores, where they are bent under one.
    pub attention_softcap: Option<f64>,
    /// Limit of logits, where they are bent under one.
    pub logit_softcap: Option<f64>,
}

/// How a vector is normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square, times weight.
    Rms,
    /// Root mean square, times 1 + weight.
    RmsOnePlus,
    /// Mean and variance, times weight, plus bias.
    Layer,
}

/// Where the norms of a block stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// `h + attention(norm(h))`, then `h + mlp(norm(h))`; a family with post norms applies them before each sum.
    Before,
    /// `norm(h + attention(h))`, then `norm(h + mlp(h))`.
    After,
    /// `h + attention(norm(h)) + mlp(other norm(h))`.
    Parallel,
}

/// What stands between the two halves of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// Gelu by the error function.
    GeluErf,
    /// Gelu by the hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// How queries, keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectionKind {
    /// Three weights.
    Separate,
    /// One weight: all queries, all keys, all values.
    Stacked,
    /// One weight: query, key and value of head 0, of head 1, …
    Interleaved,
}

/// How a token learns where it stands, besides rotary attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Not at the embedding.
    None,
    /// Row `position + offset` of a table with `rows` rows.
    Learned {
        /// Rows of the table.
        rows: usize,
        /// Row of position 0.
        offset: usize,
    },
    /// As `Learned` with offset `padding + 1`, counting only tokens that are not padding.
    LearnedFromPadding {
        /// Rows of the table.
        rows: usize,
        /// The token that counts as padding.
        padding: u32,
    },
}

/// Which blocks see only the last tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Window {
    /// None.
    Never,
    /// Every block sees this many tokens, itself included.
    Always(usize),
    /// As listed.
    Listed(usize, Vec<bool>),
}

impl ModelConfig {
    /// What norms add to a variance or mean square.
    pub fn norm_epsilon(&self) -> f64 {
        self.norm_epsilon
    }

    /// Factor on the queries of one block.
    pub fn query_scale(&self, block: usize) -> f64 {
        if self.query_scale_falls {
            self.query_scale / (block + 1) as f64
        } else {
            self.query_scale
        }
    }

    /// Whether some blocks see all tokens and others only a window, so that a configuration names each block's kind.
    pub fn has_mixed_windows(&self) -> bool {
        match &self.window {
            Window::Listed(_, sliding) => sliding.contains(&true) && sliding.contains(&false),
            Window::Never | Window::Always(_) => false,
        }
    }

    /// Tokens that one block sees, itself included; `None` = all before it.
    pub fn window(&self, block: usize) -> Option<usize> {
        match &self.window {
            Window::Never => None,
            Window::Always(tokens) => Some(*tokens),
            Window::Listed(tokens, sliding) => sliding[block].then_some(*tokens),
        }
    }

    /// Which of `ropes` one block uses.
    pub fn rope_index(&self, block: usize) -> Option<usize> {
        match self.ropes.len() {
            0 => None,
            1 => Some(0),
            _ => Some(usize::from(self.window(block).is_some())),
        }
    }

    /// The norm weight that changes nothing.
    pub fn neutral_norm(&self) -> f32 {
        match self.norm {
            NormKind::RmsOnePlus => 0.0,
            _ => 1.0,
        }
    }

    /// Whether the feed-forward part multiplies with a gate.
    pub fn gated(&self) -> bool {
        let names = &self.family.names().block;
        names.gate.is_some() || names.gate_up.is_some()
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together.
    pub fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

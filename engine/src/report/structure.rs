//! What was taken out of a network as a whole: which blocks, heads, neurons and tokens, by what scores, at what error.
//!
//! Blocks are counted as in the original; heads mean groups of query heads with one key head.

use serde::{Deserialize, Serialize};

/// The numbers that structured pruning changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSizes {
    /// Blocks.
    pub blocks: usize,
    /// Query heads of a block.
    pub heads: usize,
    /// Key and value heads of a block.
    pub kv_heads: usize,
    /// Neurons of a block.
    pub neurons: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Parameters of all tensors.
    pub parameters: u64,
    /// Bytes of all tensors, dense.
    pub tensor_bytes: u64,
}

/// What will be taken out, known before anything is scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructurePlan {
    /// The network as it is.
    pub before: NetworkSizes,
    /// The network as it will be.
    pub after: NetworkSizes,
    /// For people: what was asked and cannot be had exactly.
    pub notes: Vec<String>,
}

/// How little a block changes what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BlockSimilarity {
    /// The block.
    pub block: usize,
    /// Mean cosine of its input and its output over tokens; 1 = it changes no direction.
    pub similarity: f64,
}

/// What was taken out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StructureReport {
    /// Sizes before and after.
    #[serde(flatten)]
    pub plan: StructurePlan,
    /// Blocks that went.
    pub removed_blocks: Vec<usize>,
    /// Every block's similarity, where it decided.
    pub similarity: Vec<BlockSimilarity>,
    /// Each block that stayed, where heads or neurons went.
    pub cuts: Vec<BlockCut>,
    /// Tokens that went.
    pub vocabulary: Option<VocabularyCut>,
    /// Wall seconds.
    pub seconds: f64,
}

/// What one block lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockCut {
    /// The block.
    pub block: usize,
    /// Groups of heads.
    pub heads: Option<PartCut>,
    /// Neurons.
    pub neurons: Option<PartCut>,
}

/// Heads or neurons that one block lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartCut {
    /// Which went, in order.
    pub removed: Vec<usize>,
    /// Share of all scores that went with them, 0 to 1.
    pub removed_score_share: f64,
    /// `||X(W-W')ᵀ||_F / ||XWᵀ||_F` of the layer that reads them, before it was fitted to what is left.
    pub relative_error_cut: f64,
    /// The same after; null where nothing was repaired.
    pub relative_error_repaired: Option<f64>,
}

/// Tokens that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VocabularyCut {
    /// Tokens before.
    pub before: usize,
    /// Tokens after.
    pub after: usize,
    /// Different tokens that the text holds.
    pub in_text: usize,
}

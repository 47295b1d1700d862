//! What is measured of solvers.

use crate::grid::{GridConfig, ScaleDtype};
use crate::mask::SparsityPattern;
use crate::settings::{ColumnOrder, PruneMethod, PruneScope, Pruning};
use crate::solve::gptq::DEFAULT_BLOCK;
use crate::solve::{GptqConfig, MaskConfig};

/// One thing to measure.
pub(super) struct Job {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Syrk,
    FullGram,
    Factor,
    Gptq {
        order: ColumnOrder,
        clip_search: u32,
    },
    Rtn {
        clip_search: u32,
    },
    Mask {
        pattern: SparsityPattern,
        scope: PruneScope,
    },
    SparseGpt {
        pattern: SparsityPattern,
        scope: PruneScope,
    },
}

pub(super) const JOBS: [Job; 13] = [
    Job {
        name: "gram, upper triangle",
        kind: Kind::Syrk,
    },
    Job {
        name: "gram, full product",
        kind: Kind::FullGram,
    },
    Job {
        name: "factor, f32",
        kind: Kind::Factor,
    },
    Job {
        name: "gptq 4 bits group 128, static order, clip search 20",
        kind: Kind::Gptq {
            order: ColumnOrder::Static,
            clip_search: 20,
        },
    },
    Job {
        name: "gptq 4 bits group 128, stored order, clip search 20",
        kind: Kind::Gptq {
            order: ColumnOrder::None,
            clip_search: 20,
        },
    },
    Job {
        name: "gptq 4 bits group 128, stored order, min-max",
        kind: Kind::Gptq {
            order: ColumnOrder::None,
            clip_search: 0,
        },
    },
    Job {
        name: "rtn 4 bits group 128, clip search 20",
        kind: Kind::Rtn { clip_search: 20 },
    },
    Job {
        name: "wanda 2:4",
        kind: Kind::Mask {
            pattern: SparsityPattern::TWO_OF_FOUR,
            scope: PruneScope::Row,
        },
    },
    Job {
        name: "wanda half of each row",
        kind: Kind::Mask {
            pattern: SparsityPattern::Unstructured,
            scope: PruneScope::Row,
        },
    },
    Job {
        name: "wanda half of the layer",
        kind: Kind::Mask {
            pattern: SparsityPattern::Unstructured,
            scope: PruneScope::Layer,
        },
    },
    Job {
        name: "sparsegpt 2:4 and 4 bits group 128, stored order, clip search 20",
        kind: Kind::SparseGpt {
            pattern: SparsityPattern::TWO_OF_FOUR,
            scope: PruneScope::Row,
        },
    },
    Job {
        name: "sparsegpt half of each row and 4 bits group 128, stored order, clip search 20",
        kind: Kind::SparseGpt {
            pattern: SparsityPattern::Unstructured,
            scope: PruneScope::Row,
        },
    },
    Job {
        name: "sparsegpt half of the layer and 4 bits group 128, stored order, clip search 20",
        kind: Kind::SparseGpt {
            pattern: SparsityPattern::Unstructured,
            scope: PruneScope::Layer,
        },
    },
];

/// Share of zeros of the pruning jobs.
const SPARSITY: f64 = 0.5;

/// Zeros as a recipe with these words would have them.
pub(super) fn asked_zeros(
    method: PruneMethod,
    pattern: SparsityPattern,
    scope: PruneScope,
) -> MaskConfig {
    let pruning = Pruning {
        method,
        pattern,
        sparsity: SPARSITY,
        scope,
    };
    MaskConfig {
        pattern,
        sparsity: SPARSITY,
        among: pruning.among(),
    }
}

pub(super) const GRID: GridConfig = GridConfig {
    bits: 4,
    group: 128,
    symmetric: false,
    scale_dtype: ScaleDtype::F16,
};

pub(super) fn gptq_config(order: ColumnOrder, clip_search: u32) -> GptqConfig {
    GptqConfig {
        grid: GRID,
        clip_search,
        order,
        damping: 0.01,
        block: DEFAULT_BLOCK,
    }
}

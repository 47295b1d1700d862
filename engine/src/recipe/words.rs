//! The words that recipes use for choices, each kind in one table for reading, writing and listing.

use super::{Ensemble, OptimizerKind, Schedule, StateStorage, TrainMode};
use crate::grid::ScaleDtype;
use crate::moments::Prefix;
use crate::settings::{Activations, ColumnOrder, KvCache, PruneMethod, PruneScope, Refine};
use crate::solved::Method;

/// A choice that has words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Every word and its meaning, in the order in which errors list them.
    const TABLE: &'static [(&'static str, Self)];

    /// The word of this choice.
    fn word(self) -> &'static str {
        let row = Self::TABLE.iter().find(|(_, meaning)| *meaning == self);
        row.expect("the table of words is complete; a test holds it to that")
            .0
    }
}

impl Word for Method {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("rtn", Self::Rtn),
        ("gptq", Self::Gptq),
        ("awq", Self::Awq),
        ("hqq", Self::Hqq),
        ("nf4", Self::Nf4),
        ("palette", Self::Palette),
        ("float", Self::Float),
        ("none", Self::None),
    ];
}

impl Word for PruneMethod {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("magnitude", Self::Magnitude),
        ("wanda", Self::Wanda),
        ("sparsegpt", Self::SparseGpt),
    ];
}

impl Word for PruneScope {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("row", Self::Row),
        ("layer", Self::Layer),
        ("model", Self::Model),
    ];
}

impl Word for ScaleDtype {
    const TABLE: &'static [(&'static str, Self)] =
        &[("f16", Self::F16), ("bf16", Self::BF16), ("f32", Self::F32)];
}

impl Word for ColumnOrder {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("static", Self::Static),
        ("gar", Self::Gar),
    ];
}

impl Word for Refine {
    const TABLE: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("off", Self::Off), ("on", Self::On)];
}

impl Word for Activations {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("dynamic8", Self::Dynamic8),
        ("static8", Self::Static8),
    ];
}

impl Word for KvCache {
    const TABLE: &'static [(&'static str, Self)] =
        &[("f32", Self::F32), ("f16", Self::F16), ("int8", Self::Int8)];
}

impl Word for Prefix {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("compressed", Self::Compressed),
        ("original", Self::Original),
    ];
}

impl Word for TrainMode {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("weights", Self::Weights),
        ("scales", Self::Scales),
        ("round", Self::Round),
        ("qat", Self::Qat),
        ("adapter", Self::Adapter),
    ];
}

impl Word for OptimizerKind {
    const TABLE: &'static [(&'static str, Self)] = &[("adamw", Self::Adamw), ("sign", Self::Sign)];
}

impl Word for Schedule {
    const TABLE: &'static [(&'static str, Self)] = &[
        ("constant", Self::Constant),
        ("linear", Self::Linear),
        ("cosine", Self::Cosine),
    ];
}

impl Word for Ensemble {
    const TABLE: &'static [(&'static str, Self)] =
        &[("probability", Self::Probability), ("logit", Self::Logit)];
}

impl Word for StateStorage {
    const TABLE: &'static [(&'static str, Self)] = &[("f32", Self::F32), ("bf16", Self::Bf16)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_has_the_word_that_reports_use() {
        for method in Method::ALL {
            assert_eq!(Word::word(method), method.word());
        }
        // A match without a wildcard: a new choice breaks the build here until it has a word.
        for order in [ColumnOrder::None, ColumnOrder::Static, ColumnOrder::Gar] {
            match order {
                ColumnOrder::None | ColumnOrder::Static | ColumnOrder::Gar => order.word(),
            };
        }
        for refine in [Refine::Auto, Refine::Off, Refine::On] {
            match refine {
                Refine::Auto | Refine::Off | Refine::On => refine.word(),
            };
        }
        for dtype in [ScaleDtype::F16, ScaleDtype::BF16, ScaleDtype::F32] {
            match dtype {
                ScaleDtype::F16 | ScaleDtype::BF16 | ScaleDtype::F32 => dtype.word(),
            };
        }
        for activations in Activations::ALL {
            assert_eq!(Word::word(activations), activations.word());
        }
        for cache in KvCache::ALL {
            assert_eq!(Word::word(cache), cache.word());
        }
        for method in PruneMethod::ALL {
            assert_eq!(Word::word(method), method.word());
        }
        for scope in PruneScope::ALL {
            assert_eq!(Word::word(scope), scope.word());
        }
        for prefix in [Prefix::Compressed, Prefix::Original] {
            match prefix {
                Prefix::Compressed | Prefix::Original => prefix.word(),
            };
        }
    }
}

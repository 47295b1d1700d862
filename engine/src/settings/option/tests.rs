//! Options, their words, and the settings that are they.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::ScaleDtype;
use crate::moments::Prefix;
use crate::settings::{Activations, ColumnOrder, Refine};

const BASE: LayerSettings = LayerSettings {
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
};

fn options() -> Vec<LayerOption> {
    let words = [
        "4/64@2:4",
        "3/0@50%",
        "8/128@1x4:25%",
        "float@4:8",
        "float@99%",
        "rank25%",
        "rank1%",
    ];
    let more = words.map(|word| word.parse().unwrap());
    LayerOption::all().into_iter().chain(more).collect()
}

#[test]
fn options_are_their_words() {
    for option in options() {
        assert_eq!(option.to_string().parse::<LayerOption>().unwrap(), option);
    }
    for word in [
        "",
        "4",
        "1/64",
        "9/64",
        "4/-1",
        "4/x",
        "Dense",
        "4/64/2",
        "4/64@",
        "@2:4",
        "4@2:4",
        "float",
        "float@",
        "float@2:2",
        "float@0%",
        "float@100%",
        "float@050%",
        "float@1x4",
        "float@2:4:50%",
        "float@unstructured",
        "float@50",
        "rank",
        "rank25",
        "rank0%",
        "rank100%",
        "dense@2:4",
    ] {
        assert!(word.parse::<LayerOption>().is_err(), "{word:?}");
    }
}

#[test]
fn settings_with_an_option_are_that_option() {
    let wanda = LayerSettings {
        prune: Pruning {
            method: PruneMethod::Wanda,
            sparsity: 0.3,
            scope: PruneScope::Model,
            ..Pruning::NONE
        },
        rank: Rank::Fixed(7),
        ..BASE
    };
    let bases = [Method::Gptq, Method::Rtn, Method::None, Method::Float].map(|method| {
        let of = |base| LayerSettings { method, ..base };
        [of(BASE), of(wanda)]
    });
    for base in bases.iter().flatten() {
        for option in options() {
            let applied = option.apply(base, Method::Gptq);
            assert_eq!(LayerOption::of(&applied), Some(option), "{base:?}");
            assert_eq!(applied.settled(), applied, "{option} of {base:?}");
        }
    }
    assert_eq!(LayerOption::of(&wanda), None, "codes with factors");
}

#[test]
fn zeros_are_chosen_as_the_layer_is_solved() {
    let option: LayerOption = "float@50%".parse().unwrap();
    let method = |base: LayerSettings| option.apply(&base, Method::Gptq).prune.method;
    let rtn = LayerSettings {
        method: Method::Rtn,
        ..BASE
    };
    let mut asked = BASE;
    asked.prune.method = PruneMethod::Magnitude;
    assert_eq!(method(BASE), PruneMethod::SparseGpt);
    assert_eq!(method(rtn), PruneMethod::Wanda);
    assert_eq!(method(asked), PruneMethod::Magnitude);
}

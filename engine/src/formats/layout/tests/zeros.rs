//! Zeros, palettes and factors: where each container has a place for them, and what is told where it has none.

use super::*;
use crate::mask::SparsityPattern;
use crate::settings::{PruneMethod, PruneScope, Pruning, Rank};

fn pruned(settings: LayerSettings) -> LayerSettings {
    LayerSettings {
        prune: Pruning {
            method: PruneMethod::Magnitude,
            pattern: SparsityPattern::TWO_OF_FOUR,
            sparsity: 0.5,
            scope: PruneScope::Row,
        },
        ..settings
    }
}

fn with_method(method: Method) -> LayerSettings {
    LayerSettings {
        method,
        ..settings(4, 32, true)
    }
}

/// `down_proj` alone in these settings, everything else left as it is.
fn down_proj(asked: LayerSettings) -> [LayerSettings; 5] {
    let mut all = [with_method(Method::None); 5];
    all[4] = asked;
    all
}

#[test]
fn gptq_holds_zeros_as_codes_and_nothing_else_of_them() {
    let ranked = LayerSettings {
        rank: Rank::Fixed(4),
        ..settings(4, 32, true)
    };
    let dense = Some(("none", Placement::Source));
    let values = Some(("dense", Placement::Dense));
    let cases = [
        (pruned(settings(4, 32, true)), None),
        (pruned(settings(4, 32, false)), None),
        (ranked, dense),
        (with_method(Method::Palette), dense),
        (pruned(with_method(Method::Nf4)), dense),
        (pruned(with_method(Method::Float)), values),
        (
            LayerSettings {
                rank: Rank::Fixed(4),
                ..with_method(Method::Float)
            },
            values,
        ),
    ];
    let config = json!({ "model_type": "llama" });
    for (asked, expected) in cases {
        let held = hold(Format::Gptq, &down_proj(asked), false).unwrap();
        let told = held[4].fallback.as_ref();
        let expected_word = expected.map(|(word, _)| word);
        assert_eq!(
            told.map(|told| told.to.as_str()),
            expected_word,
            "{asked:?}: {told:?}"
        );
        let plan = plan_of(Format::Gptq, &down_proj(asked), Some(&config));
        let expected = expected.map_or(in_gptq(&asked), |(_, placement)| placement);
        assert_eq!(plan.layers[4].placement, expected, "{asked:?}");
        let strict = hold(Format::Gptq, &down_proj(asked), true);
        assert_eq!(strict.is_err(), told.is_some(), "{asked:?}");
    }
}

#[test]
fn pare_holds_everything_and_says_its_bytes() {
    let layers = small_model();
    // 64 x 96: half of the 4-bit codes, 3 scales of 2 bytes a row, 24 choices of 3 bits.
    let row = 96 / 2 / 2 + 3 * 2 + 24 * 3 / 8;
    let ranked = LayerSettings {
        rank: Rank::Fixed(4),
        ..pruned(settings(4, 32, true))
    };
    let cases = [
        (pruned(settings(4, 32, true)), 64 * row),
        (ranked, 64 * row + 4 * (64 + 96) * 2),
        (pruned(with_method(Method::Float)), 64 * (48 * 2 + 9)),
        (
            LayerSettings {
                rank: Rank::Fixed(4),
                ..with_method(Method::Float)
            },
            4 * (64 + 96) * 2,
        ),
        (with_method(Method::Palette), 64 * 48 + 16 * 2),
    ];
    for (asked, expected) in cases {
        let held = hold(Format::Pare, &down_proj(asked), true).unwrap();
        assert_eq!(held[4].fallback, None);
        let bytes = stored_bytes(Format::Pare, &layers[4], &asked);
        assert_eq!(bytes, expected as u64, "{asked:?}");
        let plan = plan_of(Format::Pare, &down_proj(asked), None);
        assert_eq!(plan.layers[4].stored_bytes, bytes);
        let dense = stored_bytes(Format::Dense, &layers[4], &asked);
        assert_eq!(dense, layers[4].size_bytes, "zeros are values there");
    }
}

fn in_gptq(settings: &LayerSettings) -> Placement {
    Placement::External(ExternalLayer::Gptq {
        grid: settings.grid(),
        format: match settings.symmetric {
            true => crate::packed::gptq::CheckpointFormat::V1,
            false => crate::packed::gptq::CheckpointFormat::V2,
        },
    })
}

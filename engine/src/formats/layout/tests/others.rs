//! What MLX and bitsandbytes hold of a recipe, and the nearest that they hold of the rest.

use super::*;
use crate::mask::PruneMethod;
use crate::settings::{Pruning, Rank};

fn told(held: &Held) -> String {
    let words =
        |fallback: &crate::report::Fallback| format!("{} -> {}", fallback.from, fallback.to);
    held.fallback.as_ref().map_or_else(String::new, words)
}

fn check(format: Format, cases: &[(LayerSettings, [&str; 5])]) {
    for (asked, expected) in cases {
        let held = hold(format, &[*asked; 5], false).unwrap();
        let found: Vec<String> = held.iter().map(told).collect();
        assert_eq!(found, expected, "{format:?} of {asked:?}");
        let is_told = expected.iter().any(|told| !told.is_empty());
        assert_eq!(
            hold(format, &[*asked; 5], true).is_err(),
            is_told,
            "{format:?}, strict"
        );
    }
}

/// Layers of 64 inputs but the last, which has 96.
#[test]
fn mlx_holds_grids_of_its_groups() {
    let nf4 = LayerSettings {
        method: Method::Nf4,
        ..settings(4, 64, false)
    };
    let palette = LayerSettings {
        method: Method::Palette,
        ..settings(3, 32, false)
    };
    let pruned = LayerSettings {
        prune: Pruning {
            method: PruneMethod::Magnitude,
            sparsity: 0.5,
            ..Pruning::NONE
        },
        ..settings(4, 32, false)
    };
    let factored = LayerSettings {
        rank: Rank::Fixed(2),
        ..settings(4, 32, false)
    };
    let (wide, last) = ("group 128 -> group 64", "group 64 -> group 32");
    let from_nf4 = "nf4 -> rtn";
    let cases = [
        (settings(4, 32, false), [""; 5]),
        (settings(8, 64, true), ["", "", "", "", last]),
        (
            settings(4, 0, false),
            ["", "", "", "", "group 0 -> group 32"],
        ),
        (
            settings(4, 128, false),
            [wide, wide, wide, wide, "group 128 -> group 32"],
        ),
        (settings(7, 32, false), ["7 bits -> 8 bits"; 5]),
        (
            settings(7, 16, true),
            ["7 bits, group 16 -> 8 bits, group 32"; 5],
        ),
        (
            nf4,
            [
                from_nf4,
                from_nf4,
                from_nf4,
                from_nf4,
                "nf4, group 64 -> rtn, group 32",
            ],
        ),
        (palette, ["palette -> rtn"; 5]),
        (pruned, ["asymmetric -> symmetric"; 5]),
        (factored, ["gptq -> none"; 5]),
    ];
    // Layers of bf16.
    let scales = |settings, scale_dtype| LayerSettings {
        scale_dtype,
        ..settings
    };
    let cases = cases.map(|(asked, told)| (scales(asked, ScaleDtype::BF16), told));
    check(Format::Mlx, &cases);
    let of_model = [(settings(4, 32, false), ["f16 scales -> bf16 scales"; 5])];
    check(Format::Mlx, &of_model);
    let mut turned = layer("c_attn", Role::Query, 64, 64, None);
    turned.transposed = true;
    let held = preflight(Format::Mlx, &[(turned, settings(4, 32, false))], false).unwrap();
    assert_eq!(told(&held[0]), "gptq -> none");
}

#[test]
fn bnb_holds_nf4_of_whole_blocks() {
    let nf4 = |group: usize| LayerSettings {
        method: Method::Nf4,
        ..settings(4, group, false)
    };
    let dense = "nf4 -> none";
    let cases = [
        (nf4(64), [dense, "", "", "", dense]),
        (nf4(0), [dense, "", "", "", dense]),
        (
            nf4(128),
            [
                dense,
                "group 128 -> group 64",
                "group 128 -> group 64",
                "group 128 -> group 64",
                dense,
            ],
        ),
        (
            settings(3, 64, false),
            [
                "gptq -> none",
                "gptq -> nf4",
                "gptq -> nf4",
                "gptq -> nf4",
                "gptq -> none",
            ],
        ),
        (settings(8, 64, false), ["gptq -> none"; 5]),
    ];
    check(Format::BnbNf4, &cases);
    let held = hold(Format::BnbNf4, &[settings(2, 64, false); 5], false).unwrap();
    assert_eq!(
        (held[1].settings.method, held[1].settings.bits),
        (Method::Nf4, 4)
    );
}

#[test]
fn the_bytes_of_both_are_known_before_anything_is_solved() {
    let config = json!({ "model_type": "llama" });
    let nf4 = LayerSettings {
        method: Method::Nf4,
        double_quant: true,
        ..settings(4, 64, false)
    };
    for (format, asked) in [(Format::Mlx, settings(3, 32, false)), (Format::BnbNf4, nf4)] {
        let plan = plan_of(format, &[asked; 5], Some(&config));
        check_headers(&plan);
        for layer in &plan.layers {
            if let Placement::External(external) = layer.placement {
                let parts = external.parts(layer.rows, layer.columns).unwrap();
                let sum: u64 = parts.iter().map(|part| part.size_bytes).sum();
                assert_eq!(sum, layer.stored_bytes, "{format:?} {}", layer.name);
            }
        }
    }
    let mut too_large = layer("q_proj", Role::Query, 64, 64, None);
    (too_large.rows, too_large.columns) = (usize::MAX, usize::MAX);
    assert_eq!(
        stored_bytes(Format::Mlx, &too_large, &settings(4, 32, false)),
        u64::MAX
    );
    assert_eq!(stored_bytes(Format::BnbNf4, &too_large, &nf4), u64::MAX);
}

//! What compressed-tensors and AWQ hold of a recipe, what is done where they cannot, and what their configs say.

use super::*;
use crate::mask::SparsityPattern;
use crate::packed::compressed_tensors::{CodeForm, CompressedLayer};
use crate::settings::{PruneMethod, PruneScope, Pruning, Rank};

fn told(held: &Held) -> String {
    let told = held.fallback.as_ref();
    told.map_or_else(String::new, |told| format!("{} -> {}", told.from, told.to))
}

/// The word on `down_proj` (64 x 96), everything else left as it is.
fn word(format: Format, asked: LayerSettings) -> (String, LayerSettings) {
    let mut all = [with_none(); 5];
    all[4] = asked;
    let held = hold(format, &all, false).unwrap();
    assert_eq!(
        hold(format, &all, true).is_err(),
        held[4].fallback.is_some(),
        "{format:?} {asked:?}"
    );
    (told(&held[4]), held[4].settings)
}

fn with_none() -> LayerSettings {
    LayerSettings {
        method: Method::None,
        ..settings(4, 32, false)
    }
}

#[test]
fn what_does_not_fit_becomes_the_nearest_that_does() {
    let base = settings(4, 32, false);
    let pruned = LayerSettings {
        prune: Pruning {
            method: PruneMethod::Magnitude,
            pattern: SparsityPattern::TWO_OF_FOUR,
            sparsity: 0.5,
            scope: PruneScope::Row,
        },
        ..base
    };
    let with = |method| LayerSettings { method, ..base };
    let factored = LayerSettings {
        rank: Rank::Fixed(4),
        ..base
    };
    let f32_scales = LayerSettings {
        scale_dtype: ScaleDtype::F32,
        ..base
    };
    let cases = [
        (base, "", ""),
        (settings(8, 0, true), "", "gptq -> none"),
        (
            settings(3, 64, true),
            "3 bits, group 64 -> 4 bits, group 32",
            "3 bits, group 64 -> 4 bits, group 32",
        ),
        (settings(6, 32, true), "6 bits -> 8 bits", "gptq -> none"),
        (
            settings(2, 0, false),
            "2 bits -> 4 bits",
            "2 bits -> 4 bits",
        ),
        (with(Method::Hqq), "hqq -> rtn", "hqq -> rtn"),
        (with(Method::Nf4), "nf4 -> none", "nf4 -> none"),
        (with(Method::Palette), "palette -> none", "palette -> none"),
        (factored, "gptq -> none", "gptq -> none"),
        (f32_scales, "", "f32 scales -> f16 scales"),
        (pruned, "", ""),
    ];
    for (asked, compressed, awq) in cases {
        assert_eq!(
            word(Format::CompressedTensors, asked).0,
            compressed,
            "{asked:?}"
        );
        assert_eq!(word(Format::Awq, asked).0, awq, "{asked:?}");
    }
}

#[test]
fn inputs_are_rounded_before_integers_of_eight_bits_alone() {
    let rounded = |bits, group, symmetric, activations| LayerSettings {
        activations,
        activation_block: if activations == Activations::Dynamic8 {
            32
        } else {
            0
        },
        ..settings(bits, group, symmetric)
    };
    let format = Format::CompressedTensors;
    let (told, _) = word(format, rounded(4, 32, false, Activations::Dynamic8));
    assert_eq!(told, "activations dynamic8 -> activations none");
    let (told, held) = word(format, rounded(8, 32, false, Activations::Dynamic8));
    assert_eq!(
        told,
        "group 32, asymmetric, activation block 32 -> group 0, symmetric, activation block 0"
    );
    assert_eq!(
        (held.group, held.symmetric, held.activation_block),
        (0, true, 0)
    );
    assert_eq!(held.activations, Activations::Dynamic8);
    let (told, held) = word(format, rounded(8, 0, true, Activations::Static8));
    assert_eq!(
        (told.as_str(), held.activations),
        ("", Activations::Static8)
    );
    let (told, _) = word(Format::Awq, rounded(4, 0, true, Activations::Static8));
    assert_eq!(told, "activations static8 -> activations none");
}

#[test]
fn onnx_runtime_rounds_inputs_in_the_blocks_of_the_weights() {
    let rounded = |bits, group, block| LayerSettings {
        activations: Activations::Dynamic8,
        activation_block: block,
        ..settings(bits, group, true)
    };
    let cases = [
        (
            rounded(4, 32, 0),
            "a scale for each token -> activation block 32",
            32,
        ),
        (rounded(4, 32, 32), "", 32),
        // Our kernels round in no blocks of 64: it is told, and measured as asked.
        (
            rounded(8, 64, 0),
            "a scale for each token -> activation block 64",
            0,
        ),
        (rounded(8, 0, 0), "", 0),
    ];
    for (asked, expected, block) in cases {
        let (told, held) = word(Format::Onnx, asked);
        assert_eq!(told, expected, "{asked:?}");
        assert_eq!(held.activation_block, block, "{asked:?}");
    }
}

#[test]
fn the_config_of_compressed_tensors_names_every_scheme() {
    let mut asked = [settings(4, 32, true); 5];
    asked[4] = LayerSettings {
        activations: Activations::Static8,
        ..settings(8, 0, true)
    };
    let config = json!({ "model_type": "llama", "quantization_config": { "bits": 2 } });
    let plan = plan_of(Format::CompressedTensors, &asked, Some(&config));
    check_headers(&plan);
    let integers = ExternalLayer::CompressedTensors(CompressedLayer {
        form: CodeForm::Integers,
        grid: asked[4].grid(),
        activations: Activations::Static8,
    });
    assert_eq!(plan.layers[4].placement, Placement::External(integers));
    // Integers, a scale of two bytes for each row, and the step of the inputs.
    assert_eq!(plan.layers[4].stored_bytes, 64 * 96 + 64 * 2 + 4);
    assert_eq!(plan.layers[1].stored_bytes, 64 * 64 / 2 + 64 * 2 * 2 + 16);
    let found = quantization(&plan);
    assert_eq!(found["quant_method"], "compressed-tensors");
    assert_eq!(found["format"], "mixed-precision");
    assert_eq!(found["ignore"], json!(["lm_head"]));
    let groups = &found["config_groups"];
    assert_eq!(
        groups["group_0"]["targets"],
        json!([
            "re:^(.*\\.)?block\\.\\d+\\.q_proj$",
            "re:^(.*\\.)?block\\.\\d+\\.k_proj$",
            "re:^(.*\\.)?block\\.\\d+\\.v_proj$"
        ])
    );
    assert_eq!(groups["group_0"]["weights"]["group_size"], 32);
    assert_eq!(groups["group_0"]["format"], "pack-quantized");
    assert_eq!(groups["group_1"]["weights"]["strategy"], "channel");
    assert_eq!(groups["group_1"]["input_activations"]["strategy"], "tensor");
    assert_eq!(groups["group_1"]["input_activations"]["dynamic"], false);
}

#[test]
fn layers_that_are_fused_lie_alike_or_stay_dense() {
    let mut asked = [settings(4, 32, true); 5];
    asked[2].symmetric = false;
    for format in [Format::CompressedTensors, Format::Awq] {
        let held = hold(format, &asked, false).unwrap();
        for held in &held[1..4] {
            assert_eq!(told(held), "gptq -> none", "{format:?}");
        }
        assert_eq!(held[4].fallback, None);
    }
}

#[test]
fn awq_has_one_group_for_a_model() {
    let mut asked = [settings(4, 32, true); 5];
    asked[4].group = 16;
    let held = hold(Format::Awq, &asked, false).unwrap();
    assert_eq!(told(&held[4]), "group 16 -> group 32");
    asked[4].method = Method::None;
    let config = json!({ "model_type": "llama" });
    let plan = plan_of(Format::Awq, &asked, Some(&config));
    check_headers(&plan);
    assert_eq!(
        quantization(&plan),
        json!({
            "quant_method": "awq",
            "version": "gemm",
            "bits": 4,
            "group_size": 32,
            "zero_point": true,
            "modules_to_not_convert": ["block.0.down_proj", "lm_head"],
        })
    );
}

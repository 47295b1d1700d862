//! Bytes of the package itself, everything unpacked again, and hostile parts.
#![allow(clippy::unwrap_used)]

use super::super::tests::affine;
use super::super::whole::testing::{bytes_of_hex, formula};
use super::*;
use crate::mask::{Mask, SparsityPattern};
use crate::solved::Grid;
use proptest::prelude::*;

fn layer(form: CodeForm, bits: u8, group: usize, symmetric: bool) -> CompressedLayer {
    CompressedLayer {
        form,
        grid: GridConfig {
            bits,
            group,
            symmetric,
            scale_dtype: ScaleDtype::F32,
        },
        activations: Activations::None,
    }
}

/// What compressed-tensors 0.20.0 makes of `formula` with 9 outputs and 12 inputs.
#[test]
fn the_bytes_are_those_of_the_package() {
    const FOUR: &str = "3096fc52b81e0000a70d63c92f8500001e74da3096fc000085eb41a70d630000fc52b81e74da000063c92f85eb410000\
                        da3096fc52b8000041a70d63c92f0000b81e74da30960000";
    let cases = [
        (
            layer(CodeForm::Packed, 4, 4, false),
            "weight_packed",
            FOUR,
            "3096fc5285eb41a7da3096fc080000000d00000002000000",
        ),
        (
            layer(CodeForm::Packed, 4, 0, true),
            "weight_packed",
            FOUR,
            "",
        ),
        (
            layer(CodeForm::Packed, 8, 4, false),
            "weight_packed",
            "000306090c0f1215181b1e21070a0d101316191c1f2225280e1114171a1d202326292c2f15181b1e2124272a2d303336\
             1c1f2225282b2e3134373a3d2326292c2f3235383b3e41442a2d303336393c3f4245484b3134373a3d404346494c4f52\
             383b3e4144474a4d50535659",
            "0003060905080b0e0a0d10130c0f12151114171a16191c1f180000001d00000022000000",
        ),
        (
            layer(CodeForm::Integers, 8, 0, true),
            "weight",
            "808386898c8f9295989b9ea1878a8d909396999c9fa2a5a88e9194979a9da0a3a6a9acaf95989b9ea1a4a7aaadb0b3b6\
             9c9fa2a5a8abaeb1b4b7babda3a6a9acafb2b5b8bbbec1c4aaadb0b3b6b9bcbfc2c5c8cbb1b4b7babdc0c3c6c9cccfd2\
             b8bbbec1c4c7cacdd0d3d6d9",
            "",
        ),
    ];
    for (layer, suffix, codes, zeros) in cases {
        let solved = formula(layer.grid, 9, 12);
        let parts = layer.pack("w", &solved, &ActivationPlan::NONE).unwrap();
        let bytes = |suffix: &str| part_of(&parts, suffix).map(|part| part.bytes.clone());
        assert_eq!(bytes(suffix).unwrap(), bytes_of_hex(codes), "{layer:?}");
        assert_eq!(
            bytes("weight_zero_point").unwrap_or_default(),
            bytes_of_hex(zeros),
            "{layer:?}"
        );
        if layer.form == CodeForm::Packed {
            let shape = bytes_of_hex("09000000000000000c00000000000000");
            assert_eq!(bytes("weight_shape").unwrap(), shape);
        }
        let back = layer.unpack(9, 12, &parts).unwrap();
        assert_eq!(back.dequantize(), solved.dequantize(), "{layer:?}");
    }
}

proptest! {
    #[test]
    fn layers_return_unchanged(
        form in prop_oneof![Just(CodeForm::Packed), Just(CodeForm::Integers)],
        bits in 2u8..=8,
        group in 1usize..6,
        groups in 1usize..5,
        whole in any::<bool>(),
        symmetric in any::<bool>(),
        dtype in prop_oneof![Just(ScaleDtype::F16), Just(ScaleDtype::BF16), Just(ScaleDtype::F32)],
        rows in 1usize..40,
        seed: u64,
    ) {
        let columns = group * groups;
        let config = GridConfig {
            bits,
            group: if whole { 0 } else { group },
            symmetric,
            scale_dtype: dtype,
        };
        let layer = CompressedLayer { grid: config, ..layer(form, bits, 0, symmetric) };
        let solved = affine(config, rows, columns, false, seed);
        let parts = layer.pack("w", &solved, &ActivationPlan::NONE).unwrap();
        let planned = layer.parts(rows, columns).unwrap();
        prop_assert_eq!(planned.len(), parts.len());
        for (spec, part) in planned.iter().zip(&parts) {
            prop_assert_eq!(spec.size_bytes, part.bytes.len() as u64);
        }
        let back = layer.unpack(rows, columns, &parts).unwrap();
        prop_assert_eq!(back.codes.values, solved.codes.values.clone());
        let (Grid::Affine(found), Grid::Affine(expected)) = (&back.grid, &solved.grid) else {
            panic!("affine layers")
        };
        prop_assert_eq!(&found.zeros, &expected.zeros);
        prop_assert_eq!(&found.scales, &expected.scales);
    }
}

#[test]
fn pruned_weights_are_codes_of_zero() {
    let layer = layer(CodeForm::Packed, 4, 4, false);
    let mut solved = formula(layer.grid, 9, 12);
    solved.mask = Some(Mask {
        pattern: SparsityPattern::Unstructured,
        columns: 12,
        keep: (0..9 * 12).map(|index| index % 3 != 0).collect(),
    });
    let parts = layer.pack("w", &solved, &ActivationPlan::NONE).unwrap();
    let back = layer.unpack(9, 12, &parts).unwrap();
    assert_eq!(back.dequantize(), solved.dequantize());
}

#[test]
fn a_fixed_scale_of_inputs_goes_along() {
    let layer = CompressedLayer {
        activations: Activations::Static8,
        ..layer(CodeForm::Integers, 8, 0, true)
    };
    let solved = formula(layer.grid, 3, 8);
    let plan = ActivationPlan::new(layer.activation_kind(), Some(0.25));
    let mut parts = layer.pack("w", &solved, &plan).unwrap();
    assert_eq!(layer.activation_plan(&parts), Ok(plan));
    assert!(layer.pack("w", &solved, &ActivationPlan::NONE).is_err());
    let last = parts.last_mut().unwrap();
    assert_eq!(last.suffix, "input_scale");
    for (step, expected) in [
        (0.0, "value 0"),
        (f32::NAN, "value NaN"),
        (-1.0, "value -1"),
    ] {
        parts.last_mut().unwrap().bytes = step.to_le_bytes().to_vec();
        let error = layer.activation_plan(&parts).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    parts.pop();
    assert!(layer.activation_plan(&parts).unwrap_err().contains("lacks"));
}

#[test]
fn hostile_parts_are_errors() {
    let packed = layer(CodeForm::Packed, 4, 4, false);
    let integers = layer(CodeForm::Integers, 4, 0, true);
    let parts_of = |layer: &CompressedLayer| {
        let solved = formula(layer.grid, 9, 12);
        layer.pack("w", &solved, &ActivationPlan::NONE).unwrap()
    };
    let change = |layer: &CompressedLayer, suffix: &str, edit: &dyn Fn(&mut Part)| {
        let mut parts = parts_of(layer);
        let part = parts.iter_mut().find(|part| part.suffix == suffix);
        edit(part.unwrap());
        layer.unpack(9, 12, &parts).unwrap_err()
    };
    let cases = [
        (
            "instead of",
            change(&packed, "weight_packed", &|part| part.bytes.truncate(4)),
        ),
        (
            "instead of",
            change(&packed, "weight_packed", &|part| part.shape.reverse()),
        ),
        (
            "instead of",
            change(&packed, "weight_scale", &|part| part.dtype = Dtype::F16),
        ),
        (
            "lacks its part",
            change(&packed, "weight_zero_point", &|part| part.suffix.clear()),
        ),
        (
            "hold the value NaN",
            change(&packed, "weight_scale", &|part| {
                part.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
        ),
        (
            "holds the integer 100",
            change(&integers, "weight", &|part| part.bytes[3] = 100),
        ),
    ];
    for (expected, error) in cases {
        assert!(
            error.contains(expected),
            "expected {expected:?} in {error:?}"
        );
    }
    let parts = parts_of(&packed);
    for (rows, columns) in [(0, 12), (9, usize::MAX), (usize::MAX, usize::MAX), (9, 16)] {
        assert!(
            packed.unpack(rows, columns, &parts).is_err(),
            "{rows} x {columns}"
        );
    }
}

#[test]
fn what_was_not_planned_is_an_error() {
    let planned = layer(CodeForm::Packed, 4, 4, true);
    let other = formula(
        GridConfig {
            symmetric: false,
            ..planned.grid
        },
        9,
        12,
    );
    let error = planned
        .pack("w", &other, &ActivationPlan::NONE)
        .unwrap_err();
    assert!(error.problem.contains("was planned as"), "{error}");
    let hqq = affine(
        GridConfig {
            symmetric: false,
            ..planned.grid
        },
        9,
        12,
        true,
        3,
    );
    let error = planned.pack("w", &hqq, &ActivationPlan::NONE).unwrap_err();
    assert!(error.problem.contains("whole zeros"), "{error}");
}

//! The layout against a bit-by-bit twin and against bytes that MLX 0.32.4 wrote.
#![allow(clippy::unwrap_used)]

use super::super::tests::affine;
use super::*;
use crate::mask::{Mask, SparsityPattern};
use proptest::prelude::*;

fn config(bits: u8, group: usize, symmetric: bool, scale_dtype: ScaleDtype) -> GridConfig {
    GridConfig {
        bits,
        group,
        symmetric,
        scale_dtype,
    }
}

/// As the layer was solved, but for its bits.
fn pack(name: &str, solved: &Solved, bits: u8) -> Result<Vec<Part>, PackError> {
    let planned = GridConfig {
        bits,
        ..grid(solved).config
    };
    super::pack(name, solved, planned)
}

fn stored(parts: &[Part]) -> Stored<'_> {
    Stored {
        biases: &parts[0].bytes,
        scales: &parts[1].bytes,
        weight: &parts[2].bytes,
    }
}

fn grid(solved: &Solved) -> &AffineGrid {
    match &solved.grid {
        Grid::Affine(grid) => grid,
        _ => panic!("an affine layer"),
    }
}

/// Code `column` of a row of 32-bit words.
fn slow_code(row: &[u8], column: usize, bits: u8) -> u8 {
    let mut code = 0;
    for bit in 0..usize::from(bits) {
        let place = column * usize::from(bits) + bit;
        let bytes: [u8; 4] = row[place / 32 * 4..][..4].try_into().unwrap();
        code |= ((u32::from_le_bytes(bytes) >> (place % 32) & 1) as u8) << bit;
    }
    code
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

proptest! {
    #[test]
    fn what_is_packed_is_read_as_it_is_stored(
        bits in prop::sample::select(BITS.to_vec()),
        group in prop::sample::select(GROUPS.to_vec()),
        scale_dtype in prop::sample::select(vec![ScaleDtype::F16, ScaleDtype::BF16, ScaleDtype::F32]),
        symmetric: bool,
        fractional: bool,
        seed: u64,
    ) {
        let (rows, columns) = (5, 256);
        let config = config(bits, group, symmetric && !fractional, scale_dtype);
        let solved = affine(config, rows, columns, fractional, seed);
        let parts = pack("layer", &solved, bits).unwrap();
        let written: u64 = parts.iter().map(|part| part.bytes.len() as u64).sum();
        prop_assert_eq!(Some(written), stored_bytes(config, rows, columns));
        let width = parts[2].shape[1] * 4;
        for (row, column) in [(0, 0), (2, 10), (4, 255), (3, 21), (1, 63)] {
            let bytes = &parts[2].bytes[row * width..][..width];
            prop_assert_eq!(slow_code(bytes, column, bits), solved.codes.row(row)[column]);
        }
        let back = unpack(config, rows, columns, stored(&parts)).unwrap();
        prop_assert_eq!(&back.codes, &solved.codes);
        moves_by_half_a_last_place(&solved, &back)?;
        if scale_dtype != ScaleDtype::F32 {
            prop_assert_eq!(pack("layer", &back, bits).unwrap(), parts, "written again");
        }
    }
}

/// Biases are rounded to the dtype of the scales, and nothing else changes.
fn moves_by_half_a_last_place(solved: &Solved, found: &Solved) -> Result<(), TestCaseError> {
    let grid = grid(solved);
    let (groups, before, after) = (grid.groups(), solved.dequantize(), found.dequantize());
    let share = match grid.config.scale_dtype {
        ScaleDtype::F16 => 2f32.powi(-11),
        ScaleDtype::BF16 => 2f32.powi(-8),
        ScaleDtype::F32 => 2f32.powi(-22),
    };
    let share = if grid.config.symmetric { 0.0 } else { share };
    for row in 0..grid.rows {
        for column in 0..grid.columns {
            let step = grid.step(row, groups.of(column));
            let (one, other) = (before.row(row)[column], after.row(row)[column]);
            // And a few roundings of f32 itself.
            let largest = (step.scale * step.zero).abs().max(one.abs());
            let bound = share * largest + 2f32.powi(-22) * largest + 1e-7;
            prop_assert!((one - other).abs() <= bound, "{one} became {other}");
        }
    }
    Ok(())
}

#[test]
fn symmetric_layers_return_exactly() {
    for bits in BITS {
        let solved = affine(config(bits, 64, true, ScaleDtype::F16), 3, 128, false, 7);
        let parts = pack("layer", &solved, bits).unwrap();
        let back = unpack(grid(&solved).config, 3, 128, stored(&parts)).unwrap();
        assert_eq!(back.dequantize(), solved.dequantize(), "{bits} bits");
    }
}

#[test]
fn seven_bits_lie_in_eight_with_the_same_values() {
    let seven = affine(config(7, 32, true, ScaleDtype::F16), 2, 64, false, 3);
    assert!(pack("layer", &seven, 7).is_err());
    let parts = pack("layer", &seven, 8).unwrap();
    let config = config(8, 32, false, ScaleDtype::F16);
    let back = unpack(config, 2, 64, stored(&parts)).unwrap();
    assert_eq!(back.dequantize(), seven.dequantize());
}

#[test]
fn zeros_that_are_left_out_stay_zero() {
    let mut solved = affine(config(4, 32, true, ScaleDtype::BF16), 2, 64, false, 9);
    let keep: Vec<bool> = (0..128).map(|index| index % 4 < 2).collect();
    solved.mask = Some(Mask {
        pattern: SparsityPattern::NOfM { kept: 2, of: 4 },
        columns: 64,
        keep: keep.clone(),
    });
    let parts = pack("layer", &solved, 4).unwrap();
    let back = unpack(grid(&solved).config, 2, 64, stored(&parts)).unwrap();
    assert_eq!(back.dequantize(), solved.dequantize());
    for (weight, keep) in back.dequantize().data().iter().zip(keep) {
        assert!(keep || *weight == 0.0, "{weight} instead of 0");
    }
    let Grid::Affine(grid) = &mut solved.grid else {
        panic!("an affine layer")
    };
    grid.zeros[1] = 3.0;
    let error = pack("layer", &solved, 4).unwrap_err();
    assert!(error.problem.contains("symmetric"), "{error}");
}

/// `mx.quantize` of two rows of 32 values in f16, `mx.dequantize` with scales and biases as f32.
#[test]
fn bytes_that_mlx_wrote() {
    let (biases, rows, columns) = (bytes_of("0039e038"), 2, 32);
    let cases = [
        (
            3_u8,
            "9fc3cfe1d5f02a6815b38a39fc1c5e0eaf865731ab98c3cf",
            "00b0cdaf",
            [-0.25_f32, 0.25, -0.125, 0.5],
            [0.121_826_17_f32, -0.243_835_45, 0.243_713_38, -0.121_948_24],
        ),
        (
            6,
            "3f162b646fbd88b853ad01e6d24a7437940a1bed9c402633a57fc189c853ae01ea124b7838a40a9ceda0804633e68fc9",
            "9ea36ea3",
            [-0.312_271_12, 0.267_944_34, -0.103_988_65, 0.476_226_8],
            [0.057_952_88, -0.304_824_83, 0.261_108_4, -0.116_180_42],
        ),
    ];
    for (bits, weight, scales, first, last) in cases {
        let config = config(bits, 32, false, ScaleDtype::F16);
        let (weight, scales) = (bytes_of(weight), bytes_of(scales));
        let theirs = Stored {
            weight: &weight,
            scales: &scales,
            biases: &biases,
        };
        let read = unpack(config, rows, columns, theirs).unwrap();
        let values = read.dequantize();
        for (found, expected) in values.row(0).iter().zip(first) {
            assert!(
                (found - expected).abs() < 1e-7,
                "{bits} bits: {found} instead of {expected}"
            );
        }
        for (found, expected) in values.row(1)[28..].iter().zip(last) {
            assert!(
                (found - expected).abs() < 1e-7,
                "{bits} bits: {found} instead of {expected}"
            );
        }
        let parts = pack("layer", &read, bits).unwrap();
        let again: Vec<&[u8]> = parts.iter().map(|part| part.bytes.as_slice()).collect();
        assert_eq!(
            again,
            [&biases, &scales, &weight],
            "{bits} bits, written again"
        );
    }
}

#[test]
fn groups_of_one_value_hold_it() {
    let config = config(4, 32, false, ScaleDtype::F32);
    let floats = |values: [f32; 3]| {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let scales: Vec<u8> = floats([0.0, 0.0, 1e-45]);
    let biases: Vec<u8> = floats([-0.75, 0.0, 2.0]);
    let theirs = Stored {
        weight: &[0xa5; 48],
        scales: &scales,
        biases: &biases,
    };
    let values = unpack(config, 1, 96, theirs).unwrap().dequantize();
    for (group, expected) in [-0.75, 0.0, 2.0].into_iter().enumerate() {
        assert!(
            values.row(0)[group * 32..][..32]
                .iter()
                .all(|&value| value == expected)
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let f16 = ScaleDtype::F16;
    let cases = [
        (Method::Nf4, config(4, 64, false, f16), false, 128, "nf4"),
        (
            Method::Palette,
            config(4, 64, false, f16),
            false,
            128,
            "palettes",
        ),
        (
            Method::Float,
            config(4, 64, false, f16),
            false,
            128,
            "floats",
        ),
        (Method::Gptq, config(7, 64, false, f16), false, 128, "not 7"),
        (
            Method::Gptq,
            config(4, 16, false, f16),
            false,
            128,
            "not 16",
        ),
        (
            Method::Gptq,
            config(4, 64, false, f16),
            false,
            96,
            "96 inputs, not 64",
        ),
        (Method::Gptq, config(4, 0, false, f16), false, 256, "not 0"),
        (
            Method::Gptq,
            config(4, 64, false, f16),
            true,
            128,
            "symmetric",
        ),
    ];
    for (method, config, pruned, columns, expected) in cases {
        let found = unfit(method, config, pruned, columns).unwrap().to_string();
        assert!(found.contains(expected), "{found} instead of …{expected}…");
    }
    assert_eq!(
        unfit(Method::Gptq, config(4, 0, false, f16), false, 64),
        None
    );
    assert_eq!(unfit(Method::Hqq, config(4, 64, true, f16), true, 64), None);
    let nearest = [
        ((128, 96), Some(32)),
        ((0, 256), Some(128)),
        ((16, 64), Some(32)),
        ((100, 256), Some(64)),
        ((64, 44), None),
    ];
    for ((group, columns), expected) in nearest {
        assert_eq!(
            nearest_group(group, columns),
            expected,
            "{group} of {columns}"
        );
    }
    assert_eq!((nearest_bits(7), nearest_bits(5)), (8, 5));
}

#[test]
fn hostile_parts_are_refused() {
    let solved = affine(config(4, 32, false, ScaleDtype::F16), 2, 64, false, 1);
    let (config, parts) = (grid(&solved).config, pack("layer", &solved, 4).unwrap());
    let whole = stored(&parts);
    let short = Stored {
        weight: &whole.weight[1..],
        ..whole
    };
    let nan = [0xff; 8];
    let cases = [
        (2, 64, short, "weight has"),
        (
            2,
            64,
            Stored {
                scales: &nan,
                ..whole
            },
            "scales hold",
        ),
        (
            2,
            64,
            Stored {
                biases: &nan,
                ..whole
            },
            "biases hold",
        ),
        (4, 64, whole, "biases has"),
        (0, 64, whole, "0 x 64"),
        (usize::MAX, 64, whole, "weights"),
        (2, 65, whole, "65 inputs"),
    ];
    for (rows, columns, stored, expected) in cases {
        let error = unpack(config, rows, columns, stored).unwrap_err();
        assert!(error.contains(expected), "{error} instead of …{expected}…");
    }
}

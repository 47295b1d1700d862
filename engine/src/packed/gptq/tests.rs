//! The layout against a word-by-word twin, and stored layers of other programs.
#![allow(clippy::unwrap_used)]

use super::super::tests::affine;
use super::*;

fn config(bits: u8, group: usize, symmetric: bool) -> GridConfig {
    GridConfig {
        bits,
        group,
        symmetric,
        scale_dtype: ScaleDtype::F16,
    }
}

fn stored(parts: &[Part]) -> Stored<'_> {
    Stored {
        g_idx: Some(&parts[0].bytes),
        qweight: &parts[1].bytes,
        qzeros: &parts[2].bytes,
        scales: &parts[3].bytes,
    }
}

/// Value `index` of a stream of words that lie `stride` words apart.
fn slow_value(words: &[u8], start: usize, stride: usize, index: usize, bits: u8) -> u8 {
    let mut value = 0;
    for bit in 0..usize::from(bits) {
        let place = index * usize::from(bits) + bit;
        let word = start + place / 32 * stride;
        let bytes: [u8; 4] = words[word * 4..word * 4 + 4].try_into().unwrap();
        value |= ((u32::from_le_bytes(bytes) >> (place % 32) & 1) as u8) << bit;
    }
    value
}

#[test]
fn every_width_returns_unchanged_and_lies_as_the_drawing_says() {
    for (bits, group, symmetric) in [(2, 32, false), (3, 0, true), (4, 64, false), (8, 16, true)] {
        let (rows, columns) = (96, 128);
        let solved = affine(config(bits, group, symmetric), rows, columns, false, 77);
        let Grid::Affine(grid) = &solved.grid else {
            panic!("an affine layer")
        };
        let format = if symmetric {
            CheckpointFormat::V1
        } else {
            CheckpointFormat::V2
        };
        let parts = pack("layer", &solved, format).unwrap();
        for (row, column) in [(0, 0), (5, 10), (6, 21), (95, 127), (50, 63)] {
            let found = slow_value(&parts[1].bytes, row, rows, column, bits);
            assert_eq!(
                found,
                solved.codes.row(row)[column],
                "{bits} bits, code ({row}, {column})"
            );
        }
        let words = rows * usize::from(bits) / 32;
        for (row, group) in [(0, 0), (11, grid.groups().count() - 1), (95, 0)] {
            let found = slow_value(&parts[2].bytes, group * words, 1, row, bits);
            let expected = grid.step(row, group).zero - if symmetric { 1.0 } else { 0.0 };
            assert_eq!(
                f32::from(found),
                expected,
                "{bits} bits, zero ({row}, {group})"
            );
        }
        let back = unpack(grid.config, rows, columns, format, stored(&parts)).unwrap();
        assert_eq!((&back.codes, &back.grid), (&solved.codes, &solved.grid));
    }
}

#[test]
fn a_zero_of_zero_needs_the_second_format() {
    let mut solved = affine(config(4, 32, false), 32, 32, false, 3);
    let Grid::Affine(grid) = &mut solved.grid else {
        panic!("an affine layer")
    };
    grid.zeros[4] = 0.0;
    let error = pack("layer", &solved, CheckpointFormat::V1).unwrap_err();
    assert!(error.problem.contains("gptq_v2"), "{error}");
    assert!(pack("layer", &solved, CheckpointFormat::V2).is_ok());
}

#[test]
fn scattered_groups_keep_their_scales() {
    let solved = affine(config(4, 16, false), 32, 64, false, 8);
    let mut parts = pack("layer", &solved, CheckpointFormat::V2).unwrap();
    let order: Vec<i32> = (0..64).map(|column| (column * 7 % 64) / 16).collect();
    parts[0].bytes = order.iter().flat_map(|group| group.to_le_bytes()).collect();
    let back = unpack(
        config(4, 16, false),
        32,
        64,
        CheckpointFormat::V2,
        stored(&parts),
    )
    .unwrap();
    let (Grid::Affine(grid), weights) = (&solved.grid, back.dequantize()) else {
        panic!("an affine layer")
    };
    for (column, &group) in order.iter().enumerate() {
        let step = grid.step(3, group as usize);
        let expected = step.weight(f32::from(solved.codes.row(3)[column]));
        assert_eq!(weights.row(3)[column], expected, "column {column}");
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let cases = [
        (
            Method::Nf4,
            config(4, 64, false),
            64,
            64,
            Some(Unfit::Codebook),
        ),
        (
            Method::Hqq,
            config(4, 64, false),
            64,
            64,
            Some(Unfit::FractionalZeros),
        ),
        (
            Method::Gptq,
            config(6, 64, false),
            64,
            64,
            Some(Unfit::Bits(6)),
        ),
        (
            Method::Gptq,
            config(4, 64, false),
            60,
            64,
            Some(Unfit::Widths {
                rows: 60,
                columns: 64,
            }),
        ),
        (
            Method::Gptq,
            config(4, 128, false),
            64,
            96,
            Some(Unfit::Group {
                group: 128,
                columns: 96,
            }),
        ),
        (Method::Rtn, config(3, 0, false), 64, 96, None),
        (Method::Awq, config(2, 32, true), 32, 96, None),
    ];
    for (method, config, rows, columns, expected) in cases {
        assert_eq!(
            unfit(method, config, rows, columns),
            expected,
            "{method:?} {config:?}"
        );
    }
    assert_eq!(nearest_group(128, 160), Some(32));
    assert_eq!(nearest_group(128, 4096), Some(128));
    assert_eq!(nearest_group(8, 4096), None);
}

#[test]
fn hostile_layers_are_errors() {
    let solved = affine(config(4, 32, false), 32, 64, false, 8);
    let parts = pack("layer", &solved, CheckpointFormat::V2).unwrap();
    let read = |rows, columns, stored: Stored<'_>| {
        unpack(
            config(4, 32, false),
            rows,
            columns,
            CheckpointFormat::V2,
            stored,
        )
        .unwrap_err()
    };
    let short = Stored {
        qweight: &parts[1].bytes[4..],
        ..stored(&parts)
    };
    assert!(read(32, 64, short).contains("qweight has"));
    assert!(read(32, 96, stored(&parts)).contains("g_idx has"));
    assert!(read(31, 64, stored(&parts)).contains("multiples of 32"));
    let far: Vec<u8> = (0..64).flat_map(|_| 9i32.to_le_bytes()).collect();
    let scattered = Stored {
        g_idx: Some(&far),
        ..stored(&parts)
    };
    assert!(read(32, 64, scattered).contains("group 9 of 2"));
}

#[test]
fn zeros_are_the_codes_that_stand_for_nothing() {
    for (symmetric, format) in [(true, CheckpointFormat::V1), (false, CheckpointFormat::V2)] {
        let mut solved = affine(config(4, 32, symmetric), 32, 64, false, 77);
        let keep = (0..32 * 64).map(|index| index % 3 != 0).collect();
        solved.mask = Some(Mask {
            pattern: crate::mask::SparsityPattern::Unstructured,
            columns: 64,
            keep,
        });
        let Grid::Affine(grid) = &solved.grid else {
            panic!("an affine layer")
        };
        let parts = pack("layer", &solved, format).unwrap();
        let back = unpack(grid.config, 32, 64, format, stored(&parts)).unwrap();
        assert_eq!(back.dequantize(), solved.dequantize(), "{format:?}");
    }
}

//! Bytes of AutoAWQ itself, everything unpacked again, and hostile parts.
#![allow(clippy::unwrap_used)]

use super::super::external::part_of;
use super::super::tests::affine;
use super::super::whole::testing::{bytes_of_hex, formula};
use super::*;
use crate::solved::Grid;
use proptest::prelude::*;

fn config(group: usize, symmetric: bool) -> GridConfig {
    GridConfig {
        bits: BITS,
        group,
        symmetric,
        scale_dtype: ScaleDtype::F16,
    }
}

/// What `WQLinear_GEMM.from_linear` of AutoAWQ 0.2.9 makes of `formula` with 32 outputs and 4 inputs.
#[test]
fn the_bytes_are_those_of_the_package() {
    let solved = formula(config(2, false), 32, 4);
    let parts = pack("w", &solved, config(2, false)).unwrap();
    let expected = [
        (
            "qweight",
            "e0ac57136824df9be0ac57136824df9b13df8a469b5702ce13df8a469b5702ce4602bd79ce8a35f14602bd79ce8a35f1\
             7935e0acf1bd68247935e0acf1bd6824",
        ),
        (
            "qzeros",
            "602c935fe8a41bd7602c935fe8a41bd7b571e8a43df9602cb571e8a43df9602c",
        ),
    ];
    for (suffix, bytes) in expected {
        let part = part_of(&parts, suffix).unwrap();
        assert_eq!(part.bytes, bytes_of_hex(bytes), "{suffix}");
    }
    let scales = part_of(&parts, "scales").unwrap();
    assert_eq!(scales.shape, [2, 32]);
    let half = |bytes: &[u8]| f16::from_le_bytes(bytes.try_into().unwrap()).to_f32();
    let values: Vec<f32> = scales.bytes.chunks(2).map(half).collect();
    assert_eq!(
        (&values[..3], &values[32..35]),
        (&[1.0, 0.5, 0.25][..], &[2.0, 1.0, 0.5][..])
    );
}

proptest! {
    #[test]
    fn layers_return_unchanged(
        group in 1usize..6,
        groups in 1usize..5,
        whole in any::<bool>(),
        symmetric in any::<bool>(),
        words in 1usize..6,
        seed: u64,
    ) {
        let (rows, columns) = (words * WORD_CODES, group * groups);
        let config = config(if whole { 0 } else { group }, symmetric);
        let solved = affine(config, rows, columns, false, seed);
        let parts = pack("w", &solved, config).unwrap();
        for (spec, part) in super::parts(config, rows, columns).unwrap().iter().zip(&parts) {
            prop_assert_eq!(spec.size_bytes, part.bytes.len() as u64);
        }
        let back = unpack(config, rows, columns, &parts).unwrap();
        prop_assert_eq!(&back.codes, &solved.codes);
        let (Grid::Affine(found), Grid::Affine(expected)) = (&back.grid, &solved.grid) else {
            panic!("affine layers")
        };
        prop_assert_eq!(&found.zeros, &expected.zeros);
        prop_assert_eq!(&found.scales, &expected.scales);
    }
}

#[test]
fn hostile_parts_are_errors() {
    let solved = formula(config(2, false), 32, 4);
    let parts = pack("w", &solved, config(2, false)).unwrap();
    let mut short = parts.clone();
    short[0].bytes.pop();
    let mut turned = parts.clone();
    turned[2].shape.reverse();
    let mut endless = parts.clone();
    endless[2].bytes[..2].copy_from_slice(&f16::INFINITY.to_le_bytes());
    let cases = [
        ("its qweight is", unpack(config(2, false), 32, 4, &short)),
        ("its scales is", unpack(config(2, false), 32, 4, &turned)),
        ("the value inf", unpack(config(2, false), 32, 4, &endless)),
        (
            "lacks its part",
            unpack(config(2, false), 32, 4, &parts[..2]),
        ),
        ("multiples of 8", unpack(config(2, false), 31, 4, &parts)),
        ("0 x 4 weights", unpack(config(2, false), 0, 4, &parts)),
        ("that divide", unpack(config(3, false), 32, 4, &parts)),
        ("weights", unpack(config(2, false), usize::MAX, 4, &parts)),
    ];
    for (expected, found) in cases {
        let error = found.unwrap_err();
        assert!(
            error.contains(expected),
            "expected {expected:?} in {error:?}"
        );
    }
}

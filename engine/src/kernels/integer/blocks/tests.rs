//! Products of kept blocks against their slow twin, at sizes around every edge.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::kernels::dispatch::same_on_every_instruction_set;
use crate::kernels::integer::{
    ActivationBits, ActivationScale, MaskedCodes, PanelShape, reference,
};
use crate::rng::Rng;

struct Matrix {
    shape: PanelShape,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<f32>,
    keep: Vec<bool>,
}

impl Matrix {
    /// About `share` of 8 blocks are kept.
    fn random([rows, columns]: [usize; 2], bits: u8, group: usize, share: u64) -> Self {
        let shape = PanelShape {
            rows,
            columns,
            bits,
            group,
        };
        let mut rng = Rng::new(share, 1);
        let mut keep = vec![false; rows * columns];
        for row in keep.chunks_mut(columns.max(1)) {
            for block in row.chunks_mut(QUAD) {
                block.fill(rng.below(8) < share);
            }
        }
        let levels = 1u64 << bits;
        let steps = rows * shape.groups();
        Self {
            shape,
            codes: (0..keep.len()).map(|_| rng.below(levels) as u8).collect(),
            scales: (0..steps)
                .map(|_| 0.01 + rng.normal().abs() as f32)
                .collect(),
            zeros: (0..steps)
                .map(|_| match bits {
                    8 => 128.0,
                    _ => rng.below(levels) as f32,
                })
                .collect(),
            keep,
        }
    }

    fn masked(&self) -> MaskedCodes<'_> {
        MaskedCodes {
            shape: self.shape,
            codes: &self.codes,
            scales: &self.scales,
            zeros: &self.zeros,
            keep: &self.keep,
        }
    }

    fn check(&self, input: &[f32], scale: ActivationScale, bits: ActivationBits) {
        let packed = BlockPanels::pack(&self.masked()).unwrap();
        let tokens = input.len() / self.shape.columns.max(1);
        let mut expected = vec![0.0; tokens * self.shape.rows];
        reference::multiply_masked(&mut expected, input, tokens, scale, bits, &self.masked());
        same_on_every_instruction_set(|| {
            let activations = Activations::quantize(input, tokens, &self.shape, scale, bits);
            let mut found = vec![f32::NAN; expected.len()];
            multiply_blocks(&mut found, &activations, &packed);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!(
                    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                    "{:?}, {tokens} tokens, {scale:?}, {bits:?}: {found} instead of {expected} at {index}",
                    self.shape
                );
            }
        });
    }
}

fn normals(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(3, 2);
    (0..count).map(|_| rng.normal() as f32).collect()
}

const SHAPES: [([usize; 2], usize); 8] = [
    ([1, 1], 0),
    ([15, 31], 0),
    ([17, 33], 32),
    ([33, 100], 48),
    ([49, 200], 64),
    ([16, 1100], 0),
    ([19, 2600], 1200),
    ([700, 600], 64),
];

#[test]
fn products_equal_their_twin_around_every_edge() {
    for bits in [2, 4, 8] {
        for (size, group) in SHAPES {
            for share in [0, 2, 8] {
                let matrix = Matrix::random(size, bits, group, share);
                let input = normals(2 * size[1]);
                matrix.check(&input, ActivationScale::PerToken, ActivationBits::Eight);
            }
        }
        let matrix = Matrix::random([35, 296], bits, 64, 3);
        for tokens in (1..=9).chain([15, 16, 17, 31, 33, 48, 63, 64, 65, 130]) {
            let input = normals(tokens * 296);
            matrix.check(&input, ActivationScale::PerToken, ActivationBits::Eight);
            matrix.check(&input, ActivationScale::PerBlock(32), ActivationBits::Seven);
        }
    }
}

#[test]
fn products_of_floats_are_near_those_of_the_weights() {
    for ([rows, columns], group) in SHAPES {
        let matrix = Matrix::random([rows, columns], 4, group, 3);
        let packed = BlockPanels::pack(&matrix.masked()).unwrap();
        let mut weights = vec![0.0; rows * columns];
        for (row, weights) in weights.chunks_mut(columns).enumerate() {
            packed.dequantize_row(row, weights);
        }
        for tokens in [1, 8, 9] {
            let input = normals(tokens * columns);
            let product = || {
                let mut found = vec![f32::NAN; tokens * rows];
                multiply_blocks_float(&mut found, &input, tokens, &packed);
                found
            };
            let mut expected = vec![0.0; tokens * rows];
            crate::kernels::matvec_f32(&mut expected, &input, tokens, &weights);
            for (found, expected) in product().iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-4 * columns as f32);
            }
            if tokens <= 8 {
                let bits = || product().iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                same_on_every_instruction_set(bits);
            }
        }
    }
}

#[test]
fn no_sum_saturates_at_the_extremes() {
    for (code, zero, bits) in [(255, 128, 8), (0, 128, 8), (15, 0, 4), (0, 15, 4)] {
        let mut matrix = Matrix::random([5, 1056], bits, 1024, 8);
        matrix.codes.fill(code);
        matrix.zeros.fill(f32::from(zero as u8));
        for value in [1.0, -1.0] {
            for tokens in [1, 9, 40] {
                let input = vec![value; tokens * 1056];
                matrix.check(&input, ActivationScale::PerToken, ActivationBits::Eight);
                matrix.check(
                    &input,
                    ActivationScale::Static(0.001),
                    ActivationBits::Eight,
                );
            }
        }
    }
}

#[test]
fn nothing_kept_and_no_numbers_are_told_apart() {
    let mut input = normals(2 * 70);
    input[100] = f32::NAN;
    for share in [0, 8] {
        let matrix = Matrix::random([5, 70], 4, 32, share);
        matrix.check(&input, ActivationScale::PerToken, ActivationBits::Eight);
    }
    for size in [[0, 40], [20, 0], [0, 0]] {
        let empty = Matrix::random(size, 4, 32, 4);
        empty.check(&[], ActivationScale::PerToken, ActivationBits::Eight);
    }
}

#[test]
fn weights_come_back_as_they_were_packed() {
    for (size, group) in SHAPES {
        let matrix = Matrix::random(size, 4, group, 3);
        let packed = BlockPanels::pack(&matrix.masked()).unwrap();
        let mut output = vec![f32::NAN; size[1]];
        for row in 0..size[0] {
            packed.dequantize_row(row, &mut output);
            for (column, &found) in output.iter().enumerate() {
                let index = row * size[1] + column;
                let step = row * matrix.shape.groups() + column / matrix.shape.group_columns();
                let value = f32::from(matrix.codes[index]) - matrix.zeros[step];
                let expected = match matrix.keep[index] {
                    true => matrix.scales[step] * value,
                    false => 0.0,
                };
                assert_eq!(found, expected, "({row}, {column})");
            }
        }
    }
}

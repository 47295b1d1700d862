//! Kernels against their slow twins, at sizes around every edge.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::kernels::dispatch::same_on_every_instruction_set;
use crate::rng::Rng;
use proptest::prelude::*;

/// A matrix with random codes.
struct Matrix {
    shape: PanelShape,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<f32>,
}

/// What zeros a matrix has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ZeroKind {
    Middle,
    Whole,
    Fractional,
}

impl Matrix {
    fn random(shape: PanelShape, kind: ZeroKind, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let levels = 1u64 << shape.bits;
        let count = shape.rows * shape.groups();
        let zero = |rng: &mut Rng| match kind {
            ZeroKind::Middle => (levels / 2) as f32,
            ZeroKind::Whole => rng.below(levels) as f32,
            ZeroKind::Fractional => rng.below(levels * 64) as f32 / 63.0,
        };
        let f16 = |value: f64| half::f16::from_f64(value).to_f32();
        Self {
            shape,
            codes: (0..shape.rows * shape.columns)
                .map(|_| rng.below(levels) as u8)
                .collect(),
            scales: (0..count).map(|_| f16(0.01 + rng.normal().abs())).collect(),
            zeros: (0..count).map(|_| zero(&mut rng)).collect(),
        }
    }

    fn pack(&self) -> Panels {
        Panels::pack(self.shape, &self.codes, &self.scales, &self.zeros)
    }

    fn codes(&self) -> reference::Codes<'_> {
        reference::Codes {
            shape: self.shape,
            codes: &self.codes,
            scales: &self.scales,
            zeros: &self.zeros,
        }
    }
}

fn normals(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 2);
    (0..count).map(|_| rng.normal() as f32).collect()
}

fn check_integer(matrix: &Matrix, tokens: usize, scale: ActivationScale, bits: ActivationBits) {
    let input = normals(tokens * matrix.shape.columns, 3);
    check_integer_on(matrix, &input, tokens, scale, bits);
}

fn check_integer_on(
    matrix: &Matrix,
    input: &[f32],
    tokens: usize,
    scale: ActivationScale,
    bits: ActivationBits,
) {
    let packed = matrix.pack();
    let mut expected = vec![0.0; tokens * matrix.shape.rows];
    reference::multiply_integer(&mut expected, input, tokens, scale, bits, matrix.codes());
    same_on_every_instruction_set(|| {
        let activations = Activations::quantize(input, tokens, &matrix.shape, scale, bits);
        let mut found = vec![0.0; expected.len()];
        multiply_integer(&mut found, &activations, &packed);
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                "{:?}, {tokens} tokens, {scale:?}, {bits:?}: {found} instead of {expected} at {index}",
                matrix.shape
            );
        }
    });
}

fn check_float(matrix: &Matrix, tokens: usize) {
    let input = normals(tokens * matrix.shape.columns, 3);
    let packed = matrix.pack();
    let mut expected = vec![0.0; tokens * matrix.shape.rows];
    reference::multiply_float(&mut expected, &input, tokens, matrix.codes());
    let mut found = vec![0.0; expected.len()];
    multiply_float(&mut found, &input, tokens, &packed);
    for (found, expected) in found.iter().zip(&expected) {
        let bound = 1e-5 * matrix.shape.columns as f32 * f32::from(1u16 << matrix.shape.bits);
        assert!(
            (found - expected).abs() <= bound,
            "{:?}, {tokens} tokens: {found} instead of {expected}",
            matrix.shape
        );
    }
}

const BITS: [u8; 6] = [2, 3, 4, 5, 6, 8];

fn shape(rows: usize, columns: usize, bits: u8, group: usize) -> PanelShape {
    PanelShape {
        rows,
        columns,
        bits,
        group,
    }
}

#[test]
fn integer_products_equal_their_twin_around_row_and_column_edges() {
    for bits in BITS {
        for (rows, columns, group) in [
            (1, 1, 0),
            (15, 31, 0),
            (16, 32, 32),
            (17, 33, 32),
            (31, 70, 32),
            (33, 100, 48),
            (32, 128, 128),
            (49, 200, 64),
            (16, 1100, 0),
        ] {
            for kind in [ZeroKind::Middle, ZeroKind::Whole, ZeroKind::Fractional] {
                let matrix = Matrix::random(shape(rows, columns, bits, group), kind, 5);
                check_integer(&matrix, 2, ActivationScale::PerToken, ActivationBits::Eight);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn unpacking_gives_back_what_was_packed(
        rows in 0usize..40,
        columns in 0usize..150,
        bits in prop::sample::select(BITS.to_vec()),
        group in prop::sample::select(vec![0usize, 7, 32, 64]),
        fractional in any::<bool>(),
    ) {
        let kind = if fractional { ZeroKind::Fractional } else { ZeroKind::Whole };
        let matrix = Matrix::random(shape(rows, columns, bits, group), kind, 9);
        let (codes, scales, zeros) = matrix.pack().unpack();
        prop_assert!(codes == matrix.codes && scales == matrix.scales && zeros == matrix.zeros);
    }
}

#[test]
fn float_products_are_near_their_twin() {
    for bits in BITS {
        for (rows, columns, group) in [(1, 1, 0), (17, 33, 32), (33, 100, 48), (49, 200, 64)] {
            let matrix = Matrix::random(shape(rows, columns, bits, group), ZeroKind::Whole, 5);
            for tokens in [1, 3, 9] {
                check_float(&matrix, tokens);
            }
        }
    }
}

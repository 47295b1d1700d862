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
    same_on_every_instruction_set(|| {
        let mut found = vec![0.0; expected.len()];
        multiply_float(&mut found, &input, tokens, &packed);
        let bound = 1e-5 * matrix.shape.columns as f32 * f32::from(1u16 << matrix.shape.bits);
        for (found, expected) in found.iter().zip(&expected) {
            let equal = found.to_bits() == expected.to_bits();
            let near = tokens > 8 && (found - expected).abs() <= bound;
            assert!(
                equal || near,
                "{:?}, {tokens} tokens: {found} instead of {expected}",
                matrix.shape
            );
        }
    });
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

#[test]
fn integer_products_equal_their_twin_around_token_edges() {
    for bits in BITS {
        let matrix = Matrix::random(shape(35, 96, bits, 64), ZeroKind::Whole, 6);
        for tokens in (1..=14).chain([23, 24, 25, 37]) {
            check_integer(
                &matrix,
                tokens,
                ActivationScale::PerToken,
                ActivationBits::Eight,
            );
            check_integer(
                &matrix,
                tokens,
                ActivationScale::PerBlock(32),
                ActivationBits::Seven,
            );
        }
        let long = Matrix::random(shape(33, 2100, bits, 0), ZeroKind::Fractional, 7);
        for tokens in [1, 4, 5, 13] {
            check_integer(
                &long,
                tokens,
                ActivationScale::PerBlock(128),
                ActivationBits::Eight,
            );
            check_integer(
                &long,
                tokens,
                ActivationScale::Static(0.02),
                ActivationBits::Seven,
            );
        }
    }
}

/// Codes and activations at the ends of their ranges: where 16-bit sums would saturate first.
#[test]
fn no_sum_saturates_at_the_extremes() {
    for bits in BITS {
        let largest = ((1u16 << bits) - 1) as u8;
        for zero in [0.0, f32::from(largest), f32::from(largest) / 2.0 + 0.25] {
            let shape = shape(17, 1056, bits, 1024);
            let matrix = Matrix {
                shape,
                codes: vec![largest; 17 * 1056],
                scales: vec![0.37; 17 * 2],
                zeros: vec![zero; 17 * 2],
            };
            for value in [1.0, -1.0] {
                let input = vec![value; 9 * 1056];
                for tokens in [1, 2, 3, 4, 9] {
                    let input = &input[..tokens * 1056];
                    for (scale, bits) in [
                        (ActivationScale::PerToken, ActivationBits::Eight),
                        (ActivationScale::PerToken, ActivationBits::Seven),
                        (ActivationScale::Static(0.001), ActivationBits::Eight),
                        (ActivationScale::Static(0.001), ActivationBits::Seven),
                    ] {
                        check_integer_on(&matrix, input, tokens, scale, bits);
                    }
                }
            }
        }
    }
}

#[test]
fn values_that_are_no_numbers_are_not_hidden() {
    let matrix = Matrix::random(shape(5, 70, 4, 32), ZeroKind::Whole, 8);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for scale in [
            ActivationScale::PerToken,
            ActivationScale::PerBlock(32),
            ActivationScale::Static(0.1),
        ] {
            let mut input = normals(2 * 70, 1);
            input[100] = bad;
            check_integer_on(&matrix, &input, 2, scale, ActivationBits::Eight);
            let activations =
                Activations::quantize(&input, 2, &matrix.shape, scale, ActivationBits::Eight);
            let mut found = [0.0; 10];
            multiply_integer(&mut found, &activations, &matrix.pack());
            assert!(
                found[..5].iter().all(|value| value.is_finite()),
                "{scale:?}"
            );
            assert!(found[5..].iter().all(|value| value.is_nan()), "{scale:?}");
        }
    }
}

#[test]
fn zero_inputs_and_empty_shapes_give_zeros() {
    let matrix = Matrix::random(shape(20, 40, 4, 32), ZeroKind::Whole, 8);
    for tokens in [0, 1, 6] {
        check_integer_on(
            &matrix,
            &vec![0.0; tokens * 40],
            tokens,
            ActivationScale::PerToken,
            ActivationBits::Eight,
        );
    }
    for (rows, columns) in [(0, 40), (20, 0), (0, 0)] {
        let empty = Matrix::random(shape(rows, columns, 4, 32), ZeroKind::Whole, 8);
        check_integer(&empty, 2, ActivationScale::PerToken, ActivationBits::Eight);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let matrix = Matrix::random(shape(700, 600, 4, 64), ZeroKind::Whole, 10);
    let packed = matrix.pack();
    for tokens in [2, 40] {
        let input = normals(tokens * 600, 4);
        let of_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let activations = Activations::quantize(
                    &input,
                    tokens,
                    &matrix.shape,
                    ActivationScale::PerToken,
                    ActivationBits::Eight,
                );
                let mut found = vec![0.0; 2 * tokens * 700];
                let (integer, float) = found.split_at_mut(tokens * 700);
                multiply_integer(integer, &activations, &packed);
                multiply_float(float, &input, tokens, &packed);
                found
            })
        };
        assert!(of_threads(1) == of_threads(3));
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
fn float_products_of_few_tokens_equal_their_twin_and_of_many_are_near() {
    for bits in BITS {
        for (rows, columns, group) in [(1, 1, 0), (17, 33, 32), (33, 100, 48), (149, 1200, 0)] {
            let matrix = Matrix::random(shape(rows, columns, bits, group), ZeroKind::Whole, 5);
            for tokens in [1, 2, 3, 4, 5, 8, 9] {
                check_float(&matrix, tokens);
            }
        }
    }
}

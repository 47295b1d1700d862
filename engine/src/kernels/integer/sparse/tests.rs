//! Products of masked weights against their slow twin, at sizes around every edge.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::kernels::dispatch::same_on_every_instruction_set;
use crate::kernels::integer::{ActivationBits, ActivationScale, reference};
use crate::rng::Rng;

/// A matrix with random codes and mask.
struct Matrix {
    shape: PanelShape,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<f32>,
    keep: Vec<bool>,
}

impl Matrix {
    /// At most two of every four are kept; zeros are in the middle where `symmetric` or the bits leave no choice.
    fn random(shape: PanelShape, symmetric: bool, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let levels = 1u64 << shape.bits;
        let steps = shape.rows * shape.groups();
        let mut keep = vec![false; shape.rows * shape.columns];
        for row in keep.chunks_mut(shape.columns.max(1)) {
            for four in row.chunks_mut(4) {
                for _ in 0..2 {
                    let place = rng.below(4) as usize;
                    if let Some(keep) = four.get_mut(place) {
                        *keep = true;
                    }
                }
            }
        }
        Self {
            shape,
            codes: (0..keep.len()).map(|_| rng.below(levels) as u8).collect(),
            scales: (0..steps)
                .map(|_| half::f16::from_f64(0.01 + rng.normal().abs()).to_f32())
                .collect(),
            zeros: (0..steps)
                .map(|_| match symmetric || shape.bits == 8 {
                    true => (levels / 2) as f32,
                    false => rng.below(levels) as f32,
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

    /// The weight that a row and column stand for.
    fn weight(&self, row: usize, column: usize) -> f32 {
        let index = row * self.shape.columns + column;
        let group = row * self.shape.groups() + column / self.shape.group_columns();
        match self.keep[index] {
            true => self.scales[group] * (f32::from(self.codes[index]) - self.zeros[group]),
            false => 0.0,
        }
    }

    fn check(&self, input: &[f32], scale: ActivationScale, bits: ActivationBits) {
        let packed = SparsePanels::pack(&self.masked()).unwrap();
        let tokens = input.len() / self.shape.columns.max(1);
        let mut expected = vec![0.0; tokens * self.shape.rows];
        reference::multiply_masked(&mut expected, input, tokens, scale, bits, &self.masked());
        same_on_every_instruction_set(|| {
            let activations = Activations::quantize(input, tokens, &self.shape, scale, bits);
            let mut found = vec![f32::NAN; expected.len()];
            multiply_sparse(&mut found, &activations, &packed);
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

fn normals(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 2);
    (0..count).map(|_| rng.normal() as f32).collect()
}

fn shape(rows: usize, columns: usize, bits: u8, group: usize) -> PanelShape {
    PanelShape {
        rows,
        columns,
        bits,
        group,
    }
}

const BITS: [u8; 5] = [2, 3, 4, 6, 8];

#[test]
fn products_equal_their_twin_around_row_and_column_edges() {
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
            (19, 2600, 1200),
        ] {
            for symmetric in [true, false] {
                let matrix = Matrix::random(shape(rows, columns, bits, group), symmetric, 5);
                let input = normals(2 * columns, 3);
                matrix.check(&input, ActivationScale::PerToken, ActivationBits::Eight);
            }
        }
    }
}

#[test]
fn products_equal_their_twin_around_token_edges() {
    for bits in [4, 8] {
        let matrix = Matrix::random(shape(35, 96, bits, 64), false, 6);
        for tokens in (1..=14).chain([23, 24, 25, 37]) {
            let input = normals(tokens * 96, 3);
            matrix.check(&input, ActivationScale::PerToken, ActivationBits::Eight);
            matrix.check(&input, ActivationScale::PerBlock(32), ActivationBits::Seven);
        }
        let long = Matrix::random(shape(33, 2100, bits, 0), false, 7);
        for tokens in [1, 4, 5, 13, 260] {
            let input = normals(tokens * 2100, 3);
            let (block, fixed) = (ActivationScale::PerBlock(96), ActivationScale::Static(0.02));
            long.check(&input, block, ActivationBits::Eight);
            long.check(&input, fixed, ActivationBits::Seven);
        }
    }
}

#[test]
fn products_of_floats_are_near_those_of_the_weights() {
    for bits in BITS {
        for (rows, columns, group) in [(1, 1, 0), (17, 33, 32), (33, 100, 48), (149, 1200, 0)] {
            let matrix = Matrix::random(shape(rows, columns, bits, group), false, 5);
            let packed = SparsePanels::pack(&matrix.masked()).unwrap();
            for tokens in [1, 2, 8, 9] {
                let input = normals(tokens * columns, 3);
                let product = || {
                    let mut found = vec![f32::NAN; tokens * rows];
                    multiply_sparse_float(&mut found, &input, tokens, &packed);
                    found
                };
                let bound = 1e-5 * columns as f32 * f32::from(1u16 << bits);
                for (index, found) in product().into_iter().enumerate() {
                    let (token, row) = (index / rows, index % rows);
                    let input = &input[token * columns..(token + 1) * columns];
                    let terms = input.iter().enumerate();
                    let expected: f32 = terms
                        .map(|(column, x)| x * matrix.weight(row, column))
                        .sum();
                    assert!((found - expected).abs() <= bound, "{found} of {expected}");
                }
                if tokens <= 8 {
                    same_on_every_instruction_set(|| {
                        product().iter().map(|y| y.to_bits()).collect::<Vec<_>>()
                    });
                }
            }
        }
    }
}

/// Values and activations at the ends of their ranges: where 16-bit sums would saturate first.
#[test]
fn no_sum_saturates_at_the_extremes() {
    for bits in BITS {
        let largest = ((1u16 << bits) - 1) as u8;
        let zeros = match bits {
            8 => vec![128],
            _ => vec![0, largest],
        };
        for (code, zero) in zeros
            .into_iter()
            .flat_map(|zero| [(0, zero), (largest, zero)])
        {
            let shape = shape(17, 1056, bits, 1024);
            let matrix = Matrix {
                shape,
                codes: vec![code; 17 * 1056],
                scales: vec![0.37; 17 * 2],
                zeros: vec![f32::from(zero); 17 * 2],
                keep: [true, false, false, true].repeat(17 * 264),
            };
            for value in [1.0, -1.0] {
                let input = vec![value; 9 * 1056];
                for tokens in [1, 4, 9] {
                    for activation_bits in [ActivationBits::Eight, ActivationBits::Seven] {
                        let input = &input[..tokens * 1056];
                        matrix.check(input, ActivationScale::PerToken, activation_bits);
                        matrix.check(input, ActivationScale::Static(0.001), activation_bits);
                    }
                }
            }
        }
    }
}

#[test]
fn values_that_are_no_numbers_are_not_hidden() {
    let matrix = Matrix::random(shape(5, 70, 4, 32), false, 8);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut input = normals(2 * 70, 1);
        input[100] = bad;
        for scale in [ActivationScale::PerToken, ActivationScale::PerBlock(32)] {
            matrix.check(&input, scale, ActivationBits::Eight);
        }
    }
    for (rows, columns) in [(0, 40), (20, 0), (0, 0)] {
        let empty = Matrix::random(shape(rows, columns, 4, 32), false, 8);
        empty.check(&[], ActivationScale::PerToken, ActivationBits::Eight);
    }
}

#[test]
fn weights_come_back_as_they_were_packed() {
    for bits in BITS {
        for (rows, columns, group) in [(1, 1, 0), (17, 70, 32), (33, 200, 48), (5, 64, 0)] {
            let matrix = Matrix::random(shape(rows, columns, bits, group), false, 4);
            let packed = SparsePanels::pack(&matrix.masked()).unwrap();
            let mut output = vec![f32::NAN; columns];
            for row in 0..rows {
                packed.dequantize_row(row, &mut output);
                for (column, &found) in output.iter().enumerate() {
                    assert_eq!(found, matrix.weight(row, column), "({row}, {column})");
                }
            }
        }
    }
}

#[test]
fn eight_bits_take_five_and_four_take_three() {
    for (bits, taken) in [(8, 5), (4, 3)] {
        let matrix = Matrix::random(shape(32, 1024, bits, 0), true, 4);
        let packed = SparsePanels::pack(&matrix.masked()).unwrap();
        assert_eq!(packed.size_bytes(), 32 * 1024 * taken / 8 + 2 * 32);
    }
}

#[test]
fn what_panels_cannot_hold_is_refused() {
    let good = || Matrix::random(shape(16, 64, 8, 32), true, 4);
    assert!(SparsePanels::pack(&good().masked()).is_some());
    let mut crowded = good();
    crowded.keep[..3].fill(true);
    let mut fractional = good();
    fractional.zeros[3] = 127.5;
    let mut far = good();
    (far.zeros[0], far.codes[0], far.keep[0]) = (3.0, 255, true);
    let mut cut = good();
    cut.shape.group = 33;
    for (matrix, what) in [
        (crowded, "three of four"),
        (fractional, "zeros between codes"),
        (far, "codes far from their zero"),
        (cut, "a group that cuts a four"),
    ] {
        assert!(SparsePanels::pack(&matrix.masked()).is_none(), "{what}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let matrix = Matrix::random(shape(700, 600, 4, 64), false, 10);
    let packed = SparsePanels::pack(&matrix.masked()).unwrap();
    for tokens in [2, 40] {
        let input = normals(tokens * 600, 4);
        let of_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let (scale, bits) = (ActivationScale::PerToken, ActivationBits::Eight);
                let activations = Activations::quantize(&input, tokens, &matrix.shape, scale, bits);
                let mut found = vec![0.0; tokens * 700];
                multiply_sparse(&mut found, &activations, &packed);
                found
            })
        };
        assert!(of_threads(1) == of_threads(3));
    }
}

//! The slow twins: what integer and float products with packed weights mean, to the last bit.

use super::layout::{Columns, LONGEST_SEGMENT};
use super::{ActivationBits, ActivationScale, MaskedCodes, PanelShape};

/// Codes, scales and zeros as `Panels::pack` takes them.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    /// Their shape.
    pub shape: PanelShape,
    /// `[rows, columns]`.
    pub codes: &'a [u8],
    /// `[rows, groups]`.
    pub scales: &'a [f32],
    /// `[rows, groups]`.
    pub zeros: &'a [f32],
}

/// Twin of `multiply_integer` on activations that `Activations::quantize` makes: segments in order, and in each
/// `sum = fma(scale * step, fma(-zero, Σ activation, Σ code * activation), sum)`.
pub fn multiply_integer(
    output: &mut [f32],
    input: &[f32],
    tokens: usize,
    scale: ActivationScale,
    bits: ActivationBits,
    weights: Codes<'_>,
) {
    let shape = weights.shape;
    let cut = Columns::new(shape.columns, shape.group);
    let longest = match scale {
        ActivationScale::PerBlock(block) => block,
        _ => LONGEST_SEGMENT,
    };
    for token in 0..tokens {
        let input = &input[token * shape.columns..(token + 1) * shape.columns];
        for row in 0..shape.rows {
            let codes = &weights.codes[row * shape.columns..(row + 1) * shape.columns];
            let mut total = 0.0f32;
            for segment in cut.segments(longest) {
                let shared = match scale {
                    ActivationScale::PerBlock(_) => &input[segment.range()],
                    _ => input,
                };
                let step = step_of(shared, scale, bits);
                let (mut products, mut sum) = (0i32, 0i32);
                for column in segment.range() {
                    let activation = i32::from(code_of(input[column], step, bits));
                    products += i32::from(codes[column]) * activation;
                    sum += activation;
                }
                let group = row * shape.groups() + segment.group;
                let centred = (-weights.zeros[group]).mul_add(sum as f32, products as f32);
                total = (weights.scales[group] * step).mul_add(centred, total);
            }
            output[token * shape.rows + row] = total;
        }
    }
}

/// Twin of products with masked weights on activations that `Activations::quantize` makes: segments in order, and in
/// each `sum = fma(scale * step, Σ_kept (code - zero) * activation, sum)`; zeros are whole numbers.
pub fn multiply_masked(
    output: &mut [f32],
    input: &[f32],
    tokens: usize,
    scale: ActivationScale,
    bits: ActivationBits,
    weights: &MaskedCodes<'_>,
) {
    let shape = weights.shape;
    let cut = Columns::new(shape.columns, shape.group);
    let longest = match scale {
        ActivationScale::PerBlock(block) => block,
        _ => LONGEST_SEGMENT,
    };
    for token in 0..tokens {
        let input = &input[token * shape.columns..(token + 1) * shape.columns];
        for row in 0..shape.rows {
            let mut total = 0.0f32;
            for segment in cut.segments(longest) {
                let shared = match scale {
                    ActivationScale::PerBlock(_) => &input[segment.range()],
                    _ => input,
                };
                let step = step_of(shared, scale, bits);
                let group = row * shape.groups() + segment.group;
                let kept = segment
                    .range()
                    .filter(|column| weights.keep[row * shape.columns + column]);
                let sum: i32 = kept
                    .map(|column| {
                        let code = i32::from(weights.codes[row * shape.columns + column]);
                        let value = code - weights.zeros[group] as i32;
                        value * i32::from(code_of(input[column], step, bits))
                    })
                    .sum();
                total = (weights.scales[group] * step).mul_add(sum as f32, total);
            }
            output[token * shape.rows + row] = total;
        }
    }
}

/// Value of one step for values that share it.
fn step_of(values: &[f32], scale: ActivationScale, bits: ActivationBits) -> f32 {
    let largest = values.iter().fold(0.0f32, |largest, value| {
        if value.is_nan() || largest.is_nan() {
            f32::NAN
        } else {
            largest.max(value.abs())
        }
    });
    match scale {
        _ if !largest.is_finite() => f32::NAN,
        ActivationScale::Static(step) => step,
        _ => {
            largest
                / match bits {
                    ActivationBits::Eight => 127.0,
                    ActivationBits::Seven => 63.5,
                }
        }
    }
}

fn code_of(value: f32, step: f32, bits: ActivationBits) -> i8 {
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    let (low, high) = bits.range();
    let level = (value * inverse).round_ties_even();
    if level.is_nan() {
        low
    } else {
        level.clamp(f32::from(low), f32::from(high)) as i8
    }
}

/// Twin of `multiply_float` of few tokens: segments in order; in each, column `c` of every four is added to sum `c`,
/// and `total = fma(scale, fma(-zero, Σ input, Σ fma(code, input)), total)`.
pub fn multiply_float(output: &mut [f32], input: &[f32], tokens: usize, weights: Codes<'_>) {
    let shape = weights.shape;
    let cut = Columns::new(shape.columns, shape.group);
    for token in 0..tokens {
        let input = &input[token * shape.columns..(token + 1) * shape.columns];
        for row in 0..shape.rows {
            let codes = &weights.codes[row * shape.columns..(row + 1) * shape.columns];
            let mut total = 0.0f32;
            for segment in cut.segments(LONGEST_SEGMENT) {
                let (mut products, mut sums) = ([0.0f32; 4], [0.0f32; 4]);
                for (place, column) in segment.range().enumerate() {
                    let product = &mut products[place % 4];
                    *product = f32::from(codes[column]).mul_add(input[column], *product);
                    sums[place % 4] += input[column];
                }
                let pairs = |sums: [f32; 4]| (sums[0] + sums[1]) + (sums[2] + sums[3]);
                let index = row * shape.groups() + segment.group;
                let centred = (-weights.zeros[index]).mul_add(pairs(sums), pairs(products));
                total = weights.scales[index].mul_add(centred, total);
            }
            output[token * shape.rows + row] = total;
        }
    }
}

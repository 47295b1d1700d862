//! The slow twins: what each kernel means, in plain loops. Tests compare against these; nothing else should call them.

use super::{AttentionShape, Element, LevelShape, Operand};
use std::ops::Range;

/// Twin of `kernels::gemm`: `output = keep * output + scale * left * right`.
pub fn gemm<T: Element>(
    output: &mut [T],
    output_stride: usize,
    [m, n, k]: [usize; 3],
    (left, right): (Operand<'_, T>, Operand<'_, T>),
    (scale, keep): (T, T),
) {
    for row in 0..m {
        for column in 0..n {
            let mut sum = T::ZERO;
            for inner in 0..k {
                sum += left.at(row, inner) * right.at(inner, column);
            }
            let value = &mut output[row * output_stride + column];
            *value = keep * *value + scale * sum;
        }
    }
}

/// Twin of `kernels::syrk_f32`: the upper triangle of `rowsᵀ rows`.
pub fn syrk_f32(upper: &mut [f32], rows: &[f32], count: usize, width: usize) {
    for row in 0..width {
        for column in row..width {
            upper[row * width + column] = (0..count)
                .map(|token| rows[token * width + row] * rows[token * width + column])
                .sum();
        }
    }
}

/// Twin of `kernels::substitute_forward`: row `j` of `tile` minus `factor[j, i]` times row `i`, for `i < j` in order.
pub fn substitute_forward<T: Element>(tile: &mut [T], stride: usize, lanes: usize, factor: &[T]) {
    let count = tile.len() / stride;
    for row in 0..count {
        for lane in 0..lanes {
            for earlier in 0..row {
                let known = tile[earlier * stride + lane];
                tile[row * stride + lane] -= factor[row * count + earlier] * known;
            }
        }
    }
}

/// Twin of `kernels::substitute_backward`: solves `upper * x = tile` from the last row to the first.
pub fn substitute_backward<T: Element>(tile: &mut [T], stride: usize, lanes: usize, upper: &[T]) {
    let count = tile.len() / stride;
    for row in (0..count).rev() {
        for lane in 0..lanes {
            for later in row + 1..count {
                let known = tile[later * stride + lane];
                tile[row * stride + lane] -= upper[row * count + later] * known;
            }
            let pivot = upper[row * count + row];
            let value = &mut tile[row * stride + lane];
            *value = *value / pivot;
        }
    }
}

/// Twin of `kernels::attend` over f32 rows, in f64.
pub fn attend(
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    shape: &AttentionShape,
    seen: Range<usize>,
) -> Vec<f64> {
    let channels = shape.channels;
    let mut output = vec![0.0; queries.len()];
    for (head, (query, output)) in queries
        .chunks(channels)
        .zip(output.chunks_mut(channels))
        .enumerate()
    {
        let kv_head = head * shape.kv_heads / shape.heads;
        let row_at = |position| shape.row(kv_head, position) * channels;
        let score = |position| {
            let key = &keys[row_at(position)..][..channels];
            let dot: f64 = query
                .iter()
                .zip(key)
                .map(|(&q, &k)| f64::from(q) * f64::from(k))
                .sum();
            let score = dot * f64::from(shape.query_scale);
            match shape.softcap {
                Some(limit) => f64::from(limit) * (score / f64::from(limit)).tanh(),
                None => score,
            }
        };
        let scores: Vec<f64> = seen.clone().map(score).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - most).exp()).sum();
        for (score, position) in scores.iter().zip(seen.clone()) {
            let share = (score - most).exp() / total;
            let row = &values[row_at(position)..][..channels];
            for (output, &value) in output.iter_mut().zip(row) {
                *output += share * f64::from(value);
            }
        }
    }
    output
}

/// Twin of `kernels::matvec_f32`, columns in order.
pub fn matvec(output: &mut [f32], input: &[f32], tokens: usize, weights: &[f32]) {
    let columns = input.len() / tokens.max(1);
    for (index, output) in output.iter_mut().enumerate() {
        let rows = weights.len() / columns.max(1);
        let (token, row) = if columns == 0 {
            (0, 0)
        } else {
            (index / rows, index % rows)
        };
        *output = (0..columns)
            .map(|column| weights[row * columns + column] * input[token * columns + column])
            .sum();
    }
}

/// Twin of `kernels::multiply_levels`: every weight by itself, columns in order.
pub fn multiply_levels(
    output: &mut [f32],
    input: &[f32],
    tokens: usize,
    (shape, levels, codes, scales): (&LevelShape, &[f32; 16], &[u8], &[f32]),
) {
    for token in 0..tokens {
        for row in 0..shape.rows {
            let weight = |column| {
                let scale = scales[row * shape.blocks() + column / shape.block];
                scale * levels[usize::from(codes[row * shape.columns + column])]
            };
            output[token * shape.rows + row] = (0..shape.columns)
                .map(|column| weight(column) * input[token * shape.columns + column])
                .sum();
        }
    }
}

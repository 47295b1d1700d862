//! The slow twins: what each kernel means, in plain loops. Tests compare against these; nothing else should call them.

use super::{Element, Operand};

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

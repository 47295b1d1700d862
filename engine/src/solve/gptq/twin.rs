//! The slow twin: GPTQ as the paper writes it, in f64 and plain loops, with the Cholesky factor of the inverse.
//!
//! Columns come in the order stored. Group steps come from the columns as they stand when the group begins.

use crate::grid::{GridConfig, Step};
use crate::mask::{self, Among, SparsityPattern, kept_count};
use crate::solve::{MaskConfig, fit_step};
use crate::tensor::{Matrix, Symmetric};

/// A square matrix, row-major.
type Square = Vec<f64>;

/// `gram + ridge` in full.
pub(super) fn damped(gram: &Symmetric, ridge: f64) -> Square {
    let order = gram.order();
    let mut full: Square = gram
        .to_matrix()
        .data()
        .iter()
        .map(|&value| f64::from(value))
        .collect();
    for row in 0..order {
        full[row * order + row] += ridge;
    }
    full
}

/// `U` upper with `inverse = UᵀU`, where `inverse` is that of `matrix`.
pub(super) fn inverse_cholesky(matrix: &Square, order: usize) -> Square {
    let inverse = inverse(matrix, order);
    let mut upper = vec![0.0; order * order];
    for row in 0..order {
        for column in row..order {
            let known: f64 = (0..row)
                .map(|above| upper[above * order + row] * upper[above * order + column])
                .sum();
            let rest = inverse[row * order + column] - known;
            upper[row * order + column] = if row == column {
                rest.sqrt()
            } else {
                rest / upper[row * order + row]
            };
        }
    }
    upper
}

/// Gauss and Jordan; the matrix is positive definite, so pivots need no search.
fn inverse(matrix: &Square, order: usize) -> Square {
    let mut left = matrix.clone();
    let mut right = vec![0.0; order * order];
    for row in 0..order {
        right[row * order + row] = 1.0;
    }
    for pivot in 0..order {
        let scale = 1.0 / left[pivot * order + pivot];
        for column in 0..order {
            left[pivot * order + column] *= scale;
            right[pivot * order + column] *= scale;
        }
        for row in (0..order).filter(|&row| row != pivot) {
            let factor = left[row * order + pivot];
            for column in 0..order {
                left[row * order + column] -= factor * left[pivot * order + column];
                right[row * order + column] -= factor * right[pivot * order + column];
            }
        }
    }
    right
}

/// What the recursion does with one column of one row: the step to use and, to follow somebody else's way, their code.
pub(super) struct Followed {
    pub(super) step: Step,
    pub(super) code: u8,
}

/// What the twin found.
pub(super) struct Found {
    pub(super) codes: Vec<u8>,
    pub(super) loss: f64,
}

/// Runs the recursion. With `follow`, each column's code is found from the followed codes of earlier columns and the
/// followed steps; without, everything is the twin's own.
pub(super) fn gptq(
    weights: &Matrix,
    upper: &Square,
    importance: &[f32],
    (grid, clip_search): (GridConfig, u32),
    follow: Option<&dyn Fn(usize, usize) -> Followed>,
) -> Found {
    let (rows, columns) = (weights.rows(), weights.columns());
    let max_code = f64::from(grid.max_code());
    let groups = grid.groups(columns);
    let mut codes = Vec::with_capacity(rows * columns);
    let mut loss = 0.0;
    for row in 0..rows {
        let mut line: Vec<f64> = weights.row(row).iter().map(|&one| f64::from(one)).collect();
        let mut step = Step {
            scale: 1.0,
            zero: 0.0,
        };
        for column in 0..columns {
            let range = groups.range(groups.of(column));
            if range.start == column && follow.is_none() {
                let now: Vec<f32> = line[range.clone()].iter().map(|&one| one as f32).collect();
                step = fit_step(&now, Some(&importance[range]), grid, clip_search);
            }
            let followed = follow.map(|follow| follow(row, column));
            let step = followed.as_ref().map_or(step, |followed| followed.step);
            let (scale, zero) = (f64::from(step.scale), f64::from(step.zero));
            let code = (line[column] / scale + zero)
                .round_ties_even()
                .clamp(0.0, max_code);
            codes.push(code as u8);
            let used = followed.map_or(code, |followed| f64::from(followed.code));
            let pivot = upper[column * columns + column];
            let error = (line[column] - scale * (used - zero)) / pivot;
            loss += 0.5 * error * error;
            for later in column..columns {
                line[later] -= error * upper[column * columns + later];
            }
        }
    }
    Found { codes, loss }
}

/// What the pruning twin found.
pub(super) struct Pruned {
    pub(super) keep: Vec<bool>,
    pub(super) loss: f64,
}

/// SparseGPT as the paper writes it, nothing rounded: a span of columns (or N of M of them) is chosen among when its first
/// is reached, by `w² / U_jj²` of the weights as they then are.
pub(super) fn sparse_gpt(weights: &Matrix, upper: &Square, asked: MaskConfig) -> Pruned {
    let (rows, columns) = (weights.rows(), weights.columns());
    let mut now: Vec<f64> = weights.data().iter().map(|&one| f64::from(one)).collect();
    let mut keep = vec![false; rows * columns];
    let mut loss = 0.0;
    for column in 0..columns {
        choose(&now, upper, columns, column, asked, &mut keep);
        let pivot = upper[column * columns + column];
        for row in 0..rows {
            let at = row * columns + column;
            if keep[at] {
                continue;
            }
            let error = now[at] / pivot;
            loss += 0.5 * error * error;
            for later in column..columns {
                now[row * columns + later] -= error * upper[column * columns + later];
            }
        }
    }
    Pruned { keep, loss }
}

/// Makes the choice that `column` begins, if it begins one.
fn choose(
    now: &[f64],
    upper: &Square,
    columns: usize,
    column: usize,
    asked: MaskConfig,
    keep: &mut [bool],
) {
    let (unit, span) = match (asked.pattern, asked.among) {
        (SparsityPattern::NOfM { of, .. }, _) => (1, usize::from(of)),
        (pattern, Among::Span(span) | Among::RowSpan(span)) => (
            if pattern == SparsityPattern::BLOCK {
                4
            } else {
                1
            },
            span,
        ),
        _ => panic!("the twin chooses span by span"),
    };
    if !column.is_multiple_of(span) {
        return;
    }
    let end = (column + span).min(columns);
    let units = (end - column).div_ceil(unit);
    let rows = now.len() / columns;
    let score = |row: usize, block: usize| -> f32 {
        let first = column + block * unit;
        let worths = (first..(first + unit).min(end)).map(|one| {
            let worth = now[row * columns + one] / upper[one * columns + one];
            worth * worth
        });
        worths.sum::<f64>() as f32
    };
    let scores: Vec<f32> = (0..rows)
        .flat_map(|row| (0..units).map(move |block| (row, block)))
        .map(|(row, block)| score(row, block))
        .collect();
    let mut chosen = vec![false; scores.len()];
    match (asked.pattern, asked.among) {
        (SparsityPattern::NOfM { kept, .. }, _) => {
            for (scores, chosen) in scores.chunks(units).zip(chosen.chunks_mut(units)) {
                mask::keep_largest(scores, usize::from(kept), chosen);
            }
        }
        (_, Among::Span(_)) => {
            let count = kept_count(scores.len(), asked.sparsity);
            mask::keep_largest(&scores, count, &mut chosen);
        }
        _ => {
            for (scores, chosen) in scores.chunks(units).zip(chosen.chunks_mut(units)) {
                mask::keep_largest(scores, kept_count(units, asked.sparsity), chosen);
            }
        }
    }
    for (row, chosen) in chosen.chunks(units).enumerate() {
        for one in column..end {
            keep[row * columns + one] = chosen[(one - column) / unit];
        }
    }
}

//! Laws of polishing: every round lowers the error, and in the end no single change lowers it further.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::ScaleDtype;
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::solve::{RtnConfig, rtn};

fn grid(bits: u8, group: usize) -> GridConfig {
    GridConfig {
        bits,
        group,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    }
}

fn normal_matrix(rows: usize, columns: usize, stream: u64) -> Matrix {
    let mut rng = Rng::new(61, stream);
    Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32)
}

/// A Gram matrix of inputs that lean on their neighbours; input `dead` is never seen.
fn gram(width: usize, dead: Option<usize>) -> Symmetric {
    let mut rng = Rng::new(62, 0);
    let mut sums = vec![0.0f64; width * width];
    for _ in 0..3 * width {
        let mut inputs: Vec<f64> = (0..width).map(|_| rng.normal()).collect();
        for column in 1..width {
            inputs[column] += 0.8 * inputs[column - 1];
        }
        if let Some(dead) = dead {
            inputs[dead] = 0.0;
        }
        for row in 0..width {
            for column in 0..width {
                sums[row * width + column] += inputs[row] * inputs[column];
            }
        }
    }
    let upper = (0..width).flat_map(|row| {
        sums[row * width + row..(row + 1) * width]
            .iter()
            .map(|sum| (sum / (3 * width) as f64) as f32)
    });
    Symmetric::new(width, upper.collect())
}

/// `tr((T - Q)(H + ridge)(T - Q)ᵀ)` by the definition, in f64.
fn slow_error(target: &Matrix, solved: &Solved, gram: &Symmetric, ridge: f64) -> f64 {
    let found = solved.dequantize();
    let mut error = 0.0;
    for row in 0..target.rows() {
        let pairs = target.row(row).iter().zip(found.row(row));
        let change: Vec<f64> = pairs.map(|(&t, &q)| f64::from(t) - f64::from(q)).collect();
        for (i, left) in change.iter().enumerate() {
            for (j, right) in change.iter().enumerate() {
                let ridge = if i == j { ridge } else { 0.0 };
                error += left * right * (f64::from(gram.at(i, j)) + ridge);
            }
        }
    }
    error
}

fn rounded(target: &Matrix, config: GridConfig) -> Solved {
    let config = RtnConfig {
        grid: config,
        clip_search: 0,
    };
    rtn(target, None, &config, &Unwatched).unwrap()
}

#[test]
fn every_round_lowers_the_error() {
    for (rows, columns, group) in [(3, 20, 8), (70, 150, 64), (5, 70, 0)] {
        let (target, gram) = (normal_matrix(rows, columns, 0), gram(columns, None));
        let start = rounded(&target, grid(3, group));
        let mut last = slow_error(&target, &start, &gram, 0.01);
        let first = last;
        for rounds in 1..4 {
            let polished = polish(start.clone(), &target, &gram, 0.01, rounds, &Unwatched).unwrap();
            let error = slow_error(&target, &polished, &gram, 0.01);
            assert!(
                error <= last * 1.0001,
                "round {rounds}: {last} became {error}"
            );
            last = error;
        }
        assert!(
            last < 0.7 * first,
            "{rows} x {columns}: {first} became {last}"
        );
    }
}

#[test]
fn in_the_end_no_single_code_can_do_better() {
    let (target, gram) = (normal_matrix(4, 30, 1), gram(30, None));
    let solved = polish(
        rounded(&target, grid(3, 8)),
        &target,
        &gram,
        0.0,
        50,
        &Unwatched,
    );
    let solved = solved.unwrap();
    let least = slow_error(&target, &solved, &gram, 0.0);
    for index in 0..solved.codes.values.len() {
        for other in 0..8 {
            let mut changed = solved.clone();
            changed.codes.values[index] = other;
            let error = slow_error(&target, &changed, &gram, 0.0);
            assert!(
                error >= least * (1.0 - 1e-5),
                "code {index} to {other}: {least} became {error}"
            );
        }
    }
}

#[test]
fn a_refitted_scale_is_the_best_of_all_scales() {
    let config = GridConfig {
        scale_dtype: ScaleDtype::F32,
        ..grid(3, 0)
    };
    // Error of scale s: 5 (s - 2)², so at s = 1: pull 5, stiffness 5.
    assert_eq!(scale_change(config, 1.0, 5.0, 5.0), 1.0);
    assert_eq!(scale_change(config, 1.0, -5.0, 5.0), 0.0, "0 is no scale");
    assert_eq!(scale_change(config, 1.0, 5.0, 0.0), 0.0);
    assert_eq!(scale_change(config, 1.0, f64::NAN, 1.0), 0.0);
}

#[test]
fn scales_stay_snapped_and_dead_inputs_keep_their_codes() {
    let (target, gram) = (normal_matrix(9, 40, 2), gram(40, Some(13)));
    let start = rounded(&target, grid(2, 16));
    let polished = polish(start.clone(), &target, &gram, 0.02, 3, &Unwatched).unwrap();
    let Grid::Affine(affine) = &polished.grid else {
        panic!("still affine");
    };
    for &scale in &affine.scales {
        assert_eq!(ScaleDtype::F16.snap_scale(scale), scale);
    }
    for row in 0..9 {
        assert_eq!(polished.codes.row(row)[13], start.codes.row(row)[13]);
    }
    assert!(polished.codes.values.iter().all(|&code| code <= 3));
}

#[test]
fn the_thread_count_changes_nothing_and_empty_layers_pass() {
    let (target, gram) = (normal_matrix(150, 70, 3), gram(70, None));
    let solve = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let start = rounded(&target, grid(3, 32));
        let pool = pool.build().unwrap();
        pool.install(|| polish(start, &target, &gram, 0.01, 2, &Unwatched).unwrap())
    };
    assert_eq!(solve(1), solve(3));
    let empty = Matrix::zeros(0, 70);
    let start = rounded(&empty, grid(3, 32));
    assert_eq!(
        polish(start.clone(), &empty, &gram, 0.01, 2, &Unwatched).unwrap(),
        start
    );
}

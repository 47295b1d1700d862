//! Laws of refinement: outputs come closer on tokens that were never seen, and plain GPTQ stays where nothing does better.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::{GridConfig, ScaleDtype};
use crate::moments::{HeldOut, Moments};
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::settings::ColumnOrder;

const WIDTH: usize = 48;

/// Inputs of the original network, and those inputs as a compressed prefix would distort them.
fn inputs(tokens: usize, stream: u64) -> (Matrix, Matrix) {
    let mut rng = Rng::new(71, stream);
    let mut original = Matrix::from_fn(tokens, WIDTH, |_, _| rng.normal() as f32);
    for token in 0..tokens {
        let row = original.row_mut(token);
        for column in 1..WIDTH {
            row[column] = 0.6 * row[column] + 0.8 * row[column - 1];
        }
    }
    let mut seen = original.clone();
    for value in seen.data_mut() {
        *value = 0.9 * *value + 0.1 * rng.normal() as f32;
    }
    (original, seen)
}

/// Mean of `left rightᵀ` over tokens.
fn mean_product(left: &Matrix, right: &Matrix) -> Matrix {
    Matrix::from_fn(WIDTH, WIDTH, |row, column| {
        let tokens = 0..left.rows();
        let sum: f64 = tokens
            .map(|token| f64::from(left.row(token)[row]) * f64::from(right.row(token)[column]))
            .sum();
        (sum / left.rows() as f64) as f32
    })
}

fn gram_of(seen: &Matrix) -> Symmetric {
    let full = mean_product(seen, seen);
    let rows = (0..WIDTH).flat_map(|row| full.row(row)[row..].to_vec());
    Symmetric::new(WIDTH, rows.collect())
}

fn statistics(with_cross: bool) -> LayerStatistics {
    let (original, seen) = inputs(600, 0);
    let (held_original, held_seen) = inputs(300, 1);
    let gram = gram_of(&seen);
    LayerStatistics {
        cross: with_cross.then(|| mean_product(&original, &seen)),
        held_out: Some(HeldOut {
            count: 300,
            gram: gram_of(&held_seen),
            cross: with_cross.then(|| mean_product(&held_original, &held_seen)),
            abs_max: vec![4.0; WIDTH],
        }),
        moments: Moments {
            count: 600,
            mean_square: gram.diagonal(),
            mean_abs: vec![1.0; WIDTH],
            abs_max: vec![4.0; WIDTH],
            gram,
        },
    }
}

fn weights() -> Matrix {
    let mut rng = Rng::new(72, 0);
    Matrix::from_fn(24, WIDTH, |_, _| rng.normal() as f32)
}

fn config(bits: u8) -> GptqConfig {
    GptqConfig {
        grid: GridConfig {
            bits,
            group: 16,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        },
        clip_search: 20,
        order: ColumnOrder::Static,
        damping: 0.01,
        block: 128,
    }
}

/// `||W oᵀ - Q xᵀ||²` over new tokens.
fn output_error(weights: &Matrix, solved: &Solved) -> f64 {
    let (original, seen) = inputs(400, 2);
    let found = solved.dequantize();
    let mut error = 0.0;
    for token in 0..original.rows() {
        for row in 0..weights.rows() {
            let wanted = weights.row(row).iter().zip(original.row(token));
            let given = found.row(row).iter().zip(seen.row(token));
            let wanted: f64 = wanted.map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
            let given: f64 = given.map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
            error += (wanted - given).powi(2);
        }
    }
    error
}

const THREE_ROUNDS: RefineConfig = RefineConfig { rounds: 3 };

#[test]
fn refinement_brings_outputs_closer_on_tokens_never_seen() {
    let weights = weights();
    for (bits, with_cross, share) in [
        (2, true, 0.95),
        (3, true, 0.95),
        (4, true, 0.95),
        (2, false, 0.98),
    ] {
        let statistics = statistics(with_cross);
        let refined = gptq_refined(
            &weights,
            &statistics,
            &config(bits),
            &THREE_ROUNDS,
            &Factors::default(),
            &Unwatched,
        );
        let refined = refined.unwrap();
        assert_eq!(refined.warnings, []);
        let plain = gptq::gptq(&weights, &statistics.moments, &config(bits), &Unwatched);
        let plain = output_error(&weights, &plain.unwrap());
        let refined = output_error(&weights, &refined);
        assert!(
            refined < share * plain,
            "{bits} bits, cross {with_cross}: plain {plain}, refined {refined}"
        );
    }
}

#[test]
fn the_judge_measures_real_outputs() {
    let (weights, mut statistics) = (weights(), statistics(true));
    let (original, seen) = inputs(400, 2);
    statistics.held_out = Some(HeldOut {
        count: 400,
        gram: gram_of(&seen),
        cross: Some(mean_product(&original, &seen)),
        abs_max: vec![4.0; WIDTH],
    });
    let judge = Judge::new(&weights, &statistics);
    let solve =
        |bits| gptq::gptq(&weights, &statistics.moments, &config(bits), &Unwatched).unwrap();
    let (coarse, fine) = (solve(2), solve(4));
    let judged = |solved: &Solved| judge.error(&minus(solved.dequantize(), &weights));
    let found = 400.0 * (judged(&coarse) - judged(&fine));
    let expected = output_error(&weights, &coarse) - output_error(&weights, &fine);
    assert!(
        (found - expected).abs() < 1e-3 * expected.abs(),
        "expected {expected}, found {found}"
    );
}

#[test]
fn the_corrected_target_solves_its_equation() {
    let (weights, mut statistics) = (weights(), statistics(true));
    // Judged by the calibration rows, the full change is best, up to the ridge.
    statistics.held_out = None;
    let judge = Judge::new(&weights, &statistics);
    let target = corrected_target(&weights, &statistics, 0.0, &judge, &Unwatched);
    let target = target.unwrap().unwrap();
    let (gram, cross) = (
        statistics.moments.gram.to_matrix(),
        statistics.cross.clone().unwrap(),
    );
    for row in 0..weights.rows() {
        for column in 0..WIDTH {
            let along = |left: &Matrix, right: &Matrix| -> f64 {
                (0..WIDTH)
                    .map(|j| f64::from(left.row(row)[j]) * f64::from(right.row(j)[column]))
                    .sum()
            };
            let (found, expected) = (along(&target, &gram), along(&weights, &cross));
            assert!(
                (found - expected).abs() < 1e-3,
                "row {row}, column {column}: expected {expected}, found {found}"
            );
        }
    }
}

#[test]
fn what_is_no_better_is_rejected_and_plain_gptq_stays() {
    let (weights, statistics) = (weights(), statistics(false));
    let nothing = RefineConfig { rounds: 0 };
    let solved = gptq_refined(
        &weights,
        &statistics,
        &config(3),
        &nothing,
        &Factors::default(),
        &Unwatched,
    )
    .unwrap();
    let plain = gptq::gptq(&weights, &statistics.moments, &config(3), &Unwatched).unwrap();
    assert_eq!(solved.warnings, [Warning::RefinementRejected]);
    assert_eq!((solved.codes, solved.grid), (plain.codes, plain.grid));
}

#[test]
fn statistics_of_another_width_are_an_error() {
    let mut statistics = statistics(true);
    statistics.cross = Some(Matrix::zeros(5, 5));
    let solved = gptq_refined(
        &weights(),
        &statistics,
        &config(3),
        &THREE_ROUNDS,
        &Factors::default(),
        &Unwatched,
    );
    assert_eq!(
        solved.unwrap_err(),
        SolveError::Shape {
            what: "the mixed Gram matrix",
            expected: WIDTH,
            found: 5
        }
    );
}

#[test]
fn dead_inputs_stay_finite() {
    let mut statistics = statistics(true);
    let clear = |matrix: &mut Matrix| {
        for row in 0..WIDTH {
            matrix.row_mut(row)[7] = 0.0;
            matrix.row_mut(row)[20] = 0.0;
        }
        matrix.row_mut(7).fill(0.0);
        matrix.row_mut(20).fill(0.0);
    };
    let mut gram = statistics.moments.gram.to_matrix();
    clear(&mut gram);
    clear(statistics.cross.as_mut().unwrap());
    let rows = (0..WIDTH).flat_map(|row| gram.row(row)[row..].to_vec());
    statistics.moments.gram = Symmetric::new(WIDTH, rows.collect());
    statistics.moments.mean_square = statistics.moments.gram.diagonal();
    let solved = gptq_refined(
        &weights(),
        &statistics,
        &config(3),
        &THREE_ROUNDS,
        &Factors::default(),
        &Unwatched,
    )
    .unwrap();
    assert!(
        solved
            .dequantize()
            .data()
            .iter()
            .all(|value| value.is_finite())
    );
}

//! GPTQ against its slow twin, and the laws that bind it.
#![allow(clippy::unwrap_used)]

use super::twin;
use super::*;
use crate::grid::ScaleDtype;
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::solve::fit_step;
use crate::tensor::Symmetric;
use proptest::prelude::*;

pub(super) const ORDERS: [ColumnOrder; 3] =
    [ColumnOrder::None, ColumnOrder::Static, ColumnOrder::Gar];

pub(super) fn config(bits: u8, group: usize, order: ColumnOrder) -> GptqConfig {
    GptqConfig {
        grid: GridConfig {
            bits,
            group,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        },
        clip_search: 20,
        order,
        damping: 0.01,
        block: DEFAULT_BLOCK,
    }
}

pub(super) fn random_weights(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut rng = Rng::new(seed, 1);
    Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32 * 0.1)
}

pub(super) fn moments_of(gram: Symmetric) -> Moments {
    let mean_square = gram.diagonal();
    let abs: Vec<f32> = mean_square.iter().map(|square| square.sqrt()).collect();
    Moments {
        count: 1000,
        mean_square,
        mean_abs: abs.clone(),
        abs_max: abs,
        gram,
    }
}

/// Moments of inputs that share a few directions, as real ones do, and differ in size.
pub(super) fn random_moments(width: usize, seed: u64) -> Moments {
    let tokens = 2 * width + 8;
    let mut rng = Rng::new(seed, 2);
    let mut inputs = vec![0.0f32; tokens * width];
    let sizes: Vec<f64> = (0..width).map(|_| (0.7 * rng.normal()).exp()).collect();
    for token in inputs.chunks_exact_mut(width) {
        let common = rng.normal();
        for (value, size) in token.iter_mut().zip(&sizes) {
            *value = (size * (rng.normal() + common)) as f32;
        }
    }
    let mut upper = Vec::with_capacity(Symmetric::stored_len(width));
    for row in 0..width {
        for column in row..width {
            let lines = inputs.chunks_exact(width);
            let sum: f64 = lines
                .map(|line| f64::from(line[row]) * f64::from(line[column]))
                .sum();
            upper.push((sum / tokens as f64) as f32);
        }
    }
    moments_of(Symmetric::new(width, upper))
}

fn solve(weights: &Matrix, moments: &Moments, config: &GptqConfig) -> Solved {
    gptq(weights, moments, config, &Unwatched).unwrap()
}

fn affine(solved: &Solved) -> &AffineGrid {
    match &solved.grid {
        Grid::Affine(grid) => grid,
        _ => panic!("GPTQ gives affine grids"),
    }
}

pub(super) fn mean_diagonal(moments: &Moments) -> f64 {
    let sum: f64 = moments
        .gram
        .diagonal()
        .iter()
        .map(|&one| f64::from(one))
        .sum();
    sum / moments.width() as f64
}

#[test]
fn agrees_with_the_slow_twin() {
    for (rows, columns, group, bits) in [(64, 96, 32, 4), (70, 80, 24, 3), (64, 72, 0, 2)] {
        let weights = random_weights(rows, columns, 3);
        let moments = random_moments(columns, 4);
        let config = config(bits, group, ColumnOrder::None);
        let solved = solve(&weights, &moments, &config);
        let ridge = config.damping * mean_diagonal(&moments);
        let upper = twin::inverse_cholesky(&twin::damped(&moments.gram, ridge), columns);
        let search = (config.grid, config.clip_search);
        let found = twin::gptq(&weights, &upper, &moments.mean_square, search, None);
        let ratio = solved.loss.unwrap() / found.loss;
        assert!(
            ratio <= 1.001,
            "group {group}, {bits} bits: loss ratio {ratio}"
        );
    }
}

#[test]
fn codes_equal_the_twins_where_earlier_codes_are_equal() {
    let (rows, columns) = (1100, 48);
    let weights = random_weights(rows, columns, 5);
    let moments = random_moments(columns, 6);
    let config = config(3, 16, ColumnOrder::None);
    let solved = solve(&weights, &moments, &config);
    let ridge = config.damping * mean_diagonal(&moments);
    let upper = twin::inverse_cholesky(&twin::damped(&moments.gram, ridge), columns);
    let grid = affine(&solved);
    let follow = |row: usize, column: usize| twin::Followed {
        step: grid.step(row, column / 16),
        code: solved.codes.row(row)[column],
    };
    let search = (config.grid, config.clip_search);
    let found = twin::gptq(
        &weights,
        &upper,
        &moments.mean_square,
        search,
        Some(&follow),
    );
    for column in 0..columns {
        let equal = (0..rows)
            .filter(|row| found.codes[row * columns + column] == solved.codes.row(*row)[column])
            .count();
        assert!(
            equal as f64 >= 0.999 * rows as f64,
            "column {column}: {equal} of {rows} codes are equal"
        );
    }
}

/// Law 2, where arithmetic is exact: whole-number factors, weights in quarters, scale 1.
#[test]
fn block_size_changes_nothing_where_numbers_are_exact() {
    let (rows, columns) = (70, 90);
    // `R` upper with 1 on the diagonal; the diagonal of `R Rᵀ` falls, so that all orders agree on the way.
    let factor = |row: usize, column: usize| match (row, column) {
        (row, column) if row == column => 1.0,
        (row, column) if row < column => [1.0, -1.0][(row * 5 + column * 3) % 7 % 2],
        _ => 0.0,
    };
    let mut upper = Vec::new();
    for row in 0..columns {
        for column in row..columns {
            let products = (0..columns).map(|inner| factor(row, inner) * factor(column, inner));
            upper.push(products.sum::<f32>());
        }
    }
    let moments = moments_of(Symmetric::new(columns, upper));
    let weights = Matrix::from_fn(rows, columns, |row, column| match column {
        0 => -7.0,
        1 => 8.0,
        _ => ((row * 31 + column * 17) % 60) as f32 / 4.0 - 7.0,
    });
    for order in ORDERS {
        let solved_with = |block| {
            let mut config = config(4, 0, order);
            (config.damping, config.clip_search, config.block) = (0.0, 0, block);
            solve(&weights, &moments, &config)
        };
        let expected = solved_with(1);
        for block in [2, 7, 32, 64, 89, 90, 1000] {
            assert!(solved_with(block) == expected, "{order:?}, block {block}");
        }
    }
}

/// Law 2, on real numbers.
#[test]
fn block_size_hardly_moves_the_loss() {
    let weights = random_weights(40, 150, 7);
    let moments = random_moments(150, 8);
    for order in ORDERS {
        for group in [0, 16, 40] {
            let loss_with = |block| {
                let mut config = config(4, group, order);
                config.block = block;
                solve(&weights, &moments, &config).loss.unwrap()
            };
            let expected = loss_with(128);
            for block in [1, 16, 48, 150] {
                let ratio = loss_with(block) / expected;
                assert!(
                    (ratio - 1.0).abs() < 1e-6,
                    "{order:?}, group {group}, block {block}: ratio {ratio}"
                );
            }
        }
    }
}

/// Law 3: inputs that are all alike leave plain rounding.
#[test]
fn scaled_identity_moments_give_plain_rounding() {
    let weights = random_weights(67, 50, 9);
    let moments = moments_of(Symmetric::scaled_identity(50, 3.7));
    for order in ORDERS {
        for (group, bits) in [(0, 2), (16, 4), (1, 8)] {
            let config = config(bits, group, order);
            let solved = solve(&weights, &moments, &config);
            let groups = config.grid.groups(50);
            for row in 0..67 {
                for column in 0..50 {
                    let group = groups.of(column);
                    let range = groups.range(group);
                    let importance = Some(&moments.mean_square[range.clone()]);
                    let step = fit_step(&weights.row(row)[range], importance, config.grid, 20);
                    let max_code = f32::from(config.grid.max_code());
                    let code = step.code(weights.row(row)[column], max_code);
                    assert_eq!(
                        affine(&solved).step(row, group),
                        step,
                        "{order:?} {row} {column}"
                    );
                    assert_eq!(f32::from(solved.codes.row(row)[column]), code);
                }
            }
        }
    }
}

/// Law 6: degenerate layers stay finite.
#[test]
fn degenerate_layers_stay_finite() {
    let mut gram = random_moments(37, 10).gram.to_matrix();
    for dead in [0, 5, 36] {
        for other in 0..37 {
            gram.data_mut()[dead * 37 + other] = 0.0;
            gram.data_mut()[other * 37 + dead] = 0.0;
        }
    }
    let upper = (0..37)
        .flat_map(|row| gram.row(row)[row..].to_vec())
        .collect();
    let moments = moments_of(Symmetric::new(37, upper));
    let mut weights = random_weights(9, 37, 11);
    weights.row_mut(2).fill(0.0);
    weights.row_mut(3).fill(0.25);
    weights.row_mut(4).fill(-3.0e30);
    weights.row_mut(5).fill(1.0e-40);
    for order in ORDERS {
        for group in [0, 1, 8, 64] {
            for bits in 2..=8 {
                let mut config = config(bits, group, order);
                config.grid.symmetric = bits % 2 == 0;
                config.grid.scale_dtype = ScaleDtype::F32;
                let solved = solve(&weights, &moments, &config);
                let all = solved.dequantize();
                assert!(all.data().iter().all(|value| value.is_finite()));
                assert!(all.row(2).iter().all(|&value| value == 0.0));
                assert!(
                    (0..9).all(|row| all.row(row)[5] == 0.0),
                    "dead inputs weigh 0"
                );
                assert!(solved.warnings.contains(&Warning::DeadInputs { count: 3 }));
            }
        }
    }
}

#[test]
fn one_column_one_row_and_nothing_are_solved() {
    let config = config(4, 128, ColumnOrder::Static);
    for (rows, columns) in [(1, 1), (5, 1), (1, 5), (0, 3), (3, 0)] {
        let moments = moments_of(Symmetric::scaled_identity(columns, 1.0));
        let solved = solve(&random_weights(rows, columns, 12), &moments, &config);
        assert_eq!(solved.codes.values.len(), rows * columns);
    }
    let moments = moments_of(Symmetric::scaled_identity(3, 0.0));
    let solved = solve(&random_weights(2, 3, 12), &moments, &config);
    assert!(solved.dequantize().data().iter().all(|&value| value == 0.0));
}

/// Law 9: the same bytes at any thread count.
#[test]
fn thread_count_changes_nothing() {
    let weights = random_weights(300, 140, 13);
    let moments = random_moments(140, 14);
    for order in ORDERS {
        let solved_on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap()
                .install(|| solve(&weights, &moments, &config(4, 32, order)))
        };
        assert!(solved_on(1) == solved_on(2), "{order:?}");
    }
}

/// Law 11: half the summed squared errors is half `tr(dW (H + ridge) dWᵀ)`.
fn check_loss(rows: usize, columns: usize, config: &GptqConfig, seed: u64) {
    let weights = random_weights(rows, columns, seed);
    let moments = random_moments(columns, seed + 1);
    let solved = solve(&weights, &moments, config);
    check_identity(&weights, &moments, config, &solved);
}

/// That the loss is what the weights have moved.
pub(super) fn check_identity(
    weights: &Matrix,
    moments: &Moments,
    config: &GptqConfig,
    solved: &Solved,
) {
    let (rows, columns) = (weights.rows(), weights.columns());
    let ridge = config.damping * mean_diagonal(moments);
    let damped = twin::damped(&moments.gram, ridge);
    let rounded = solved.dequantize();
    let mut expected = 0.0;
    for row in 0..rows {
        let change: Vec<f64> = (0..columns)
            .map(|column| f64::from(weights.row(row)[column]) - f64::from(rounded.row(row)[column]))
            .collect();
        for (left, line) in change.iter().zip(damped.chunks_exact(columns)) {
            let dot: f64 = line
                .iter()
                .zip(&change)
                .map(|(gram, right)| gram * right)
                .sum();
            expected += 0.5 * left * dot;
        }
    }
    let found = solved.loss.unwrap();
    // With a scale for each weight, errors come near the rounding of f32 itself, and their sums agree in fewer digits.
    let tolerance = if config.grid.group == 1 { 1e-3 } else { 1e-4 };
    assert!(
        (found - expected).abs() <= tolerance * expected,
        "{config:?}: loss {found}, expected {expected}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn loss_is_the_damped_output_error(
        rows in 1usize..20,
        columns in 1usize..60,
        group in 0usize..40,
        bits in 2u8..=8,
        order in 0usize..3,
        seed in 0u64..1000,
    ) {
        check_loss(rows, columns, &config(bits, group, ORDERS[order]), seed);
    }
}

#[test]
fn a_better_order_never_costs_a_layer_much_and_mostly_helps() {
    let weights = random_weights(128, 128, 20);
    let moments = random_moments(128, 21);
    let loss = |order| {
        solve(&weights, &moments, &config(3, 32, order))
            .loss
            .unwrap()
    };
    let (plain, ordered) = (loss(ColumnOrder::None), loss(ColumnOrder::Static));
    assert!(ordered < plain, "act-order {ordered}, stored order {plain}");
}

#[test]
fn what_cannot_be_solved_is_an_error() {
    let moments = moments_of(Symmetric::scaled_identity(4, 1.0));
    let weights = random_weights(2, 4, 1);
    let good = config(4, 0, ColumnOrder::None);
    let problem = |weights: &Matrix, config: &GptqConfig| {
        gptq(weights, &moments, config, &Unwatched).unwrap_err()
    };
    assert!(matches!(
        problem(&random_weights(2, 5, 1), &good),
        SolveError::Shape {
            expected: 5,
            found: 4,
            ..
        }
    ));
    let mut infinite = weights.clone();
    infinite.row_mut(1)[2] = f32::INFINITY;
    assert_eq!(
        problem(&infinite, &good),
        SolveError::NonFinite { row: 1, column: 2 }
    );
    let mut bad = good;
    bad.grid.bits = 9;
    assert!(matches!(
        problem(&weights, &bad),
        SolveError::BadConfig { .. }
    ));
    bad = good;
    bad.damping = f64::NAN;
    assert!(matches!(
        problem(&weights, &bad),
        SolveError::BadConfig { .. }
    ));
}

struct Stopping;
impl Monitor for Stopping {
    fn step(&self, _done: u64, _total: u64) {}
    fn should_stop(&self) -> bool {
        true
    }
}

#[test]
fn stops_when_asked() {
    let moments = moments_of(Symmetric::scaled_identity(4, 1.0));
    let config = config(4, 0, ColumnOrder::None);
    let error = gptq(&random_weights(2, 4, 1), &moments, &config, &Stopping).unwrap_err();
    assert_eq!(error, SolveError::Stopped);
}

#[test]
fn one_factor_serves_several_matrices_and_bits() {
    let moments = random_moments(40, 22);
    let prepared = Prepared::new(
        &moments,
        &config(4, 8, ColumnOrder::Gar),
        &Factors::default(),
        &Unwatched,
    )
    .unwrap();
    for bits in [2, 5] {
        let weights = random_weights(30, 40, u64::from(bits));
        let config = config(bits, 8, ColumnOrder::Gar);
        let reused = prepared.solve(&weights, &config, &Unwatched).unwrap();
        assert!(reused == solve(&weights, &moments, &config), "{bits} bits");
    }
}

#[test]
fn a_shared_factor_changes_no_code() {
    let (weights, moments) = (random_weights(5, 24, 60), random_moments(24, 3));
    let factors = Factors::default();
    for order in [
        ColumnOrder::Static,
        ColumnOrder::Static,
        ColumnOrder::Gar,
        ColumnOrder::None,
    ] {
        for (bits, group) in [(3, 8), (4, 8), (4, 12)] {
            let config = config(bits, group, order);
            let alone = gptq(&weights, &moments, &config, &Unwatched).unwrap();
            let prepared = Prepared::new(&moments, &config, &factors, &Unwatched).unwrap();
            let shared = prepared.solve(&weights, &config, &Unwatched).unwrap();
            assert_eq!(shared, alone, "{order:?} {bits}/{group}");
        }
    }
}

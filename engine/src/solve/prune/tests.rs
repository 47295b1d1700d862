//! Masks against sorting, their counts, and what must not matter.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::mask::{self, SparsityPattern};
use crate::rng::Rng;
use proptest::prelude::*;

fn random_weights(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut rng = Rng::new(seed, 5);
    // Few different values, so that there are ties.
    Matrix::from_fn(rows, columns, |_, _| (rng.normal() * 6.0).round() as f32)
}

fn squares(columns: usize) -> Vec<f32> {
    (0..columns)
        .map(|column| (column % 5) as f32 * 0.5)
        .collect()
}

fn any_pattern() -> impl Strategy<Value = SparsityPattern> {
    prop_oneof![
        Just(SparsityPattern::Unstructured),
        Just(SparsityPattern::BLOCK),
        (1u8..9, 1u8..8).prop_map(|(kept, more)| SparsityPattern::NOfM {
            kept,
            of: kept + more
        }),
    ]
}

fn any_among() -> impl Strategy<Value = Among> {
    prop_oneof![
        Just(Among::Row),
        Just(Among::Layer),
        Just(Among::Span(8)),
        Just(Among::RowSpan(8)),
    ]
}

/// The slow twin: scores sorted, the best taken.
fn slow_mask(weights: &Matrix, squares: &[f32], config: MaskConfig) -> Vec<bool> {
    let (rows, columns) = (weights.rows(), weights.columns());
    let score = |row: usize, column: usize| weights.row(row)[column].abs() * squares[column].sqrt();
    let mut keep = vec![false; rows * columns];
    if let SparsityPattern::NOfM { kept, of } = config.pattern {
        for row in 0..rows {
            let scores: Vec<f32> = (0..columns).map(|column| score(row, column)).collect();
            let keep = &mut keep[row * columns..(row + 1) * columns];
            mask::keep_n_of_m(&scores, usize::from(kept), usize::from(of), keep);
        }
        return keep;
    }
    let unit = config.pattern.unit();
    let units = columns.div_ceil(unit);
    let span = match config.among {
        Among::Row | Among::Layer => units.max(1),
        Among::Span(columns) | Among::RowSpan(columns) => (columns / unit).max(1),
    };
    let slices: Vec<Range<usize>> = match config.among {
        Among::Layer | Among::Span(_) => std::iter::once(0..rows).collect(),
        Among::Row | Among::RowSpan(_) => (0..rows).map(|row| row..row + 1).collect(),
    };
    for rows in slices {
        for first in (0..units).step_by(span) {
            let places: Vec<(usize, usize)> = rows
                .clone()
                .flat_map(|row| (first..(first + span).min(units)).map(move |unit| (row, unit)))
                .collect();
            let columns_of = |block: usize| block * unit..((block + 1) * unit).min(columns);
            let scores: Vec<f32> = places
                .iter()
                .map(|&(row, block)| match unit {
                    1 => score(row, block),
                    _ => columns_of(block)
                        .map(|column| score(row, column).powi(2))
                        .sum(),
                })
                .collect();
            let mut chosen = vec![false; scores.len()];
            let count = kept_count(scores.len(), config.sparsity);
            mask::keep_largest(&scores, count, &mut chosen);
            for (&(row, block), chosen) in places.iter().zip(chosen) {
                for column in columns_of(block) {
                    keep[row * columns + column] = chosen;
                }
            }
        }
    }
    keep
}

proptest! {
    #[test]
    fn masks_equal_the_slow_twin_and_have_the_planned_count(
        rows in 0usize..40,
        blocks in 0usize..9,
        tail in 0usize..4,
        pattern in any_pattern(),
        among in any_among(),
        sparsity in 0.0f64..=1.0,
        seed in 0u64..50,
    ) {
        let columns = blocks * 4 + tail;
        let weights = random_weights(rows, columns, seed);
        let squares = squares(columns);
        let config = MaskConfig { pattern, sparsity, among };
        let found = mask_by_score(&weights, Some(&squares), config).unwrap();
        let expected = slow_mask(&weights, &squares, config);
        prop_assert_eq!(&found.keep, &expected, "{:?}", config);
        if tail == 0 || pattern != SparsityPattern::BLOCK {
            let planned = pattern.stored_values(rows, columns, sparsity, among);
            prop_assert_eq!(found.kept(), planned);
        }
    }
}

#[test]
fn equal_inputs_make_wanda_magnitude() {
    let weights = random_weights(9, 40, 3);
    for pattern in [SparsityPattern::Unstructured, SparsityPattern::TWO_OF_FOUR] {
        let config = MaskConfig {
            pattern,
            sparsity: 0.5,
            among: Among::Row,
        };
        let magnitude = mask_by_score(&weights, None, config).unwrap();
        let wanda = mask_by_score(&weights, Some(&[4.0; 40]), config).unwrap();
        assert_eq!(magnitude, wanda, "{pattern}");
    }
}

#[test]
fn thread_count_changes_nothing() {
    let weights = random_weights(70, 52, 4);
    for among in [Among::Row, Among::Layer, Among::Span(16)] {
        let config = MaskConfig {
            pattern: SparsityPattern::Unstructured,
            sparsity: 0.43,
            among,
        };
        let mask_on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap()
                .install(|| mask_by_score(&weights, None, config).unwrap())
        };
        assert_eq!(mask_on(1), mask_on(3), "{among:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let config = MaskConfig {
        pattern: SparsityPattern::TWO_OF_FOUR,
        sparsity: 0.5,
        among: Among::Row,
    };
    let weights = Matrix::new(1, 2, vec![1.0, f32::NAN]);
    let error = mask_by_score(&weights, None, config).unwrap_err();
    assert_eq!(error, SolveError::NonFinite { row: 0, column: 1 });
    let error = mask_by_score(&Matrix::zeros(1, 2), Some(&[1.0]), config).unwrap_err();
    assert!(matches!(error, SolveError::Shape { .. }));
}

//! SparseGPT against its slow twin, and the laws that bind it.
#![allow(clippy::unwrap_used)]

use super::tests::{
    ORDERS, check_identity, config, mean_diagonal, moments_of, random_moments, random_weights,
};
use super::twin;
use super::*;
use crate::mask::{Among, SparsityPattern};
use crate::monitor::Unwatched;
use crate::solve::mask_by_score;
use crate::tensor::Symmetric;
use proptest::prelude::*;

const PATTERNS: [SparsityPattern; 4] = [
    SparsityPattern::Unstructured,
    SparsityPattern::TWO_OF_FOUR,
    SparsityPattern::NOfM { kept: 3, of: 5 },
    SparsityPattern::BLOCK,
];
const AMONGS: [Among; 2] = [Among::RowSpan(128), Among::Span(128)];
const FLOATS: Kept = Kept::Floats(Dtype::F32);

fn zeros(pattern: SparsityPattern, sparsity: f64, among: Among) -> Zeros<'static> {
    Zeros::Chosen(MaskConfig {
        pattern,
        sparsity,
        among,
    })
}

fn solve(
    weights: &Matrix,
    moments: &Moments,
    config: &GptqConfig,
    zeros: (&Zeros<'_>, Kept),
) -> Solved {
    let factors = Factors::default();
    gptq_with_zeros(weights, moments, config, zeros, &factors, &Unwatched).unwrap()
}

#[test]
fn agrees_with_the_slow_twin() {
    let (rows, columns) = (70, 300);
    let weights = random_weights(rows, columns, 30);
    let moments = random_moments(columns, 31);
    let config = config(4, 0, ColumnOrder::None);
    let ridge = config.damping * mean_diagonal(&moments);
    let upper = twin::inverse_cholesky(&twin::damped(&moments.gram, ridge), columns);
    for pattern in PATTERNS {
        for among in AMONGS {
            let asked = MaskConfig {
                pattern,
                sparsity: 0.5,
                among,
            };
            let solved = solve(&weights, &moments, &config, (&Zeros::Chosen(asked), FLOATS));
            let found = twin::sparse_gpt(&weights, &upper, asked);
            let mask = solved.mask.as_ref().unwrap();
            let other = mask.keep.iter().zip(&found.keep);
            let other = other.filter(|(left, right)| left != right).count();
            assert!(other <= 40, "{pattern} {among:?}: {other} zeros elsewhere");
            let ratio = solved.loss.unwrap() / found.loss;
            assert!(
                (ratio - 1.0).abs() < 1e-3,
                "{pattern} {among:?}: loss ratio {ratio}"
            );
        }
    }
}

#[test]
fn no_zeros_are_gptq_bit_for_bit() {
    // A width without a short last group, which GAR may visit anywhere: choices would cut blocks elsewhere.
    let weights = random_weights(100, 384, 32);
    let moments = random_moments(384, 33);
    for order in ORDERS {
        for group in [32, 128] {
            let config = config(4, group, order);
            let plain = gptq(&weights, &moments, &config, &Unwatched).unwrap();
            for among in AMONGS {
                let zeros = zeros(SparsityPattern::Unstructured, 0.0, among);
                let sparse = solve(&weights, &moments, &config, (&zeros, Kept::Codes));
                assert!(sparse.mask.as_ref().unwrap().keep.iter().all(|&keep| keep));
                let same = (&sparse.codes, &sparse.grid) == (&plain.codes, &plain.grid);
                assert!(same, "{order:?}, group {group}, {among:?}");
                assert_eq!(sparse.loss, plain.loss);
            }
        }
    }
}

#[test]
fn equal_inputs_make_it_magnitude_and_move_nothing() {
    let weights = random_weights(67, 150, 34);
    let moments = moments_of(Symmetric::scaled_identity(150, 3.7));
    for pattern in PATTERNS {
        for among in AMONGS {
            for order in ORDERS {
                let asked = MaskConfig {
                    pattern,
                    sparsity: 0.4,
                    among,
                };
                let zeros = Zeros::Chosen(asked);
                let config = config(4, 16, order);
                let solved = solve(&weights, &moments, &config, (&zeros, FLOATS));
                let mask = mask_by_score(&weights, None, asked).unwrap();
                let found = solved.mask.as_ref().unwrap();
                assert!(*found == mask, "{pattern} {among:?} {order:?}");
                for (index, value) in solved.dequantize().data().iter().enumerate() {
                    let expected = if mask.keep[index] {
                        weights.data()[index]
                    } else {
                        0.0
                    };
                    assert_eq!(*value, expected, "{index}");
                }
            }
        }
    }
}

#[test]
fn counts_are_those_planned_in_every_order() {
    let (rows, columns) = (90, 300);
    let weights = random_weights(rows, columns, 35);
    let moments = random_moments(columns, 36);
    for pattern in PATTERNS {
        for among in AMONGS {
            for order in ORDERS {
                for group in [0, 12, 96] {
                    let zeros = zeros(pattern, 0.37, among);
                    let config = config(4, group, order);
                    let solved = solve(&weights, &moments, &config, (&zeros, Kept::Codes));
                    let mask = solved.mask.as_ref().unwrap();
                    let planned = pattern.stored_values(rows, columns, 0.37, among);
                    assert_eq!(
                        mask.kept(),
                        planned,
                        "{pattern} {among:?} {order:?} {group}"
                    );
                    check_shape(mask);
                    let values = solved.dequantize();
                    let dropped = values.data().iter().zip(&mask.keep);
                    let zero = dropped.filter(|(_, keep)| !**keep).all(|(v, _)| *v == 0.0);
                    assert!(zero, "{pattern} {among:?} {order:?} {group}");
                }
            }
        }
    }
}

/// Exactly N of every M, and whole blocks.
fn check_shape(mask: &Mask) {
    for row in mask.keep.chunks(mask.columns) {
        match mask.pattern {
            SparsityPattern::NOfM { kept, of } => {
                for unit in row.chunks(usize::from(of)) {
                    let count = unit.iter().filter(|&&keep| keep).count();
                    assert_eq!(count, usize::from(kept).min(unit.len()));
                }
            }
            SparsityPattern::Block { width } => {
                for unit in row.chunks(usize::from(width)) {
                    assert!(unit.iter().all(|&keep| keep == unit[0]));
                }
            }
            SparsityPattern::Unstructured => {}
        }
    }
}

#[test]
fn block_size_and_threads_hardly_matter() {
    let weights = random_weights(130, 300, 37);
    let moments = random_moments(300, 38);
    for pattern in PATTERNS {
        for among in AMONGS {
            let zeros = zeros(pattern, 0.5, among);
            let loss_with = |block, threads| {
                let mut config = config(4, 32, ColumnOrder::Gar);
                config.block = block;
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.unwrap();
                pool.install(|| solve(&weights, &moments, &config, (&zeros, Kept::Codes)))
            };
            let expected = loss_with(256, 1);
            assert!(loss_with(256, 2) == expected, "{pattern} {among:?}");
            for block in [1, 48, 100] {
                let ratio = loss_with(block, 2).loss.unwrap() / expected.loss.unwrap();
                assert!(
                    (ratio - 1.0).abs() < 1e-2,
                    "{pattern} {among:?}, block {block}: ratio {ratio}"
                );
            }
        }
    }
}

#[test]
fn a_sweep_that_chooses_beats_a_given_mask_which_beats_none_to_make_up() {
    let weights = random_weights(128, 256, 39);
    let moments = random_moments(256, 40);
    let config = config(4, 0, ColumnOrder::Static);
    let asked = MaskConfig {
        pattern: SparsityPattern::TWO_OF_FOUR,
        sparsity: 0.5,
        among: Among::Row,
    };
    let wanda = mask_by_score(&weights, Some(&moments.mean_square), asked).unwrap();
    let error = |solved: &Matrix| crate::distortion::output_error(&weights, solved, &moments.gram);
    let still = error(&crate::solve::prune::masked(&weights, &wanda));
    let given = solve(&weights, &moments, &config, (&Zeros::Given(&wanda), FLOATS));
    assert_eq!(given.mask.as_ref(), Some(&wanda));
    let chosen = solve(&weights, &moments, &config, (&Zeros::Chosen(asked), FLOATS));
    let (given, chosen) = (error(&given.dequantize()), error(&chosen.dequantize()));
    assert!(
        chosen < given && given < 0.9 * still,
        "chosen {chosen}, given {given}, not made up for {still}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn loss_is_the_damped_output_error(
        rows in 1usize..20,
        columns in 1usize..60,
        group in 0usize..40,
        pattern in 0usize..4,
        among in 0usize..2,
        order in 0usize..3,
        floats: bool,
        seed in 0u64..1000,
    ) {
        let weights = random_weights(rows, columns, seed);
        let moments = random_moments(columns, seed + 1);
        let config = config(4, group, ORDERS[order]);
        let kept = if floats { FLOATS } else { Kept::Codes };
        let zeros = zeros(PATTERNS[pattern], 0.5, AMONGS[among]);
        let solved = solve(&weights, &moments, &config, (&zeros, kept));
        check_identity(&weights, &moments, &config, &solved);
    }
}

//! Previews and estimates held to the measures they stand for, at any thread count, on ordinary and on odd layers.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::distortion::{self, Histograms};
use crate::grid::ScaleDtype;
use crate::moments::Prefix;
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::settings::{ColumnOrder, Refine};
use crate::solve::round_layer;
use crate::tensor::Symmetric;

mod zeros;

const SOLVERS: [Method; 5] = [
    Method::Rtn,
    Method::Gptq,
    Method::Awq,
    Method::Hqq,
    Method::Nf4,
];

fn settings(method: Method, bits: u8) -> LayerSettings {
    LayerSettings {
        method,
        bits,
        group: 16,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
        clip_search: 20,
        order: ColumnOrder::Static,
        damping: 0.01,
        refine: Refine::Auto,
        prefix: Prefix::Original,
        double_quant: false,
        activations: crate::settings::Activations::None,
        activation_block: 0,
        smooth: 0.0,
        prune: crate::settings::Pruning::NONE,
        rank: crate::settings::Rank::None,
        palette_rows: 0,
    }
}

fn normal_matrix(rows: usize, columns: usize, stream: u64) -> Matrix {
    let mut rng = Rng::new(61, stream);
    Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32 * 0.05)
}

/// Statistics of inputs whose Gram matrix is `gram`.
fn statistics(gram: Symmetric) -> LayerStatistics {
    let mean_square = gram.diagonal();
    let magnitudes: Vec<f32> = mean_square.iter().map(|square| square.sqrt()).collect();
    LayerStatistics {
        moments: Moments {
            count: 100,
            gram,
            mean_square,
            mean_abs: magnitudes.clone(),
            abs_max: magnitudes,
        },
        cross: None,
        held_out: None,
    }
}

/// Statistics of correlated inputs.
fn correlated(width: usize) -> LayerStatistics {
    let inputs = normal_matrix(3 * width, width, 9);
    let mut upper = Vec::new();
    for row in 0..width {
        for column in row..width {
            let pairs = (0..inputs.rows()).map(|token| {
                let values = inputs.row(token);
                f64::from(values[row] + values[0]) * f64::from(values[column] + values[0])
            });
            upper.push(pairs.sum::<f64>() as f32);
        }
    }
    statistics(Symmetric::new(width, upper))
}

fn view(
    weights: &Matrix,
    statistics: Option<&LayerStatistics>,
    settings: &LayerSettings,
    kind: Kind,
) -> Preview {
    preview(weights, statistics, settings, kind, &Unwatched).unwrap()
}

#[test]
fn an_exact_preview_tells_what_a_run_would_report() {
    let (weights, statistics) = (normal_matrix(70, 80, 0), correlated(80));
    for method in SOLVERS {
        let settings = settings(method, 4);
        let found = view(&weights, Some(&statistics), &settings, Kind::Exact);
        let solved = solve_layer(&weights, Some(&statistics), &settings, &Unwatched).unwrap();
        let after = solved.dequantize();
        let gram = &statistics.moments.gram;
        let expected = distortion::relative_output_error(&weights, &after, gram);
        assert_eq!(found.relative_error, expected, "{method:?}");
        assert_eq!(found.basis, Basis::Inputs);
        assert_eq!(
            found.histograms,
            Histograms::of(&weights, &after, None),
            "{method:?}"
        );
        assert_eq!(found.max_error, distortion::max_error(&weights, &after));
        assert_eq!((found.sampled_rows, found.rows), (70, 70));
        let near = |found: Option<f64>, expected: Option<f64>| {
            let (found, expected) = (found.unwrap(), expected.unwrap());
            assert!(
                (found - expected).abs() <= 1e-9 * expected.abs(),
                "{method:?}: expected {expected}, found {found}"
            );
        };
        near(found.sqnr_db, distortion::sqnr_db(&weights, &after));
        near(found.cosine, distortion::cosine(&weights, &after));
        assert_eq!(found.method, method);
        assert_eq!(found.exact, method != Method::Awq, "{method:?}");
        assert_eq!(found.codes_possible, 16);
        assert!((1..=16).contains(&found.codes_used), "{}", found.codes_used);
    }
}

#[test]
fn a_quick_preview_rounds_in_place_of_gptq_and_says_so() {
    let (weights, statistics) = (normal_matrix(40, 48, 1), correlated(48));
    let gptq = settings(Method::Gptq, 3);
    let quick = view(&weights, Some(&statistics), &gptq, Kind::Quick);
    assert_eq!((quick.exact, quick.method), (false, Method::Rtn));
    let rtn = settings(Method::Rtn, 3);
    let rounded = view(&weights, Some(&statistics), &rtn, Kind::Exact);
    assert!(rounded.exact);
    assert_eq!(quick.histograms, rounded.histograms);
    assert_eq!(quick.relative_error, rounded.relative_error);
    let exact = view(&weights, Some(&statistics), &gptq, Kind::Exact);
    assert!(exact.exact && exact.method == Method::Gptq);
    assert!(exact.relative_error < quick.relative_error, "{exact:?}");
}

#[test]
fn equal_inputs_weigh_outputs_as_weights() {
    let weights = normal_matrix(90, 64, 2);
    let statistics = statistics(Symmetric::scaled_identity(64, 0.25));
    for method in [Method::Rtn, Method::Hqq, Method::Nf4] {
        let settings = settings(method, 4);
        let blind = estimate(&weights, None, &settings, &Unwatched).unwrap();
        let seeing = estimate(&weights, Some(&statistics.moments), &settings, &Unwatched).unwrap();
        assert_eq!((blind.basis, seeing.basis), (Basis::Weights, Basis::Inputs));
        assert_eq!(blind.sqnr_db, seeing.sqnr_db);
        let difference = (blind.relative_error - seeing.relative_error).abs();
        assert!(
            difference < 1e-6 * blind.relative_error,
            "{method:?}: of weights {}, of outputs {}",
            blind.relative_error,
            seeing.relative_error
        );
    }
}

#[test]
fn sampled_rows_are_estimated_as_they_stand_in_the_layer() {
    let weights = normal_matrix(60, 48, 3);
    let settings = settings(Method::Gptq, 3);
    let picked: Vec<f32> = [3usize, 17, 59]
        .iter()
        .flat_map(|&row| weights.row(row).to_vec())
        .collect();
    let rows = Matrix::new(3, 48, picked);
    let found = estimate(&rows, None, &settings, &Unwatched).unwrap();
    let whole = round_layer(&weights, None, &settings, &Unwatched).unwrap();
    let mut after = Matrix::zeros(3, 48);
    for (place, row) in [3, 17, 59].into_iter().enumerate() {
        whole.dequantize_row(row, after.row_mut(place));
    }
    let error = distortion::weight_error(&rows, &after);
    let expected = (error / distortion::weight_energy(&rows)).sqrt();
    assert_eq!(found.relative_error, expected);
    assert_eq!(found.sampled_rows, 3);
}

#[test]
fn a_sample_gives_the_estimates_that_its_rows_give_alone() {
    let (rows, statistics) = (normal_matrix(20, 64, 11), correlated(64));
    for moments in [None, Some(&statistics.moments)] {
        let sample = Sample::new(rows.clone(), 20, moments.cloned()).unwrap();
        for method in Method::ALL {
            let settings = settings(method, 3);
            let expected = estimate(&rows, moments, &settings, &Unwatched).unwrap();
            let found = sample.estimate(&settings, &Unwatched).unwrap();
            assert_eq!(found, expected, "{method:?}");
        }
    }
    let narrow = Sample::new(rows, 20, Some(correlated(63).moments));
    assert!(matches!(narrow, Err(SolveError::Shape { .. })));
}

#[test]
fn more_bits_never_look_worse() {
    let (weights, statistics) = (normal_matrix(32, 64, 4), correlated(64));
    let error = |bits| {
        let settings = settings(Method::Gptq, bits);
        let estimate = estimate(&weights, Some(&statistics.moments), &settings, &Unwatched);
        estimate.unwrap().relative_error
    };
    for bits in 2..8 {
        let (coarse, fine) = (error(bits), error(bits + 1));
        assert!(fine < coarse, "{bits} bits {coarse}, one more {fine}");
    }
}

#[test]
fn method_none_moves_nothing() {
    let weights = normal_matrix(5, 20, 5);
    let left = settings(Method::None, 4);
    let found = view(&weights, None, &left, Kind::Exact);
    assert!(found.exact);
    assert_eq!((found.relative_error, found.max_error), (Some(0.0), 0.0));
    assert_eq!((found.codes_used, found.codes_possible), (0, 0));
    assert_eq!((found.sqnr_db, found.clipped_share), (None, 0.0));
    assert_eq!(found.histograms.before, found.histograms.after);
    let estimate = estimate(&weights, None, &left, &Unwatched).unwrap();
    assert_eq!((estimate.relative_error, estimate.sqnr_db), (0.0, None));
}

#[test]
fn channels_tell_the_largest_weight_and_the_error_of_each_input() {
    let weights = normal_matrix(75, 40, 6);
    let rtn = settings(Method::Rtn, 3);
    let found = view(&weights, None, &rtn, Kind::Quick);
    let after = round_layer(&weights, None, &rtn, &Unwatched)
        .unwrap()
        .dequantize();
    for (column, channel) in found.channels.iter().enumerate() {
        let rows = 0..75;
        let largest = rows.clone().map(|row| weights.row(row)[column].abs());
        let squares = rows.map(|row| {
            (f64::from(weights.row(row)[column]) - f64::from(after.row(row)[column])).powi(2)
        });
        let error_rms = (squares.sum::<f64>() / 75.0).sqrt() as f32;
        assert_eq!(channel.column, column);
        assert_eq!(channel.abs_max, largest.fold(0.0, f32::max));
        assert!(
            (channel.error_rms - error_rms).abs() <= 1e-6 * error_rms,
            "column {column}: expected {error_rms}, found {}",
            channel.error_rms
        );
    }
}

#[test]
fn outliers_are_ranked_and_ordinary_channels_are_none() {
    let channel = |(column, abs_max)| Channel {
        column,
        abs_max,
        error_rms: 0.0,
    };
    let of = |largest: &[f32]| -> Vec<Channel> {
        largest.iter().copied().enumerate().map(channel).collect()
    };
    let channels = of(&[1.0, 9.0, 1.0, 0.5, 3.0, 1.0, 9.0]);
    assert_eq!(outlier_channels(&channels, 9), [1, 6, 4]);
    assert_eq!(outlier_channels(&channels, 2), [1, 6]);
    assert!(outlier_channels(&of(&[2.0; 5]), 3).is_empty());
    assert!(outlier_channels(&[], 3).is_empty());
}

#[test]
fn clipped_weights_are_those_whose_code_was_cut_off() {
    let mut weights = normal_matrix(8, 64, 7);
    weights.row_mut(3)[5] = 1.0;
    for symmetric in [false, true] {
        for clip_search in [0, 20] {
            let settings = LayerSettings {
                symmetric,
                clip_search,
                ..settings(Method::Rtn, 3)
            };
            let found = view(&weights, None, &settings, Kind::Quick);
            let solved = round_layer(&weights, None, &settings, &Unwatched).unwrap();
            let Grid::Affine(grid) = &solved.grid else {
                panic!("rtn gives affine grids");
            };
            let mut cut = 0;
            for row in 0..8 {
                for (column, &weight) in weights.row(row).iter().enumerate() {
                    let step = grid.step(row, column / 16);
                    let free = (weight / step.scale + step.zero).round_ties_even();
                    cut += u32::from(!(0.0..=7.0).contains(&free));
                }
            }
            let expected = f64::from(cut) / 512.0;
            assert!(
                (found.clipped_share - expected).abs() <= 2.0 / 512.0,
                "symmetric {symmetric}, search {clip_search}: expected {expected}, found {}",
                found.clipped_share
            );
            assert!(found.clip_low < 0.0 && found.clip_high > 0.0);
        }
    }
}

#[test]
fn the_thread_count_changes_nothing() {
    let (weights, statistics) = (normal_matrix(150, 48, 8), correlated(48));
    let run = |threads: usize, method| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let settings = settings(method, 4);
            let moments = Some(&statistics.moments);
            let estimate = estimate(&weights, moments, &settings, &Unwatched).unwrap();
            let preview = view(&weights, Some(&statistics), &settings, Kind::Quick);
            (estimate, preview)
        })
    };
    for method in SOLVERS {
        assert_eq!(run(1, method), run(3, method), "{method:?}");
    }
}

#[test]
fn odd_layers_give_finite_figures() {
    let cases = [
        Matrix::zeros(0, 5),
        Matrix::zeros(5, 0),
        Matrix::zeros(3, 8),
        Matrix::new(2, 1, vec![3.0, -2.0]),
        Matrix::new(1, 5, vec![7.0; 5]),
        Matrix::new(1, 5, vec![-1e-40; 5]),
        Matrix::new(2, 3, vec![1e30, -3e30, 2e30, 0.0, 1e-38, 1.0]),
    ];
    for weights in &cases {
        let dead = statistics(Symmetric::scaled_identity(weights.columns(), 0.0));
        for method in [Method::Rtn, Method::Hqq, Method::Nf4, Method::None] {
            for statistics in [None, Some(&dead)] {
                let settings = settings(method, 4);
                let place = format!("{weights:?} {method:?} {statistics:?}");
                let found = view(weights, statistics, &settings, Kind::Quick);
                let counted: u64 = found.histograms.before.counts.iter().sum();
                assert_eq!(counted, weights.data().len() as u64, "{place}");
                assert!(found.relative_error.is_none_or(f64::is_finite), "{place}");
                assert!(
                    found.clip_low.is_finite() && found.clip_high.is_finite(),
                    "{place}"
                );
                let finite = found
                    .channels
                    .iter()
                    .all(|channel| channel.error_rms.is_finite());
                assert!(finite, "{place}");
                let moments = statistics.map(|statistics| &statistics.moments);
                let estimate = estimate(weights, moments, &settings, &Unwatched).unwrap();
                assert!(estimate.relative_error.is_finite(), "{place}");
            }
        }
    }
}

/// Asks to stop at once.
struct Impatient;

impl Monitor for Impatient {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        true
    }
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let (weights, wide) = (normal_matrix(4, 16, 10), correlated(17));
    let rtn = settings(Method::Rtn, 4);
    let mismatch = SolveError::Shape {
        what: "the Gram matrix",
        expected: 16,
        found: 17,
    };
    let previewed = preview(&weights, Some(&wide), &rtn, Kind::Quick, &Unwatched);
    assert_eq!(previewed.unwrap_err(), mismatch);
    let estimated = estimate(&weights, Some(&wide.moments), &rtn, &Unwatched);
    assert_eq!(estimated.unwrap_err(), mismatch);
    let blind = settings(Method::Gptq, 4);
    let previewed = preview(&weights, None, &blind, Kind::Exact, &Unwatched);
    assert!(matches!(previewed, Err(SolveError::BadConfig { .. })));
    for method in [Method::Rtn, Method::None] {
        let stopped = preview(
            &weights,
            None,
            &settings(method, 4),
            Kind::Quick,
            &Impatient,
        );
        assert_eq!(stopped.unwrap_err(), SolveError::Stopped, "{method:?}");
    }
}

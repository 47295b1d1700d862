//! Round to nearest: each group gets its best grid, each weight its nearest code.
//!
//! Data-free, or guided by the mean square of each input where it is known (methods: clip search). Rows are independent.

use super::{SolveError, check_bits, check_finite, check_importance, fit_step};
use crate::grid::{AffineGrid, GridConfig};
use crate::kernels::quantize;
use crate::monitor::Monitor;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Matrix;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows between two looks at the monitor.
const SLAB_ROWS: usize = 16;

/// What round-to-nearest is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RtnConfig {
    /// The grid.
    pub grid: GridConfig,
    /// Range widths tried per group; 0 = min-max.
    pub clip_search: u32,
}

/// Rounds `weights` to the grids that keep `Σ importance_j (w_j - q_j)²` of each group small.
///
/// `importance` is the mean square of each input, `[columns]`; none means that all inputs count the same.
pub fn rtn(
    weights: &Matrix,
    importance: Option<&[f32]>,
    config: &RtnConfig,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    check_bits(config.grid.bits)?;
    check_finite(weights)?;
    let importance = check_importance(weights, importance)?;
    let (rows, columns) = (weights.rows(), weights.columns());
    let mut grid = AffineGrid::neutral(config.grid, rows, columns);
    let mut codes = vec![0u8; rows * columns];
    let slab_codes = SLAB_ROWS * columns.max(1);
    let slab_steps = SLAB_ROWS * grid.groups().count().max(1);
    let done = AtomicU64::new(0);
    codes
        .par_chunks_mut(slab_codes)
        .zip(grid.scales.par_chunks_mut(slab_steps))
        .zip(grid.zeros.par_chunks_mut(slab_steps))
        .zip(weights.data().par_chunks(slab_codes))
        .try_for_each(|(((codes, scales), zeros), weights)| {
            monitor.check()?;
            let rows_of_slab = codes.chunks_mut(columns).zip(weights.chunks(columns));
            for (row, (codes, weights)) in rows_of_slab.enumerate() {
                let groups = config.grid.groups(columns);
                let steps = row * groups.count()..(row + 1) * groups.count();
                let (scales, zeros) = (&mut scales[steps.clone()], &mut zeros[steps]);
                round_row(weights, importance.as_deref(), config, codes, scales, zeros);
            }
            let slab = (codes.len() / columns) as u64;
            let finished = done.fetch_add(slab, Ordering::Relaxed) + slab;
            monitor.step(finished, rows as u64);
            Ok::<(), SolveError>(())
        })?;
    Ok(Solved {
        method: Method::Rtn,
        codes: Codes {
            rows,
            columns,
            values: codes,
        },
        grid: Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

/// Fits and encodes every group of one row.
fn round_row(
    weights: &[f32],
    importance: Option<&[f32]>,
    config: &RtnConfig,
    codes: &mut [u8],
    scales: &mut [f32],
    zeros: &mut [f32],
) {
    let groups = config.grid.groups(weights.len());
    let max_code = f32::from(config.grid.max_code());
    for group in 0..groups.count() {
        let range = groups.range(group);
        let importance = importance.map(|all| &all[range.clone()]);
        let weights = &weights[range.clone()];
        let step = fit_step(weights, importance, config.grid, config.clip_search);
        (scales[group], zeros[group]) = (step.scale, step.zero);
        quantize::encode(weights, step.scale, step.zero, max_code, &mut codes[range]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::monitor::Unwatched;
    use crate::rng::Rng;

    fn config(bits: u8, group: usize, symmetric: bool, clip_search: u32) -> RtnConfig {
        RtnConfig {
            grid: GridConfig {
                bits,
                group,
                symmetric,
                scale_dtype: ScaleDtype::F16,
            },
            clip_search,
        }
    }

    fn normal_matrix(rows: usize, columns: usize, stream: u64) -> Matrix {
        let mut rng = Rng::new(11, stream);
        Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32 * 0.05)
    }

    fn affine(solved: &Solved) -> &AffineGrid {
        match &solved.grid {
            Grid::Affine(grid) => grid,
            _ => panic!("rtn gives affine grids"),
        }
    }

    #[test]
    fn every_code_is_the_nearest_on_its_groups_grid() {
        let weights = normal_matrix(19, 70, 0);
        for search in [0, 20] {
            let solved = rtn(&weights, None, &config(3, 32, false, search), &Unwatched).unwrap();
            let grid = affine(&solved);
            for row in 0..19 {
                for column in 0..70 {
                    let group = column / 32;
                    let range = group * 32..(group * 32 + 32).min(70);
                    let step = grid.step(row, group);
                    let slice = &weights.row(row)[range];
                    assert_eq!(step, fit_step(slice, None, grid.config, search));
                    let code = f32::from(solved.codes.row(row)[column]);
                    assert_eq!(code, step.code(weights.row(row)[column], 7.0));
                }
            }
        }
    }

    #[test]
    fn importance_lowers_the_error_it_weighs() {
        let weights = normal_matrix(16, 256, 1);
        let mut rng = Rng::new(12, 0);
        let importance: Vec<f32> = (0..256).map(|_| rng.normal().powi(4) as f32).collect();
        let error = |solved: &Solved| -> f64 {
            let found = solved.dequantize();
            let terms = weights.data().iter().zip(found.data()).enumerate();
            terms
                .map(|(index, (&a, &b))| f64::from(importance[index % 256] * (a - b) * (a - b)))
                .sum()
        };
        let config = config(3, 64, false, 20);
        let guided = rtn(&weights, Some(&importance), &config, &Unwatched).unwrap();
        let blind = rtn(&weights, None, &config, &Unwatched).unwrap();
        let (guided, blind) = (error(&guided), error(&blind));
        assert!(guided < 0.8 * blind, "guided {guided}, blind {blind}");
    }

    #[test]
    fn equal_importance_is_no_importance() {
        let weights = normal_matrix(9, 100, 2);
        for symmetric in [false, true] {
            let config = config(4, 32, symmetric, 20);
            let plain = rtn(&weights, None, &config, &Unwatched).unwrap();
            for value in [1e-30, 0.37, 1e30, 0.0] {
                let same = rtn(&weights, Some(&[value; 100]), &config, &Unwatched).unwrap();
                assert_eq!(same, plain, "importance {value} everywhere");
            }
        }
    }

    #[test]
    fn the_thread_count_changes_nothing() {
        let weights = normal_matrix(130, 96, 3);
        let solve = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| rtn(&weights, None, &config(4, 32, false, 20), &Unwatched).unwrap())
        };
        assert_eq!(solve(1), solve(3));
    }

    #[test]
    fn odd_layers_stay_finite() {
        let cases = [
            Matrix::zeros(0, 5),
            Matrix::zeros(5, 0),
            Matrix::zeros(3, 8),
            Matrix::new(2, 1, vec![3.0, -2.0]),
            Matrix::new(1, 5, vec![7.0; 5]),
            Matrix::new(1, 5, vec![-1e-40; 5]),
            Matrix::new(2, 3, vec![1e38, -3e38, 2e38, 0.0, 1e-38, 1.0]),
        ];
        for weights in &cases {
            for bits in [2, 8] {
                for symmetric in [false, true] {
                    let config = config(bits, 4, symmetric, 20);
                    let solved = rtn(weights, None, &config, &Unwatched).unwrap();
                    let values = solved.dequantize();
                    assert!(
                        values.data().iter().all(|value| value.is_finite()),
                        "{weights:?}: {values:?}"
                    );
                }
            }
        }
        let solved = rtn(&cases[2], None, &config(4, 4, false, 20), &Unwatched).unwrap();
        assert_eq!(
            solved.dequantize(),
            cases[2],
            "an all-zero layer stays zero"
        );
    }

    #[test]
    fn bad_input_is_an_error_that_names_the_place() {
        let mut weights = normal_matrix(5, 3000, 4);
        let config = config(4, 32, false, 0);
        let short = rtn(&weights, Some(&[1.0; 7]), &config, &Unwatched).unwrap_err();
        let expected = SolveError::Shape {
            what: "the mean square of the inputs",
            expected: 3000,
            found: 7,
        };
        assert_eq!(short, expected);
        weights.row_mut(4)[17] = f32::NAN;
        weights.row_mut(3)[2999] = f32::NEG_INFINITY;
        let bad = rtn(&weights, None, &config, &Unwatched).unwrap_err();
        let expected = SolveError::NonFinite {
            row: 3,
            column: 2999,
        };
        assert_eq!(bad, expected);
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
    fn a_stop_is_answered() {
        let weights = normal_matrix(40, 8, 5);
        let stopped = rtn(&weights, None, &config(4, 0, false, 0), &Impatient);
        assert_eq!(stopped.unwrap_err(), SolveError::Stopped);
    }
}

//! NF4: each block is scaled by its largest magnitude and every weight takes the nearest of 16 fixed levels.
//!
//! Dettmers et al. 2023, arXiv 2305.14314. Data-free. Where block scales are quantized too, codes are chosen with the
//! scales as they will be read back.

use super::{SolveError, check_finite};
use crate::codebook::{BlockCodebook, BlockScales, nearest_nf4};
use crate::monitor::Monitor;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Matrix;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// What NF4 is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nf4Config {
    /// Weights per block along a row, above 0; 64 in bitsandbytes.
    pub block: usize,
    /// Whether block scales are quantized to 8 bits.
    pub double_quant: bool,
}

/// Rounds `weights` to NF4.
pub fn nf4(
    weights: &Matrix,
    config: &Nf4Config,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    if config.block == 0 {
        return Err(SolveError::BadConfig {
            problem: "an NF4 block needs at least one weight; set a group above 0".into(),
        });
    }
    check_finite(weights)?;
    let (rows, columns) = (weights.rows(), weights.columns());
    let codebook = BlockCodebook {
        rows,
        columns,
        block: config.block,
        scales: block_scales(weights, config),
    };
    let mut codes = vec![0u8; rows * columns];
    let done = AtomicU64::new(0);
    let width = columns.max(1);
    codes
        .par_chunks_mut(width)
        .zip(weights.data().par_chunks(width))
        .enumerate()
        .try_for_each(|(row, (codes, weights))| {
            monitor.check()?;
            encode_row(&codebook, row, weights, codes);
            monitor.step(done.fetch_add(1, Ordering::Relaxed) + 1, rows as u64);
            Ok::<(), SolveError>(())
        })?;
    Ok(Solved {
        method: Method::Nf4,
        codes: Codes {
            rows,
            columns,
            values: codes,
        },
        grid: Grid::Codebook(codebook),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

/// The largest magnitude of every block, row by row.
fn block_scales(weights: &Matrix, config: &Nf4Config) -> BlockScales {
    let rows = weights.data().par_chunks(weights.columns().max(1));
    let scales: Vec<f32> = rows
        .flat_map_iter(|row| row.chunks(config.block))
        .map(|block| {
            block
                .iter()
                .fold(0.0, |largest: f32, weight| largest.max(weight.abs()))
        })
        .collect();
    if config.double_quant {
        BlockScales::double(&scales)
    } else {
        BlockScales::Plain(scales)
    }
}

fn encode_row(codebook: &BlockCodebook, row: usize, weights: &[f32], codes: &mut [u8]) {
    let blocks = weights
        .chunks(codebook.block)
        .zip(codes.chunks_mut(codebook.block));
    for (block, (weights, codes)) in blocks.enumerate() {
        let scale = codebook.scale(row * codebook.blocks_per_row() + block);
        if scale == 0.0 {
            codes.fill(nearest_nf4(0.0));
            continue;
        }
        for (code, weight) in codes.iter_mut().zip(weights) {
            *code = nearest_nf4(weight / scale);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codebook::NF4_LEVELS;
    use crate::monitor::Unwatched;
    use crate::rng::Rng;

    fn config(block: usize, double_quant: bool) -> Nf4Config {
        Nf4Config {
            block,
            double_quant,
        }
    }

    fn normal_matrix(rows: usize, columns: usize) -> Matrix {
        let mut rng = Rng::new(31, 0);
        Matrix::from_fn(rows, columns, |_, _| rng.normal() as f32 * 0.02)
    }

    #[test]
    fn every_weight_takes_the_nearest_level_of_its_block() {
        let weights = normal_matrix(7, 150);
        for double_quant in [false, true] {
            let solved = nf4(&weights, &config(64, double_quant), &Unwatched).unwrap();
            let found = solved.dequantize();
            let Grid::Codebook(codebook) = &solved.grid else {
                panic!("NF4 gives a codebook");
            };
            for row in 0..7 {
                for column in 0..150 {
                    let (weight, found) = (weights.row(row)[column], found.row(row)[column]);
                    let scale = codebook.scale(row * 3 + column / 64);
                    let least = NF4_LEVELS
                        .iter()
                        .map(|level| {
                            (f64::from(scale) * f64::from(*level) - f64::from(weight)).abs()
                        })
                        .fold(f64::INFINITY, f64::min);
                    let error = (f64::from(found) - f64::from(weight)).abs();
                    assert!(
                        error <= least + 1e-8,
                        "{weight} became {found}, least error {least}"
                    );
                }
            }
        }
    }

    #[test]
    fn plain_scales_hit_the_largest_weight_of_each_block_exactly() {
        let weights = normal_matrix(3, 128);
        let found = nf4(&weights, &config(64, false), &Unwatched)
            .unwrap()
            .dequantize();
        for (before, after) in weights.data().chunks(64).zip(found.data().chunks(64)) {
            let largest = before
                .iter()
                .copied()
                .max_by(|a, b| a.abs().total_cmp(&b.abs()));
            assert!(after.contains(&largest.unwrap()));
        }
    }

    #[test]
    fn odd_layers_stay_finite_and_zero_stays_zero() {
        for double_quant in [false, true] {
            let mut weights = Matrix::zeros(3, 130);
            weights.row_mut(1).fill(1.0);
            weights.row_mut(2)[129] = 1e-41;
            let solved = nf4(&weights, &config(64, double_quant), &Unwatched).unwrap();
            let found = solved.dequantize();
            assert!(found.data().iter().all(|value| value.is_finite()));
            assert!(found.row(0).iter().all(|&value| value == 0.0));
            for shape in [(0, 4), (4, 0), (1, 1)] {
                let empty = Matrix::zeros(shape.0, shape.1);
                let solved = nf4(&empty, &config(64, double_quant), &Unwatched).unwrap();
                assert_eq!(solved.dequantize(), empty);
            }
        }
    }

    #[test]
    fn bad_input_is_an_error() {
        let mut weights = normal_matrix(2, 10);
        assert!(matches!(
            nf4(&weights, &config(0, false), &Unwatched),
            Err(SolveError::BadConfig { .. })
        ));
        weights.row_mut(1)[3] = f32::INFINITY;
        assert_eq!(
            nf4(&weights, &config(64, false), &Unwatched).unwrap_err(),
            SolveError::NonFinite { row: 1, column: 3 }
        );
    }
}

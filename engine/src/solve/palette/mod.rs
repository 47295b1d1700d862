//! Palettes: weights share the levels that weighted k-means finds (Han et al. 2016, arXiv 1510.00149, section 3).
//!
//! In one dimension the best levels follow from a histogram by dynamic programming, so that no start is a matter of luck.
//! A few of Lloyd's rounds over the weights themselves then smooth what bins were too coarse for. Levels are rounded to
//! their dtype before errors are measured; the best round stays. Weights that a mask drops have no say.

mod partition;
mod tied;

pub use tied::tied_layers;

use super::{SolveError, check_bits, check_finite, check_importance};
use crate::codebook::Palettes;
use crate::grid::ScaleDtype;
use crate::mask::Mask;
use crate::monitor::Monitor;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Matrix;
use partition::{Bin, best_levels};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lloyd's rounds after the histogram's answer.
const ROUNDS: usize = 4;
/// Rows whose sums are taken at once, in row order: the sum does not depend on the thread count.
const SLAB_ROWS: usize = 32;
/// Fewest bins of a histogram.
const FEWEST_BINS: usize = 1024;
/// Bins per level, where those are more.
const BINS_PER_LEVEL: usize = 16;

/// What palettes are asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaletteConfig {
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// Rows that share a palette; 0 = all.
    pub rows: usize,
    /// How levels are stored.
    pub level_dtype: ScaleDtype,
}

/// Gives every weight the nearest of the levels that keep `Σ importance_j (w_j - q_j)²` small.
pub fn palette(
    weights: &Matrix,
    importance: Option<&[f32]>,
    mask: Option<&Mask>,
    config: &PaletteConfig,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    check_bits(config.bits)?;
    check_finite(weights)?;
    let importance = check_importance(weights, importance)?;
    let (rows, columns) = (weights.rows(), weights.columns());
    let shared = if config.rows == 0 { rows } else { config.rows };
    let mut palettes = Palettes {
        rows,
        columns,
        bits: config.bits,
        rows_per_palette: config.rows,
        level_dtype: config.level_dtype,
        levels: vec![0.0; Palettes::count(rows, config.rows) << config.bits],
    };
    let done = AtomicU64::new(0);
    let total = (palettes.levels.len() >> config.bits) as u64;
    let levels = palettes.levels.par_chunks_mut(1 << config.bits).enumerate();
    levels.try_for_each(|(index, levels)| {
        monitor.check()?;
        let of_palette = index * shared..((index + 1) * shared).min(rows);
        let sample = Sample {
            weights,
            importance: importance.as_deref(),
            mask,
            rows: of_palette,
        };
        levels.copy_from_slice(&sample.levels(levels.len(), config.level_dtype));
        monitor.step(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        Ok::<(), SolveError>(())
    })?;
    monitor.check()?;
    let mut codes = vec![0u8; rows * columns];
    let lines = codes.par_chunks_mut(columns.max(1)).enumerate();
    lines.for_each(|(row, codes)| {
        let middles = middles(palettes.of_row(row));
        for (code, &weight) in codes.iter_mut().zip(weights.row(row)) {
            *code = nearest(&middles, weight) as u8;
        }
    });
    Ok(Solved {
        method: Method::Palette,
        codes: Codes {
            rows,
            columns,
            values: codes,
        },
        grid: Grid::Palette(palettes),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

/// The weights of one palette.
struct Sample<'a> {
    weights: &'a Matrix,
    importance: Option<&'a [f32]>,
    mask: Option<&'a Mask>,
    rows: Range<usize>,
}

/// Sums over the weights of one level.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    weight: f64,
    sum: f64,
}

impl Sample<'_> {
    /// The best levels found, ascending, as `dtype` holds them.
    fn levels(&self, count: usize, dtype: ScaleDtype) -> Vec<f32> {
        let start = best_levels(&self.histogram(count), count);
        let mut best = snapped(&start, dtype);
        let (mut least, mut shares) = self.assign(&best);
        for _ in 0..ROUNDS {
            let means: Vec<f64> = shares
                .iter()
                .zip(&best)
                .map(|(share, &level)| {
                    if share.weight > 0.0 {
                        share.sum / share.weight
                    } else {
                        f64::from(level)
                    }
                })
                .collect();
            let next = snapped(&means, dtype);
            let (error, next_shares) = self.assign(&next);
            if error >= least {
                break;
            }
            (best, least, shares) = (next, error, next_shares);
        }
        best
    }

    /// Folds the kept weights of each slab, with their importance, in row order; slabs come back in order too.
    fn fold<T: Send>(
        &self,
        start: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, f32, f32) + Sync,
    ) -> Vec<T> {
        let first = self.rows.start;
        let slabs = self.rows.len().div_ceil(SLAB_ROWS);
        let fold_slab = |slab: usize| {
            let mut sum = start();
            let begin = first + slab * SLAB_ROWS;
            for row in begin..(begin + SLAB_ROWS).min(self.rows.end) {
                let keep = self.mask.map(|mask| mask.row(row));
                for (column, &weight) in self.weights.row(row).iter().enumerate() {
                    let share = self.importance.map_or(1.0, |all| all[column]);
                    if keep.is_none_or(|keep| keep[column]) {
                        add(&mut sum, weight, share);
                    }
                }
            }
            sum
        };
        (0..slabs).into_par_iter().map(fold_slab).collect()
    }

    /// Weights in bins of equal width over their range.
    fn histogram(&self, levels: usize) -> Vec<Bin> {
        let count = FEWEST_BINS.max(BINS_PER_LEVEL * levels);
        let ranges = self.fold(
            || (f32::INFINITY, f32::NEG_INFINITY),
            |(low, high), weight, _| (*low, *high) = (low.min(weight), high.max(weight)),
        );
        let (low, high) = ranges.into_iter().fold(
            (f32::INFINITY, f32::NEG_INFINITY),
            |(low, high), (other_low, other_high)| (low.min(other_low), high.max(other_high)),
        );
        if low > high {
            return Vec::new();
        }
        let (low, width) = (f64::from(low), f64::from(high) - f64::from(low));
        let per_width = if width > 0.0 {
            count as f64 / width
        } else {
            0.0
        };
        let parts = self.fold(
            || vec![Bin::default(); count],
            |bins, weight, share| {
                let place = (f64::from(weight) - low) * per_width;
                bins[(place as usize).min(count - 1)].add(f64::from(weight), f64::from(share));
            },
        );
        let mut bins = vec![Bin::default(); count];
        for part in parts {
            bins.iter_mut()
                .zip(part)
                .for_each(|(bin, other)| bin.join(other));
        }
        bins.retain(|bin| bin.weight > 0.0);
        bins
    }

    /// The error at these levels, and what lies nearest to each.
    fn assign(&self, levels: &[f32]) -> (f64, Vec<Share>) {
        let middles = middles(levels);
        let parts = self.fold(
            || (0.0f64, vec![Share::default(); levels.len()]),
            |(error, shares), weight, importance| {
                let code = nearest(&middles, weight);
                let miss = f64::from(weight) - f64::from(levels[code]);
                let importance = f64::from(importance);
                *error += importance * miss * miss;
                shares[code].weight += importance;
                shares[code].sum += importance * f64::from(weight);
            },
        );
        let mut total = (0.0, vec![Share::default(); levels.len()]);
        for (error, shares) in parts {
            total.0 += error;
            for (share, other) in total.1.iter_mut().zip(shares) {
                share.weight += other.weight;
                share.sum += other.sum;
            }
        }
        total
    }
}

/// Levels as `dtype` holds them, finite.
fn snapped(levels: &[f64], dtype: ScaleDtype) -> Vec<f32> {
    let largest = match dtype {
        ScaleDtype::F16 => half::f16::MAX.to_f32(),
        ScaleDtype::BF16 => half::bf16::MAX.to_f32(),
        ScaleDtype::F32 => f32::MAX,
    };
    levels
        .iter()
        .map(|&level| dtype.snap((level as f32).clamp(-largest, largest)))
        .collect()
}

/// Where one level gives way to the next.
fn middles(levels: &[f32]) -> Vec<f32> {
    let pairs = levels.windows(2);
    pairs.map(|pair| 0.5 * pair[0] + 0.5 * pair[1]).collect()
}

/// The nearest level; the lower one on ties.
fn nearest(middles: &[f32], weight: f32) -> usize {
    middles.partition_point(|&middle| middle < weight)
}

#[cfg(test)]
mod tests;

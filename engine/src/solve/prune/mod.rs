//! Masks by score: by magnitude, or by magnitude times the norm of the input.
//!
//! Wanda: Sun et al. 2023, arXiv 2306.11695: the score of a weight is `|w_ij| ‖x_j‖`, compared within a row or a layer. A
//! block is worth the sum of the squared scores of its weights. Nothing is sorted; rows are ranked on their own, and of a
//! whole layer the ranks are counted. The same mask at any thread count; ties keep the earlier.

mod rank;
#[cfg(test)]
mod tests;

pub(super) use rank::{Bar, keep_n_of_m, rank};

use super::SolveError;
use crate::mask::{Among, Mask, SparsityPattern, kept_count};
use crate::tensor::Matrix;
use rayon::prelude::*;
use std::ops::Range;

/// Rows that one task ranks.
const SLAB_ROWS: usize = 16;

/// What a mask is asked to be. No field has a hidden default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskConfig {
    /// Where zeros may lie.
    pub pattern: SparsityPattern,
    /// Share of zeros, 0 to 1; not looked at for N:M.
    pub sparsity: f64,
    /// Which weights compete; not looked at for N:M.
    pub among: Among,
}

/// The mask that keeps the weights of the largest scores: exactly as many as `SparsityPattern::stored_values` says, but
/// for what of a tail block is no weight.
///
/// `mean_square` is that of each input (Wanda); none scores by magnitude alone.
pub fn mask_by_score(
    weights: &Matrix,
    mean_square: Option<&[f32]>,
    config: MaskConfig,
) -> Result<Mask, SolveError> {
    super::check_finite(weights)?;
    if let Some(found) = mean_square.map(<[f32]>::len)
        && found != weights.columns()
    {
        return Err(SolveError::Shape {
            what: "the mean square of the inputs",
            expected: weights.columns(),
            found,
        });
    }
    let columns = weights.columns();
    let mut keep = vec![false; weights.data().len()];
    let norms = mean_square.map(|squares| squares.iter().map(|square| square.sqrt()).collect());
    let scored = Scored {
        weights,
        norms,
        unit: config.pattern.unit(),
    };
    if columns > 0 {
        match config.pattern {
            SparsityPattern::NOfM { kept, of } => {
                let of = usize::from(of.max(1));
                scored.each_row(&mut keep, |_, ranks, _, keep| {
                    keep_n_of_m(ranks, usize::from(kept), of, keep);
                });
            }
            SparsityPattern::Unstructured | SparsityPattern::Block { .. } => {
                scored.choose(config, &mut keep);
            }
        }
    }
    Ok(Mask {
        pattern: config.pattern,
        columns,
        keep,
    })
}

/// Units of a span of so many columns.
pub(super) fn units_of_span(columns: usize, unit: usize) -> usize {
    (columns / unit).max(1)
}

/// A matrix with the scores of its weights.
struct Scored<'a> {
    weights: &'a Matrix,
    norms: Option<Vec<f32>>,
    unit: usize,
}

impl Scored<'_> {
    fn units(&self) -> usize {
        self.weights.columns().div_ceil(self.unit)
    }

    /// Ranks of some units of one row.
    fn ranks(&self, row: usize, units: Range<usize>, ranks: &mut [u32]) {
        let columns = self.weights.columns();
        let span = units.start * self.unit..(units.end * self.unit).min(columns);
        let weights = &self.weights.row(row)[span.clone()];
        match (&self.norms, self.unit) {
            (None, 1) => {
                for (target, weight) in ranks.iter_mut().zip(weights) {
                    *target = rank(weight.abs());
                }
            }
            (Some(norms), 1) => {
                let pairs = weights.iter().zip(&norms[span]);
                for (target, (weight, norm)) in ranks.iter_mut().zip(pairs) {
                    *target = rank(weight.abs() * norm);
                }
            }
            (norms, unit) => {
                let first = span.start;
                let blocks = weights.chunks(unit).enumerate();
                for (target, (block, weights)) in ranks.iter_mut().zip(blocks) {
                    let norms = norms.as_ref().map(|norms| &norms[first + block * unit..]);
                    *target = rank(block_score(weights, norms));
                }
            }
        }
    }

    /// Hands each row its place, ranks, a scratch space and its part of the mask.
    fn each_row(
        &self,
        keep: &mut [bool],
        work: impl Fn(usize, &[u32], &mut Vec<u32>, &mut [bool]) + Sync,
    ) {
        let columns = self.weights.columns();
        let slabs = keep.par_chunks_mut(SLAB_ROWS * columns).enumerate();
        slabs.for_each_init(
            || (vec![0u32; self.units()], Vec::new()),
            |(ranks, scratch), (slab, keep)| {
                for (offset, keep) in keep.chunks_mut(columns).enumerate() {
                    let row = slab * SLAB_ROWS + offset;
                    self.ranks(row, 0..self.units(), ranks);
                    work(row, ranks, scratch, keep);
                }
            },
        );
    }

    fn choose(&self, config: MaskConfig, keep: &mut [bool]) {
        let units = self.units();
        let span = match config.among {
            Among::Row | Among::Layer => units,
            Among::Span(columns) | Among::RowSpan(columns) => units_of_span(columns, self.unit),
        };
        match config.among {
            Among::Row | Among::RowSpan(_) => self.each_row(keep, |_, ranks, scratch, keep| {
                let spans = ranks.chunks(span).zip(keep.chunks_mut(span * self.unit));
                for (ranks, keep) in spans {
                    let count = kept_count(ranks.len(), config.sparsity);
                    let bar = Bar::of(ranks, count, scratch);
                    mark_units(bar, ranks, self.unit, keep);
                }
            }),
            Among::Layer | Among::Span(_) => {
                for first in (0..units).step_by(span) {
                    let chosen = first..(first + span).min(units);
                    self.choose_together(chosen, config.sparsity, keep);
                }
            }
        }
    }

    /// Chooses among these units of all rows.
    fn choose_together(&self, units: Range<usize>, sparsity: f64, keep: &mut [bool]) {
        let (rows, columns) = (self.weights.rows(), self.weights.columns());
        let count = kept_count(rows * units.len(), sparsity);
        let slabs = rows.div_ceil(SLAB_ROWS);
        let rows_of = |slab: usize| slab * SLAB_ROWS..((slab + 1) * SLAB_ROWS).min(rows);
        let bar = Bar::of_parts(slabs, count, |slab, hand| {
            let mut ranks = vec![0; units.len()];
            for row in rows_of(slab) {
                self.ranks(row, units.clone(), &mut ranks);
                hand(&ranks);
            }
        });
        let ties: Vec<usize> = (0..slabs)
            .into_par_iter()
            .map(|slab| {
                let mut ranks = vec![0; units.len()];
                let tied = rows_of(slab).map(|row| {
                    self.ranks(row, units.clone(), &mut ranks);
                    bar.count_ties(&ranks)
                });
                tied.sum()
            })
            .collect();
        let bars = shared_out(bar, &ties);
        let slabs = keep.par_chunks_mut(SLAB_ROWS * columns).zip(bars);
        slabs.enumerate().for_each(|(slab, (keep, mut bar))| {
            let mut ranks = vec![0; units.len()];
            let mut chosen = vec![false; units.len()];
            for (row, keep) in rows_of(slab).zip(keep.chunks_mut(columns)) {
                self.ranks(row, units.clone(), &mut ranks);
                bar.mark(&ranks, &mut chosen);
                let span = units.start * self.unit..(units.end * self.unit).min(columns);
                spread(&chosen, self.unit, &mut keep[span]);
            }
        });
    }
}

/// The same bar for several parts, its ties given to the earliest parts that have some.
pub(super) fn shared_out(bar: Bar, ties: &[usize]) -> Vec<Bar> {
    let mut left = bar.ties;
    let bars = ties.iter().map(|&here| {
        let ties = here.min(left);
        left -= ties;
        Bar { ties, ..bar }
    });
    bars.collect()
}

/// `Σ (w ‖x‖)²` of one block.
fn block_score(weights: &[f32], norms: Option<&[f32]>) -> f32 {
    let squares = weights.iter().enumerate().map(|(index, weight)| {
        let score = weight * norms.map_or(1.0, |norms| norms[index]);
        score * score
    });
    squares.sum()
}

fn mark_units(mut bar: Bar, ranks: &[u32], unit: usize, keep: &mut [bool]) {
    if unit == 1 {
        return bar.mark(ranks, keep);
    }
    let mut chosen = vec![false; ranks.len()];
    bar.mark(ranks, &mut chosen);
    spread(&chosen, unit, keep);
}

/// Marks all weights of a unit as the unit is.
fn spread(chosen: &[bool], unit: usize, keep: &mut [bool]) {
    for (&chosen, keep) in chosen.iter().zip(keep.chunks_mut(unit)) {
        keep.fill(chosen);
    }
}

/// `weights` with zeros where `mask` says so.
pub(super) fn masked(weights: &Matrix, mask: &Mask) -> Matrix {
    let mut masked = weights.clone();
    let pairs = masked.data_mut().par_iter_mut().zip(&mask.keep);
    pairs.for_each(|(weight, &keep)| *weight = if keep { *weight } else { 0.0 });
    masked
}

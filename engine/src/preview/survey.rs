//! One pass over a layer before and after: sums, histograms, channels, codes and what was cut off.
//!
//! Slabs of rows are surveyed in parallel and merged in order, so that no figure depends on the thread count.

use super::Channel;
use super::estimate::ratio;
use super::reach::{Reach, group_size};
use crate::distortion::{HistogramCounter, Histograms};
use crate::monitor::{Monitor, Stopped};
use crate::solved::{Grid, Solved};
use crate::tensor::Matrix;
use rayon::prelude::*;

/// Rows of one slab: the unit in which work is split and sums are added.
const SLAB_ROWS: usize = 32;

/// What was seen of a layer, or of some of its rows.
#[derive(Debug)]
pub(super) struct Survey {
    /// `Σ w²`.
    pub(super) signal: f64,
    /// `Σ (w-q)²`.
    pub(super) error: f64,
    /// `max |w-q|`.
    pub(super) max_error: f64,
    /// Weights whose rounding was cut off.
    pub(super) clipped: u64,
    /// Smallest representable weight.
    pub(super) clip_low: f32,
    /// Largest representable weight.
    pub(super) clip_high: f32,
    /// `Σ w q`.
    product: f64,
    /// `Σ q²`.
    solved_signal: f64,
    used: [bool; 256],
    /// Of each column, the largest weight.
    abs_max: Vec<f32>,
    /// Of each column, `Σ (w-q)²`.
    column_error: Vec<f64>,
    before: HistogramCounter,
    after: HistogramCounter,
    moved: HistogramCounter,
    /// What became zero by the mask; `None` without one.
    pruned: Option<HistogramCounter>,
}

impl Survey {
    /// Surveys a layer; without `solved` it stays as it is.
    pub(super) fn of(
        weights: &Matrix,
        solved: Option<&Solved>,
        monitor: &dyn Monitor,
    ) -> Result<Self, Stopped> {
        let starts: Vec<usize> = (0..weights.rows()).step_by(SLAB_ROWS).collect();
        let slabs = starts
            .into_par_iter()
            .map(|first| {
                monitor.check()?;
                let last = (first + SLAB_ROWS).min(weights.rows());
                Ok(Self::of_rows(weights, solved, first..last))
            })
            .collect::<Result<Vec<Self>, Stopped>>()?;
        let nothing = Self::nothing(weights.columns());
        let mut whole = slabs.into_iter().fold(nothing, Self::merge);
        if whole.clip_low > whole.clip_high {
            (whole.clip_low, whole.clip_high) = (0.0, 0.0);
        }
        Ok(whole)
    }

    /// `||W-Q||_F / ||W||_F`.
    pub(super) fn relative_error(&self) -> Option<f64> {
        ratio(self.error, self.signal)
    }

    /// `Σ w q / (||w|| ||q||)`.
    pub(super) fn cosine(&self) -> Option<f64> {
        let norms = self.signal.sqrt() * self.solved_signal.sqrt();
        (norms > 0.0).then(|| self.product / norms)
    }

    /// Different codes met.
    pub(super) fn codes_used(&self) -> u32 {
        self.used.iter().map(|&met| u32::from(met)).sum()
    }

    /// What was seen of each column of `rows` rows.
    pub(super) fn channels(&self, rows: usize) -> Vec<Channel> {
        let columns = self.abs_max.iter().zip(&self.column_error).enumerate();
        columns
            .map(|(column, (&abs_max, error))| Channel {
                column,
                abs_max,
                error_rms: (error / rows.max(1) as f64).sqrt() as f32,
            })
            .collect()
    }

    /// Histograms of weights before and after and of the error.
    pub(super) fn histograms(self) -> Histograms {
        let before = self.before.finish();
        let pruned = self.pruned.map(|pruned| pruned.finish().over(before.limit));
        Histograms {
            before,
            pruned,
            after: self.after.finish(),
            error: self.moved.finish(),
        }
    }

    fn nothing(columns: usize) -> Self {
        Self {
            signal: 0.0,
            error: 0.0,
            max_error: 0.0,
            clipped: 0,
            clip_low: f32::INFINITY,
            clip_high: f32::NEG_INFINITY,
            product: 0.0,
            solved_signal: 0.0,
            used: [false; 256],
            abs_max: vec![0.0; columns],
            column_error: vec![0.0; columns],
            before: HistogramCounter::default(),
            after: HistogramCounter::default(),
            moved: HistogramCounter::default(),
            pruned: None,
        }
    }

    fn of_rows(weights: &Matrix, solved: Option<&Solved>, rows: std::ops::Range<usize>) -> Self {
        let mut survey = Self::nothing(weights.columns());
        let mut after = vec![0.0; weights.columns()];
        let mut moved = after.clone();
        for row in rows {
            let before = weights.row(row);
            match solved {
                Some(solved) => {
                    solved.dequantize_row(row, &mut after);
                    survey.see_codes(before, solved, row);
                }
                None => {
                    after.copy_from_slice(before);
                    survey.see_range(before);
                }
            }
            survey.see_weights(before, &after, &mut moved);
        }
        survey
    }

    /// Takes in one row's codes and the reach of its groups.
    fn see_codes(&mut self, before: &[f32], solved: &Solved, row: usize) {
        let keep = solved.mask.as_ref().map(|mask| mask.row(row));
        if let Some(keep) = keep {
            let pruned = before.iter().zip(keep).filter(|(_, keep)| !**keep);
            let pruned: Vec<f32> = pruned.map(|(&weight, _)| weight).collect();
            self.pruned.get_or_insert_default().add(&pruned);
        }
        if matches!(solved.grid, Grid::Floats(_) | Grid::Nothing) {
            // No codes end anywhere.
            return self.see_range(before);
        }
        let mut keep = keep.into_iter().flatten();
        for &code in solved.codes.row(row) {
            // Codes that zeros leave out mean nothing.
            self.used[usize::from(code)] |= keep.next() != Some(&false);
        }
        for (group, weights) in before.chunks(group_size(solved)).enumerate() {
            let reach = Reach::of(solved, row, group);
            self.clip_low = self.clip_low.min(reach.low);
            self.clip_high = self.clip_high.max(reach.high);
            self.clipped += reach.cut_off(weights);
        }
    }

    /// Takes in a row that stays as it is: what it holds is what it can represent.
    fn see_range(&mut self, before: &[f32]) {
        for &weight in before {
            self.clip_low = self.clip_low.min(weight);
            self.clip_high = self.clip_high.max(weight);
        }
    }

    /// Takes in one row before and after; `moved` is room for the difference.
    fn see_weights(&mut self, before: &[f32], after: &[f32], moved: &mut [f32]) {
        let mut largest = 0.0f32;
        let columns = self.abs_max.iter_mut().zip(&mut self.column_error);
        let values = before.iter().zip(after).zip(moved.iter_mut());
        for (((&before, &after), moved), (abs_max, column_error)) in values.zip(columns) {
            *moved = after - before;
            let magnitude = before.abs();
            *abs_max = if magnitude > *abs_max {
                magnitude
            } else {
                *abs_max
            };
            let distance = moved.abs();
            largest = if distance > largest {
                distance
            } else {
                largest
            };
            let (before, after) = (f64::from(before), f64::from(after));
            let squared = (after - before) * (after - before);
            *column_error += squared;
            self.error += squared;
            self.signal += before * before;
            self.product += before * after;
            self.solved_signal += after * after;
        }
        self.max_error = self.max_error.max(f64::from(largest));
        self.before.add(before);
        self.after.add(after);
        self.moved.add(moved);
    }

    /// Both together; `later` are the rows behind the own.
    fn merge(mut self, later: Self) -> Self {
        let add = |sums: &mut Vec<f64>, terms: Vec<f64>| {
            sums.iter_mut()
                .zip(terms)
                .for_each(|(sum, term)| *sum += term);
        };
        add(&mut self.column_error, later.column_error);
        for (largest, other) in self.abs_max.iter_mut().zip(later.abs_max) {
            *largest = largest.max(other);
        }
        for (met, other) in self.used.iter_mut().zip(later.used) {
            *met |= other;
        }
        Self {
            signal: self.signal + later.signal,
            error: self.error + later.error,
            max_error: self.max_error.max(later.max_error),
            clipped: self.clipped + later.clipped,
            clip_low: self.clip_low.min(later.clip_low),
            clip_high: self.clip_high.max(later.clip_high),
            product: self.product + later.product,
            solved_signal: self.solved_signal + later.solved_signal,
            before: self.before.merge(later.before),
            after: self.after.merge(later.after),
            moved: self.moved.merge(later.moved),
            pruned: match (self.pruned, later.pruned) {
                (Some(pruned), Some(later)) => Some(pruned.merge(later)),
                (pruned, later) => pruned.or(later),
            },
            ..self
        }
    }
}

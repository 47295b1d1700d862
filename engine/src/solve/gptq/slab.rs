//! Some rows on their way through the columns: one column per line, rows in lanes.
//!
//! A slab goes left to right over spans of columns: one matrix product sums what all earlier errors do to a span, a
//! triangular recursion finishes it in cache. Rows know nothing of each other.

use super::plan::Step;
use super::sweep::{Part, Way};
use super::zeros::Choosing;
use crate::kernels::{
    Choice, Operand, PruneTile, RoundTile, Threads, gemm, prune_columns, round_columns, transpose,
};
use crate::linalg::{copy_block, solve_unit_lower};
use crate::mask::Mask;
use crate::tensor::Matrix;
use std::ops::Range;

/// Added to the distance between lines, so that it is no power of two and lines spread over cache sets.
const PADDING: usize = 16;

/// Some rows. Lines are columns, `stride` values apart; lanes are rows.
pub(super) struct Slab {
    pub(super) lanes: usize,
    pub(super) stride: usize,
    columns: usize,
    /// By original column.
    weights: Vec<f32>,
    /// By position: weight minus rounded weight of finished columns.
    errors: Vec<f32>,
    /// What errors before the open span add to its columns; lines count from the span's first position. Of the run that
    /// was entered, errors before the run are in it too.
    pending: Vec<f32>,
    open: Range<usize>,
    run: Range<usize>,
    /// By original column; none where weights stay floats.
    codes: Vec<u8>,
    /// By original column, where weights stay floats.
    values: Vec<f32>,
    /// By original column, where some weights become zero.
    pub(super) keep: Vec<bool>,
    /// Positions before it have their mask.
    pub(super) chosen: usize,
    /// Of the span scored last, `[lanes, units]`.
    pub(super) ranks: Vec<u32>,
    /// By group.
    scales: Vec<f32>,
    /// By group.
    zeros: Vec<f32>,
    loss: Vec<f64>,
}

impl Slab {
    pub(super) fn new(rows: usize, way: &Way<'_>) -> Self {
        let stride = rows + PADDING;
        let columns = way.columns().len();
        let lines = columns * stride;
        let groups = way.prepared.visit.groups.count();
        let (of_codes, of_values) = if way.floats { (0, 1) } else { (1, 0) };
        let of_keep = usize::from(way.choosing != Choosing::Nothing);
        Self {
            lanes: 0,
            stride,
            columns,
            weights: vec![0.0; lines],
            errors: vec![0.0; lines],
            pending: Vec::new(),
            open: 0..0,
            run: 0..0,
            codes: vec![0; lines * of_codes],
            values: vec![0.0; lines * of_values],
            keep: vec![false; lines * of_keep],
            chosen: 0,
            ranks: Vec::new(),
            scales: vec![1.0; groups * stride * of_codes],
            zeros: vec![0.0; groups * stride * of_codes],
            loss: vec![0.0; stride],
        }
    }

    pub(super) fn load(
        &mut self,
        way: &Way<'_>,
        weights: &Matrix,
        mask: Option<&Mask>,
        rows: Range<usize>,
    ) {
        self.lanes = rows.len();
        let (lanes, stride, columns) = (self.lanes, self.stride, self.columns);
        let span = rows.start * columns..rows.end * columns;
        let source = &weights.data()[span.clone()];
        transpose(&mut self.weights, stride, source, columns, lanes, columns);
        let dead = &way.prepared.factor.dead;
        let lines = self.weights.chunks_exact_mut(stride).zip(dead);
        for (line, _) in lines.filter(|&(_, &dead)| dead) {
            line.fill(0.0);
        }
        self.chosen = 0;
        if let Some(mask) = mask {
            let source = &mask.keep[span];
            transpose(&mut self.keep, stride, source, columns, lanes, columns);
            self.chosen = columns;
        }
        self.loss.fill(0.0);
        if !way.floats && way.prepared.visit.whole_groups.is_empty() {
            self.fit_all(way);
        }
    }

    /// Takes one step. Choices are made row by row.
    pub(super) fn take(&mut self, way: &Way<'_>, step: &Step) {
        match step {
            Step::Open(span) => {
                self.open = span.clone();
                let mut pending = std::mem::take(&mut self.pending);
                pending.clear();
                pending.resize(span.len() * self.stride, 0.0);
                self.add_errors(way, 0..span.start, span.clone(), &mut pending);
                self.pending = pending;
            }
            Step::Enter(run) => {
                self.run = run.clone();
                self.add_pending(way, self.open.start..run.start, run.clone());
            }
            Step::Choose(span) => {
                self.score(way, span.clone());
                self.choose_by_row(way, span.clone());
            }
            Step::Fit { group, positions } => self.fit_group(way, *group, positions.clone()),
            Step::Round(block) => {
                self.add_pending(way, self.run.start..block.start, block.clone());
                self.round_block(way, block.clone());
            }
        }
    }

    /// Fits every group from the weights as they came.
    fn fit_all(&mut self, way: &Way<'_>) {
        let (lanes, stride) = (self.lanes, self.stride);
        let groups = way.prepared.visit.groups;
        let dropped = (way.choosing != Choosing::Nothing).then(|| self.with_zeros(way));
        let weights = dropped.as_ref().unwrap_or(&self.weights);
        for group in 0..groups.count() {
            let range = groups.range(group);
            let lines = weights.chunks_exact(stride);
            way.fitting.fit_lanes(
                lines.skip(range.start).take(range.len()),
                &way.prepared.importance[range],
                &mut self.scales[group * stride..][..lanes],
                &mut self.zeros[group * stride..][..lanes],
            );
        }
    }

    /// The weights as they came, with the zeros that would be chosen from them, by original column.
    fn with_zeros(&self, way: &Way<'_>) -> Vec<f32> {
        let stride = self.stride;
        let mut ordered = Vec::with_capacity(self.weights.len());
        for &column in way.columns() {
            ordered.extend_from_slice(&self.weights[column * stride..][..stride]);
        }
        self.drop_lines(way, 0..self.columns, &mut ordered);
        let mut weights = vec![0.0; ordered.len()];
        for (line, &column) in ordered.chunks_exact(stride).zip(way.columns()) {
            weights[column * stride..][..stride].copy_from_slice(line);
        }
        weights
    }

    /// Fits the group that was just entered from its columns as all earlier errors have moved them.
    fn fit_group(&mut self, way: &Way<'_>, group: usize, positions: Range<usize>) {
        let (lanes, stride) = (self.lanes, self.stride);
        let mut moved = self.settled(way, positions.clone());
        if way.choosing != Choosing::Nothing {
            self.drop_lines(way, positions.clone(), &mut moved);
        }
        way.fitting.fit_lanes(
            moved.chunks_exact(stride),
            &way.importance[positions],
            &mut self.scales[group * stride..][..lanes],
            &mut self.zeros[group * stride..][..lanes],
        );
    }

    /// Columns as all errors before the first of them have moved them: `W + E_F R_FS R_SS⁻¹`. The first is the next to be
    /// rounded.
    pub(super) fn settled(&self, way: &Way<'_>, positions: Range<usize>) -> Vec<f32> {
        let (lanes, stride, first) = (self.lanes, self.stride, positions.start);
        let mut moved = vec![0.0; positions.len() * stride];
        // What is known of a column depends on where it lies: in this run, in the open span, or beyond.
        let ends = [self.run.end, self.open.end, positions.end];
        let knowns = [self.run.start, self.open.start, 0];
        let mut start = first;
        for (end, known) in ends.into_iter().zip(knowns) {
            let part = start..end.clamp(start, positions.end);
            let target = &mut moved[(part.start - first) * stride..][..part.len() * stride];
            if part.end <= self.open.end {
                let pending = (part.start - self.open.start) * stride;
                target.copy_from_slice(&self.pending[pending..][..target.len()]);
            }
            start = part.end;
            self.add_errors(way, known..first, part, target);
        }
        if first > 0 {
            let unit = &way.unit()[first * self.columns + first..];
            solve_unit_lower(&mut moved, stride, lanes, unit, self.columns);
        }
        let columns = &way.columns()[positions];
        for (line, &column) in moved.chunks_exact_mut(stride).zip(columns) {
            let weights = &self.weights[column * stride..][..lanes];
            for (value, &weight) in line.iter_mut().zip(weights) {
                *value += weight;
            }
        }
        moved
    }

    /// Adds to `pending` of the positions `to` what the errors of the positions `from` do to them.
    fn add_pending(&mut self, way: &Way<'_>, from: Range<usize>, to: Range<usize>) {
        let mut pending = std::mem::take(&mut self.pending);
        let first = (to.start - self.open.start) * self.stride;
        self.add_errors(way, from, to, &mut pending[first..]);
        self.pending = pending;
    }

    /// Adds to `target`, lines at the positions `to`, what the errors of the positions `from` do to them.
    fn add_errors(&self, way: &Way<'_>, from: Range<usize>, to: Range<usize>, target: &mut [f32]) {
        if from.is_empty() || to.is_empty() {
            return;
        }
        let unit = &way.unit()[to.start * self.columns + from.start..];
        let errors = &self.errors[from.start * self.stride..];
        gemm(
            target,
            self.stride,
            [to.len(), self.lanes, from.len()],
            (
                Operand::new(unit, self.columns),
                Operand::new(errors, self.stride),
            ),
            (1.0, 1.0),
            Threads::One,
        );
    }

    /// Rounds positions whose steps are known and whose `pending` holds everything before the first of them.
    fn round_block(&mut self, way: &Way<'_>, block: Range<usize>) {
        let stride = self.stride;
        let columns = &way.columns()[block.clone()];
        let errors = &mut self.errors[block.start * stride..block.end * stride];
        for (line, &column) in errors.chunks_exact_mut(stride).zip(columns) {
            line.copy_from_slice(&self.weights[column * stride..][..stride]);
        }
        let len = errors.len();
        let mut codes = vec![0; if way.floats { 0 } else { len }];
        let mut values = vec![0.0; if way.floats { len } else { 0 }];
        let group_of = way.group_of.get(block.clone()).unwrap_or_default();
        let tile = RoundTile {
            stride,
            lanes: self.lanes,
            factor: &copy_block(way.unit(), self.columns, block.clone()),
            pending: &self.pending[(block.start - self.open.start) * stride..],
            errors,
            codes: &mut codes,
            scales: &self.scales,
            zeros: &self.zeros,
            group_of,
            max_code: way.max_code,
            price: &way.prepared.factor.price[block.clone()],
            loss: &mut self.loss,
        };
        if way.choosing == Choosing::Nothing && !way.floats {
            round_columns(tile);
        } else {
            let mut keep = gathered(&self.keep, columns, stride);
            let choice = match way.choosing {
                Choosing::Neighbours { kept, of } => Some(Choice {
                    kept,
                    of,
                    pivots: &way.pivots[block],
                }),
                _ => None,
            };
            prune_columns(PruneTile {
                round: tile,
                keep: &mut keep,
                choice,
                values: way.floats.then_some(&mut values[..]),
            });
            if choice.is_some() {
                scatter(&mut self.keep, columns, &keep, stride);
            }
        }
        if way.floats {
            scatter(&mut self.values, columns, &values, stride);
        } else {
            scatter(&mut self.codes, columns, &codes, stride);
        }
    }

    pub(super) fn store(&self, part: Part<'_>) {
        let (lanes, stride, columns) = (self.lanes, self.stride, self.columns);
        let groups = part.scales.len() / lanes.max(1);
        if self.codes.is_empty() {
            transpose(part.values, columns, &self.values, stride, columns, lanes);
        } else {
            transpose(part.codes, columns, &self.codes, stride, columns, lanes);
            transpose(part.scales, groups, &self.scales, stride, groups, lanes);
            transpose(part.zeros, groups, &self.zeros, stride, groups, lanes);
        }
        if !self.keep.is_empty() {
            transpose(part.keep, columns, &self.keep, stride, columns, lanes);
        }
        part.losses.copy_from_slice(&self.loss[..lanes]);
    }
}

/// Lines of some columns one after the other; all true where there is no mask.
fn gathered(lines: &[bool], columns: &[usize], stride: usize) -> Vec<bool> {
    if lines.is_empty() {
        return vec![true; columns.len() * stride];
    }
    let lines = columns
        .iter()
        .flat_map(|&column| &lines[column * stride..][..stride]);
    lines.copied().collect()
}

/// Puts lines back to their columns.
fn scatter<T: Copy>(target: &mut [T], columns: &[usize], lines: &[T], stride: usize) {
    for (line, &column) in lines.chunks_exact(stride).zip(columns) {
        target[column * stride..][..stride].copy_from_slice(line);
    }
}

//! The sweep over columns: row slabs that never wait for each other.
//!
//! A slab keeps its weights, errors and codes with one column per line, rows in lanes. It goes left to right over spans of
//! columns: one matrix product sums what all earlier errors do to a span, a triangular recursion finishes it in cache.
//! Slabs depend on the number of rows alone, so that one thread and many give the same bytes.

use super::order::Span;
use super::steps::Fitting;
use super::{GptqConfig, Prepared, SolveError};
use crate::grid::AffineGrid;
use crate::kernels::{Operand, RoundTile, Threads, gemm, round_columns, transpose};
use crate::linalg::{copy_block, solve_unit_lower};
use crate::monitor::Monitor;
use crate::tensor::Matrix;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Largest number of rows of a slab: the factor is read once per slab, so more rows would only cost cache.
const LARGEST_SLAB: usize = 256;
/// Smallest: what the recursion holds in registers.
const SMALLEST_SLAB: usize = 64;
/// Slabs that a layer is cut into where it has enough rows.
const WANTED_SLABS: usize = 8;
/// Columns of the triangular recursion: its lines stay in the first-level cache, the rest of a span is products.
const INNER_BLOCK: usize = 64;
/// Added to the distance between lines, so that it is no power of two and lines spread over cache sets.
const PADDING: usize = 16;

/// Rounds all of `weights` into `codes` `[rows, columns]` and `grid`. Returns the loss.
pub(super) fn sweep(
    prepared: &Prepared,
    weights: &Matrix,
    config: &GptqConfig,
    monitor: &dyn Monitor,
    grid: &mut AffineGrid,
    codes: &mut [u8],
) -> Result<f64, SolveError> {
    let (rows, columns) = (weights.rows(), weights.columns());
    if rows == 0 || columns == 0 {
        return Ok(0.0);
    }
    let slab_rows = slab_rows(rows);
    let groups = grid.groups().count();
    let way = Way::new(prepared, config);
    let mut losses = vec![0.0f64; rows];
    let finished = AtomicU64::new(0);
    let results = codes
        .par_chunks_mut(slab_rows * columns)
        .zip(grid.scales.par_chunks_mut(slab_rows * groups))
        .zip(grid.zeros.par_chunks_mut(slab_rows * groups))
        .zip(losses.par_chunks_mut(slab_rows))
        .enumerate();
    // Working memory goes from one slab to the next: fresh pages cost as much as a tenth of the sweep.
    let idle: Mutex<Vec<Slab>> = Mutex::default();
    let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    results.try_for_each(|(index, (((codes, scales), zeros), losses))| {
        let reused = idle().pop();
        let mut slab = reused.unwrap_or_else(|| Slab::new(slab_rows, columns, groups));
        let first = index * slab_rows;
        let rows_here = first..first + losses.len();
        slab.load(weights, rows_here, &prepared.factor.dead);
        slab.solve(&way, monitor)?;
        slab.store(codes, scales, zeros, losses);
        idle().push(slab);
        let done = finished.fetch_add(losses.len() as u64, Ordering::Relaxed);
        monitor.step(done + losses.len() as u64, rows as u64);
        Ok::<(), SolveError>(())
    })?;
    Ok(losses.iter().sum())
}

fn slab_rows(rows: usize) -> usize {
    rows.div_ceil(WANTED_SLABS)
        .next_multiple_of(SMALLEST_SLAB)
        .clamp(SMALLEST_SLAB, LARGEST_SLAB)
}

/// What all slabs of a sweep share.
struct Way<'a> {
    prepared: &'a Prepared,
    inner: usize,
    fitting: Fitting,
    max_code: f32,
    spans: Vec<Span>,
    /// Mean square of the input at each position.
    importance: Vec<f32>,
    /// Group of the column at each position.
    group_of: Vec<usize>,
}

impl<'a> Way<'a> {
    fn new(prepared: &'a Prepared, config: &GptqConfig) -> Self {
        let visit = &prepared.visit;
        let at = |column: &usize| prepared.importance[*column];
        Self {
            prepared,
            inner: config.block.clamp(1, INNER_BLOCK),
            fitting: Fitting {
                grid: config.grid,
                clip_search: config.clip_search,
            },
            max_code: f32::from(config.grid.max_code()),
            spans: visit.spans(config.block),
            importance: visit.columns.iter().map(at).collect(),
            group_of: visit
                .columns
                .iter()
                .map(|&column| visit.groups.of(column))
                .collect(),
        }
    }

    /// `R_ij / R_jj` at `[j, i]`, row-major.
    fn unit(&self) -> &[f32] {
        &self.prepared.factor.unit
    }

    fn columns(&self) -> &[usize] {
        &self.prepared.visit.columns
    }
}

/// Some rows on their way through the columns. Lines are columns, `stride` values apart; lanes are rows.
struct Slab {
    lanes: usize,
    stride: usize,
    columns: usize,
    /// By original column.
    weights: Vec<f32>,
    /// By position: weight minus rounded weight of finished columns.
    errors: Vec<f32>,
    /// What errors before a span add to its columns; lines count from the span's first position.
    pending: Vec<f32>,
    /// By original column.
    codes: Vec<u8>,
    /// By group.
    scales: Vec<f32>,
    /// By group.
    zeros: Vec<f32>,
    loss: Vec<f64>,
}

impl Slab {
    fn new(rows: usize, columns: usize, groups: usize) -> Self {
        let stride = rows + PADDING;
        Self {
            lanes: 0,
            stride,
            columns,
            weights: vec![0.0; columns * stride],
            errors: vec![0.0; columns * stride],
            pending: Vec::new(),
            codes: vec![0; columns * stride],
            scales: vec![1.0; groups * stride],
            zeros: vec![0.0; groups * stride],
            loss: vec![0.0; stride],
        }
    }

    fn load(&mut self, weights: &Matrix, rows: Range<usize>, dead: &[bool]) {
        self.lanes = rows.len();
        let source = &weights.data()[rows.start * self.columns..rows.end * self.columns];
        let (lanes, columns) = (self.lanes, self.columns);
        transpose(
            &mut self.weights,
            self.stride,
            source,
            columns,
            lanes,
            columns,
        );
        for (line, _) in self
            .weights
            .chunks_exact_mut(self.stride)
            .zip(dead)
            .filter(|&(_, &dead)| dead)
        {
            line.fill(0.0);
        }
        self.loss.fill(0.0);
    }

    fn solve(&mut self, way: &Way<'_>, monitor: &dyn Monitor) -> Result<(), SolveError> {
        let visit = &way.prepared.visit;
        if visit.whole_groups.is_empty() {
            self.fit_all(way);
        }
        for span in &way.spans {
            monitor.check()?;
            let start = span.positions.start;
            self.pending.clear();
            self.pending.resize(span.positions.len() * self.stride, 0.0);
            self.add_errors(way, 0..start, span.positions.clone(), start);
            if span.whole_groups.is_empty() {
                self.round(way, span.positions.clone(), start);
            }
            for visited in &visit.whole_groups[span.whole_groups.clone()] {
                let positions = visited.positions.clone();
                self.add_errors(way, start..positions.start, positions.clone(), start);
                self.fit_group(way, visited.group, positions.clone(), start);
                self.round(way, positions, start);
            }
        }
        Ok(())
    }

    /// Fits every group from the weights as they came.
    fn fit_all(&mut self, way: &Way<'_>) {
        let (lanes, stride) = (self.lanes, self.stride);
        let groups = way.prepared.visit.groups;
        for group in 0..groups.count() {
            let range = groups.range(group);
            let lines = self.weights.chunks_exact(stride);
            way.fitting.fit_lanes(
                lines.skip(range.start).take(range.len()),
                &way.prepared.importance[range],
                &mut self.scales[group * stride..][..lanes],
                &mut self.zeros[group * stride..][..lanes],
            );
        }
    }

    /// Fits one group from its columns as all earlier errors have moved them: `W + E_F R_FS R_SS⁻¹`.
    fn fit_group(&mut self, way: &Way<'_>, group: usize, positions: Range<usize>, start: usize) {
        let (lanes, stride, first) = (self.lanes, self.stride, positions.start);
        let offset = (first - start) * stride;
        let mut moved = self.pending[offset..][..positions.len() * stride].to_vec();
        if first > 0 {
            let unit = &way.unit()[first * self.columns + first..];
            solve_unit_lower(&mut moved, stride, lanes, unit, self.columns);
        }
        for (line, &column) in moved
            .chunks_exact_mut(stride)
            .zip(&way.columns()[positions.clone()])
        {
            let weights = &self.weights[column * stride..][..lanes];
            for (value, &weight) in line.iter_mut().zip(weights) {
                *value += weight;
            }
        }
        way.fitting.fit_lanes(
            moved.chunks_exact(stride),
            &way.importance[positions],
            &mut self.scales[group * stride..][..lanes],
            &mut self.zeros[group * stride..][..lanes],
        );
    }

    /// Adds to `pending` of the positions `to` what the errors of the positions `from` do to them.
    fn add_errors(&mut self, way: &Way<'_>, from: Range<usize>, to: Range<usize>, start: usize) {
        if from.is_empty() {
            return;
        }
        let unit = &way.unit()[to.start * self.columns + from.start..];
        let errors = &self.errors[from.start * self.stride..];
        let target = &mut self.pending[(to.start - start) * self.stride..];
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
    fn round(&mut self, way: &Way<'_>, positions: Range<usize>, start: usize) {
        for first in positions.clone().step_by(way.inner) {
            let block = first..(first + way.inner).min(positions.end);
            self.add_errors(way, positions.start..first, block.clone(), start);
            self.round_block(way, block, start);
        }
    }

    fn round_block(&mut self, way: &Way<'_>, block: Range<usize>, start: usize) {
        let (stride, lanes) = (self.stride, self.lanes);
        let columns = &way.columns()[block.clone()];
        let errors = &mut self.errors[block.start * stride..block.end * stride];
        for (line, &column) in errors.chunks_exact_mut(stride).zip(columns) {
            line.copy_from_slice(&self.weights[column * stride..][..stride]);
        }
        let mut codes = vec![0; errors.len()];
        round_columns(RoundTile {
            stride,
            lanes,
            factor: &copy_block(way.unit(), self.columns, block.clone()),
            pending: &self.pending[(block.start - start) * stride..],
            errors,
            codes: &mut codes,
            scales: &self.scales,
            zeros: &self.zeros,
            group_of: &way.group_of[block.clone()],
            max_code: way.max_code,
            price: &way.prepared.factor.price[block],
            loss: &mut self.loss,
        });
        for (line, &column) in codes.chunks_exact(stride).zip(columns) {
            self.codes[column * stride..][..lanes].copy_from_slice(&line[..lanes]);
        }
    }

    fn store(&self, codes: &mut [u8], scales: &mut [f32], zeros: &mut [f32], losses: &mut [f64]) {
        let (lanes, stride, columns) = (self.lanes, self.stride, self.columns);
        let groups = scales.len() / lanes;
        transpose(codes, columns, &self.codes, stride, columns, lanes);
        transpose(scales, groups, &self.scales, stride, groups, lanes);
        transpose(zeros, groups, &self.zeros, stride, groups, lanes);
        losses.copy_from_slice(&self.loss[..lanes]);
    }
}

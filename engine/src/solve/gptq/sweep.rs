//! The sweep over columns: row slabs that never wait for each other, but where zeros are chosen among all rows.
//!
//! Slabs depend on the number of rows alone, so that one thread and many give the same bytes.

use super::plan::{self, Step};
use super::slab::Slab;
use super::steps::Fitting;
use super::zeros::Choosing;
use super::{GptqConfig, Prepared, SolveError, Zeros};
use crate::grid::AffineGrid;
use crate::mask::{Among, Mask, kept_count};
use crate::monitor::Monitor;
use crate::solve::prune::{Bar, MaskConfig, shared_out};
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

/// Where results go, `[rows, columns]` each; empty where they are not asked for.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) codes: Vec<u8>,
    pub(super) grid: Option<AffineGrid>,
    pub(super) values: Vec<f32>,
    pub(super) keep: Vec<bool>,
}

/// What one slab fills of the target.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) rows: Range<usize>,
    pub(super) codes: &'a mut [u8],
    pub(super) scales: &'a mut [f32],
    pub(super) zeros: &'a mut [f32],
    pub(super) values: &'a mut [f32],
    pub(super) keep: &'a mut [bool],
    pub(super) losses: &'a mut [f64],
}

/// Rounds all of `weights` into `target`, or drops some and leaves the others floats where `target` has no grid. Returns
/// the loss.
pub(super) fn sweep(
    prepared: &Prepared,
    weights: &Matrix,
    config: &GptqConfig,
    zeros: &Zeros<'_>,
    monitor: &dyn Monitor,
    target: &mut Target,
) -> Result<f64, SolveError> {
    let (rows, columns) = (weights.rows(), weights.columns());
    if rows == 0 || columns == 0 {
        return Ok(0.0);
    }
    let way = Way::new(prepared, config, zeros, target.grid.is_none());
    let mut losses = vec![0.0f64; rows];
    let work = Work {
        way: &way,
        weights,
        mask: zeros.given(),
        slab_rows: slab_rows(rows),
        monitor,
    };
    let parts = parts(target, &mut losses, work.slab_rows, columns);
    match zeros.chosen().map(|config| (config, config.among)) {
        Some((config, Among::Span(_) | Among::Layer)) if way.choosing.span().is_some() => {
            work.together(parts, config)?;
        }
        _ => work.apart(parts)?,
    }
    Ok(losses.iter().sum())
}

fn slab_rows(rows: usize) -> usize {
    rows.div_ceil(WANTED_SLABS)
        .next_multiple_of(SMALLEST_SLAB)
        .clamp(SMALLEST_SLAB, LARGEST_SLAB)
}

/// Cuts what is asked for into slabs.
fn parts<'a>(
    target: &'a mut Target,
    losses: &'a mut [f64],
    slab_rows: usize,
    columns: usize,
) -> Vec<Part<'a>> {
    let rows = losses.len();
    let (scales, zeros) = match &mut target.grid {
        Some(grid) => (&mut grid.scales[..], &mut grid.zeros[..]),
        None => Default::default(),
    };
    let groups = scales.len() / rows;
    let mut codes = target.codes.chunks_mut(slab_rows * columns);
    let mut values = target.values.chunks_mut(slab_rows * columns);
    let mut keep = target.keep.chunks_mut(slab_rows * columns);
    let mut scales = scales.chunks_mut((slab_rows * groups).max(1));
    let mut zeros = zeros.chunks_mut((slab_rows * groups).max(1));
    let losses = losses.chunks_mut(slab_rows).enumerate();
    losses
        .map(|(slab, losses)| Part {
            rows: slab * slab_rows..slab * slab_rows + losses.len(),
            codes: codes.next().unwrap_or_default(),
            scales: scales.next().unwrap_or_default(),
            zeros: zeros.next().unwrap_or_default(),
            values: values.next().unwrap_or_default(),
            keep: keep.next().unwrap_or_default(),
            losses,
        })
        .collect()
}

/// What all slabs work on.
struct Work<'a> {
    way: &'a Way<'a>,
    weights: &'a Matrix,
    mask: Option<&'a Mask>,
    slab_rows: usize,
    monitor: &'a dyn Monitor,
}

impl Work<'_> {
    /// Each slab goes its way alone.
    fn apart(&self, parts: Vec<Part<'_>>) -> Result<(), SolveError> {
        let rows = self.weights.rows() as u64;
        let finished = AtomicU64::new(0);
        // Working memory goes from one slab to the next: fresh pages cost as much as a tenth of the sweep.
        let idle: Mutex<Vec<Slab>> = Mutex::default();
        let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        parts.into_par_iter().try_for_each(|part| {
            let reused = idle().pop();
            let mut slab = reused.unwrap_or_else(|| Slab::new(self.slab_rows, self.way));
            let here = part.rows.len() as u64;
            slab.load(self.way, self.weights, self.mask, part.rows.clone());
            for step in &self.way.steps {
                if let Step::Open(_) = step {
                    self.monitor.check()?;
                }
                slab.take(self.way, step);
            }
            slab.store(part);
            idle().push(slab);
            let done = finished.fetch_add(here, Ordering::Relaxed) + here;
            self.monitor.step(done, rows);
            Ok::<(), SolveError>(())
        })
    }

    /// All slabs reach a choice before any goes on, so that zeros can be chosen among all rows. Between choices each goes
    /// alone: what it has just read is still at hand.
    fn together(&self, parts: Vec<Part<'_>>, config: MaskConfig) -> Result<(), SolveError> {
        let way = self.way;
        let mut slabs: Vec<Slab> = parts
            .par_iter()
            .map(|part| {
                let mut slab = Slab::new(self.slab_rows, way);
                slab.load(way, self.weights, self.mask, part.rows.clone());
                slab
            })
            .collect();
        let mut bars: Option<(Range<usize>, Vec<Bar>)> = None;
        let mut left = &way.steps[..];
        while !left.is_empty() || bars.is_some() {
            self.monitor.check()?;
            let alone = left.iter().position(|step| matches!(step, Step::Choose(_)));
            let (steps, rest) = left.split_at(alone.unwrap_or(left.len()));
            let (next, rest) = match rest.split_first() {
                Some((Step::Choose(span), rest)) => (Some(span), rest),
                _ => (None, rest),
            };
            let chosen = bars.take();
            slabs.par_iter_mut().enumerate().for_each(|(index, slab)| {
                if let Some((span, bars)) = &chosen {
                    slab.choose_by_bar(way, span.clone(), bars[index]);
                }
                steps.iter().for_each(|step| slab.take(way, step));
                if let Some(span) = next {
                    slab.score(way, span.clone());
                }
            });
            bars = next.map(|span| (span.clone(), shared_bars(&slabs, config.sparsity)));
            left = rest;
            let done = (way.steps.len() - left.len()) as u64;
            self.monitor.step(done, way.steps.len() as u64);
        }
        let pairs = slabs.into_par_iter().zip(parts);
        pairs.for_each(|(slab, part)| slab.store(part));
        Ok(())
    }
}

/// One bar over what all slabs have scored.
fn shared_bars(slabs: &[Slab], sparsity: f64) -> Vec<Bar> {
    let total = slabs.iter().map(|slab| slab.ranks.len()).sum();
    let count = kept_count(total, sparsity);
    let bar = Bar::of_parts(slabs.len(), count, |slab, hand| hand(&slabs[slab].ranks));
    let ties = slabs.par_iter().map(|slab| bar.count_ties(&slab.ranks));
    let ties: Vec<usize> = ties.collect();
    shared_out(bar, &ties)
}

/// What all slabs of a sweep share.
pub(super) struct Way<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) fitting: Fitting,
    pub(super) max_code: f32,
    pub(super) steps: Vec<Step>,
    pub(super) choosing: Choosing,
    /// Whether weights that stay are not rounded.
    pub(super) floats: bool,
    /// Mean square of the input at each position.
    pub(super) importance: Vec<f32>,
    /// Group of the column at each position.
    pub(super) group_of: Vec<usize>,
    /// `R_jj` at each position: root of what a squared error costs.
    pub(super) pivots: Vec<f32>,
}

impl<'a> Way<'a> {
    fn new(prepared: &'a Prepared, config: &GptqConfig, zeros: &Zeros<'_>, floats: bool) -> Self {
        let visit = &prepared.visit;
        let choosing = zeros.choosing(visit.columns.len());
        let at = |column: &usize| prepared.importance[*column];
        let groups = visit.columns.iter().map(|&column| visit.groups.of(column));
        let pivots = prepared.factor.price.iter();
        Self {
            prepared,
            fitting: Fitting {
                grid: config.grid,
                clip_search: config.clip_search,
            },
            max_code: f32::from(config.grid.max_code()),
            steps: plan::steps(visit, config.block, choosing),
            choosing,
            floats,
            importance: visit.columns.iter().map(at).collect(),
            group_of: groups.collect(),
            pivots: pivots.map(|price| (2.0 * price).sqrt() as f32).collect(),
        }
    }

    /// `R_ij / R_jj` at `[j, i]`, row-major.
    pub(super) fn unit(&self) -> &[f32] {
        &self.prepared.factor.unit
    }

    pub(super) fn columns(&self) -> &[usize] {
        &self.prepared.visit.columns
    }

    /// Columns that are scored as one.
    pub(super) fn score_unit(&self) -> usize {
        match self.choosing {
            Choosing::Units { unit, .. } => unit,
            Choosing::Nothing | Choosing::Given | Choosing::Neighbours { .. } => 1,
        }
    }

    /// Where the columns end that are looked at with `position`: those that have their mask, up to `chosen`, or those of
    /// one choice.
    pub(super) fn next_choice(&self, position: usize, chosen: usize) -> usize {
        if position < chosen {
            return chosen;
        }
        match self.choosing.span() {
            Some(span) => (position / span + 1) * span,
            None => usize::MAX,
        }
    }
}

//! Which weights of a slab become zero, chosen by what their loss costs once later columns have made up for it.
//!
//! SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774): a weight is worth `(t_j R_jj)²`, `t_j` being the weight with
//! the best answer to all errors so far, and `R_jj = 1 / U_jj` of the paper. A span of columns is chosen among when the
//! sweep reaches it; N of every M neighbours in the kernel, when it reaches them. Scales are fitted to what stays: where
//! that is not settled yet, to what would stay if the choice were made now.

use super::slab::Slab;
use super::sweep::Way;
use crate::kernels::transpose;
use crate::mask::{Among, SparsityPattern, kept_count};
use crate::solve::prune::{Bar, MaskConfig, keep_n_of_m, rank, units_of_span};
use std::ops::Range;

/// How zeros come into a sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Choosing {
    /// There are none.
    Nothing,
    /// They are given.
    Given,
    /// By their worth among a span.
    Units {
        /// Neighbours that stay or go together.
        unit: usize,
        /// Columns chosen among at once, whole units.
        span: usize,
        /// Share of zeros.
        sparsity: f64,
    },
    /// So many of so many neighbours.
    Neighbours {
        /// N.
        kept: usize,
        /// M.
        of: usize,
    },
}

impl Choosing {
    /// How zeros are chosen as `config` says, of `columns`.
    pub(super) fn new(config: MaskConfig, columns: usize) -> Self {
        match config.pattern {
            SparsityPattern::NOfM { kept, of } => Self::Neighbours {
                kept: usize::from(kept),
                of: usize::from(of.max(1)),
            },
            pattern => {
                let unit = pattern.unit();
                let among = match config.among {
                    Among::Row | Among::Layer => columns.next_multiple_of(unit).max(unit),
                    Among::Span(span) | Among::RowSpan(span) => span,
                };
                Self::Units {
                    unit,
                    span: units_of_span(among, unit) * unit,
                    sparsity: config.sparsity,
                }
            }
        }
    }

    /// Columns that a step of the plan chooses among.
    pub(super) fn span(self) -> Option<usize> {
        match self {
            Self::Units { span, .. } => Some(span),
            Self::Nothing | Self::Given | Self::Neighbours { .. } => None,
        }
    }

    /// Neighbours that must be visited together.
    pub(super) fn unit(self) -> usize {
        match self {
            Self::Nothing | Self::Given => 1,
            Self::Units { unit, .. } => unit,
            Self::Neighbours { of, .. } => of,
        }
    }
}

impl Slab {
    /// Ranks the units of a span as they now stand, for a choice among them: `[lanes, units]`.
    pub(super) fn score(&mut self, way: &Way<'_>, span: Range<usize>) {
        let values = self.settled(way, span.clone());
        self.ranks = self.ranks_of(way, &values, span);
    }

    /// Chooses among the units of a scored span row by row.
    pub(super) fn choose_by_row(&mut self, way: &Way<'_>, span: Range<usize>) {
        let chosen = choose_rows(way, &self.ranks, span.clone());
        self.keep_units(way, span, &chosen);
    }

    /// Chooses among the units of a scored span as a bar says that is shared by all rows.
    pub(super) fn choose_by_bar(&mut self, way: &Way<'_>, span: Range<usize>, mut bar: Bar) {
        let mut chosen = vec![false; self.ranks.len()];
        bar.mark(&self.ranks, &mut chosen);
        self.keep_units(way, span, &chosen);
    }

    /// Sets to 0 what does not stay, or would not if the choice were made now. `lines` are weights at `positions`.
    pub(super) fn drop_lines(&self, way: &Way<'_>, positions: Range<usize>, lines: &mut [f32]) {
        let (stride, lanes) = (self.stride, self.lanes);
        let mut first = positions.start;
        while first < positions.end {
            let part = first..way.next_choice(first, self.chosen).min(positions.end);
            let offset = (part.start - positions.start) * stride;
            let lines = &mut lines[offset..][..part.len() * stride];
            if part.end <= self.chosen {
                let columns = &way.columns()[part.clone()];
                for (line, &column) in lines.chunks_exact_mut(stride).zip(columns) {
                    clear(&mut line[..lanes], &self.keep[column * stride..][..lanes]);
                }
            } else {
                let ranks = self.ranks_of(way, lines, part.clone());
                let chosen = choose_rows(way, &ranks, part.clone());
                let keep = self.unit_lines(way, part.len(), &chosen);
                let unit = way.score_unit();
                for (offset, line) in lines.chunks_exact_mut(stride).enumerate() {
                    clear(&mut line[..lanes], &keep[offset / unit * lanes..][..lanes]);
                }
            }
            first = part.end;
        }
    }

    /// Ranks of the units that `values`, lines at `positions`, belong to: `[lanes, units]`.
    fn ranks_of(&self, way: &Way<'_>, values: &[f32], positions: Range<usize>) -> Vec<u32> {
        let (stride, lanes, unit) = (self.stride, self.lanes, way.score_unit());
        let units = positions.len().div_ceil(unit);
        let pivots = &way.pivots[positions];
        let mut lines = vec![0u32; units * lanes];
        let mut scores = vec![0.0f32; lanes];
        let unit_values = values.chunks(unit * stride).zip(pivots.chunks(unit));
        for ((values, pivots), line) in unit_values.zip(lines.chunks_exact_mut(lanes)) {
            scores.fill(0.0);
            for (values, pivot) in values.chunks_exact(stride).zip(pivots) {
                for (score, value) in scores.iter_mut().zip(values) {
                    let worth = value * pivot;
                    // Alone, a weight needs no square, which might leave the range of f32.
                    *score = if unit == 1 {
                        worth.abs()
                    } else {
                        *score + worth * worth
                    };
                }
            }
            for (rank_here, &score) in line.iter_mut().zip(&scores) {
                *rank_here = rank(score);
            }
        }
        let mut ranks = vec![0u32; units * lanes];
        transpose(&mut ranks, units, &lines, lanes, units, lanes);
        ranks
    }

    /// `[lanes, units]` turned into a line of lanes per unit.
    fn unit_lines(&self, way: &Way<'_>, columns: usize, chosen: &[bool]) -> Vec<bool> {
        let units = columns.div_ceil(way.score_unit());
        let mut lines = vec![false; units * self.lanes];
        transpose(&mut lines, self.lanes, chosen, units, self.lanes, units);
        lines
    }

    /// Settles which weights of a span stay.
    fn keep_units(&mut self, way: &Way<'_>, span: Range<usize>, chosen: &[bool]) {
        let (lanes, unit) = (self.lanes, way.score_unit());
        let lines = self.unit_lines(way, span.len(), chosen);
        for (offset, &column) in way.columns()[span.clone()].iter().enumerate() {
            let line = &lines[offset / unit * lanes..][..lanes];
            self.keep[column * self.stride..][..lanes].copy_from_slice(line);
        }
        self.chosen = span.end;
    }
}

/// Which units of `ranks` `[lanes, units]` stay, each row on its own.
fn choose_rows(way: &Way<'_>, ranks: &[u32], positions: Range<usize>) -> Vec<bool> {
    let units = positions.len().div_ceil(way.score_unit()).max(1);
    let mut chosen = vec![false; ranks.len()];
    let mut scratch = Vec::new();
    let rows = ranks
        .chunks_exact(units)
        .zip(chosen.chunks_exact_mut(units));
    match way.choosing {
        Choosing::Neighbours { kept, of } => {
            rows.for_each(|(ranks, keep)| keep_n_of_m(ranks, kept, of, keep));
        }
        Choosing::Units { sparsity, .. } => {
            let count = kept_count(units, sparsity);
            rows.for_each(|(ranks, keep)| Bar::of(ranks, count, &mut scratch).mark(ranks, keep));
        }
        Choosing::Nothing | Choosing::Given => chosen.fill(true),
    }
    chosen
}

fn clear(line: &mut [f32], keep: &[bool]) {
    for (value, &keep) in line.iter_mut().zip(keep) {
        *value = if keep { *value } else { 0.0 };
    }
}

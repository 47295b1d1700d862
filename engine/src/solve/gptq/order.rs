//! In which order GPTQ rounds columns, and where groups begin on the way.
//!
//! Groups stay contiguous in the original order in all three orders, so that no format needs an index of groups.

use crate::grid::Groups;
use crate::settings::ColumnOrder;
use std::cmp::Ordering;
use std::ops::Range;

/// The way through the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    /// Original column at each position.
    pub(super) columns: Vec<usize>,
    /// How the original columns are grouped.
    pub(super) groups: Groups,
    /// Where groups are visited one after the other: each with its positions, so that its scales can come from its
    /// columns as they then are. Empty where groups are visited in pieces, and scales must be settled up front.
    pub(super) whole_groups: Vec<VisitedGroup>,
    /// Stored neighbours that are visited together, each unit from a position that it divides.
    pub(super) unit: usize,
}

/// A group that is visited in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VisitedGroup {
    /// Which group.
    pub(super) group: usize,
    /// Its positions.
    pub(super) positions: Range<usize>,
}

impl Visit {
    /// Orders columns by `diagonal` (mean squares) as `order` says; ties keep the original order. `unit` stored neighbours
    /// stay together, ordered by the largest of them; a shorter tail comes last.
    pub(super) fn new(diagonal: &[f32], groups: Groups, order: ColumnOrder, unit: usize) -> Self {
        let units = Units { diagonal, unit };
        let nested = groups.count() <= 1 || groups.size().is_multiple_of(unit);
        let all = 0..diagonal.len();
        let settled = |columns| Self {
            columns,
            groups,
            whole_groups: Vec::new(),
            unit,
        };
        match order {
            ColumnOrder::None if nested => {
                Self::by_groups(groups, 0..groups.count(), unit, |range| range.collect())
            }
            ColumnOrder::None => settled(all.collect()),
            ColumnOrder::Gar if nested => {
                let largest = |group: usize| units.largest(groups.range(group));
                let mut order: Vec<usize> = (0..groups.count()).collect();
                order.sort_by(|&left, &right| largest(right).total_cmp(&largest(left)));
                Self::by_groups(groups, order, unit, |range| units.falling(range))
            }
            ColumnOrder::Static | ColumnOrder::Gar => settled(units.falling(all)),
        }
    }

    /// The same way where nothing has scales.
    pub(super) fn without_groups(self) -> Self {
        Self {
            whole_groups: Vec::new(),
            ..self
        }
    }

    fn by_groups(
        groups: Groups,
        order: impl IntoIterator<Item = usize>,
        unit: usize,
        columns_of: impl Fn(Range<usize>) -> Vec<usize>,
    ) -> Self {
        let mut columns = Vec::new();
        let mut whole_groups = Vec::new();
        for group in order {
            let first = columns.len();
            columns.extend(columns_of(groups.range(group)));
            whole_groups.push(VisitedGroup {
                group,
                positions: first..columns.len(),
            });
        }
        Self {
            columns,
            groups,
            whole_groups,
            unit,
        }
    }

    /// Cuts positions into spans: whole groups, as many as fit into `block`, at least one; or plain blocks of whole units
    /// where scales are settled up front.
    pub(super) fn spans(&self, block: usize) -> Vec<Span> {
        let block = whole_units(block, self.unit);
        if self.whole_groups.is_empty() {
            return (0..self.columns.len())
                .step_by(block)
                .map(|first| Span {
                    positions: first..(first + block).min(self.columns.len()),
                    whole_groups: 0..0,
                })
                .collect();
        }
        let mut spans: Vec<Span> = Vec::new();
        for (index, visited) in self.whole_groups.iter().enumerate() {
            match spans.last_mut() {
                Some(span) if visited.positions.end - span.positions.start <= block => {
                    span.positions.end = visited.positions.end;
                    span.whole_groups.end = index + 1;
                }
                _ => spans.push(Span {
                    positions: visited.positions.clone(),
                    whole_groups: index..index + 1,
                }),
            }
        }
        spans
    }
}

/// `count` columns in whole units, at least one.
pub(super) fn whole_units(count: usize, unit: usize) -> usize {
    (count / unit).max(1) * unit
}

/// Columns in units of stored neighbours.
struct Units<'a> {
    diagonal: &'a [f32],
    unit: usize,
}

impl Units<'_> {
    /// The largest diagonal of some whole units; below all others where the last of them is cut short.
    fn largest(&self, columns: Range<usize>) -> f32 {
        if !columns.end.is_multiple_of(self.unit) {
            return f32::NEG_INFINITY;
        }
        self.diagonal[columns].iter().copied().fold(0.0, f32::max)
    }

    /// Columns of some whole units by falling diagonal.
    fn falling(&self, columns: Range<usize>) -> Vec<usize> {
        let end = columns.end;
        let range = |first: usize| first..(first + self.unit).min(end);
        let mut firsts: Vec<usize> = columns.step_by(self.unit).collect();
        firsts.sort_by(|&left, &right| -> Ordering {
            let (left, right) = (self.largest(range(left)), self.largest(range(right)));
            right.total_cmp(&left)
        });
        firsts.into_iter().flat_map(range).collect()
    }
}

/// Positions whose past is summed in one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// Its positions.
    pub(super) positions: Range<usize>,
    /// Which of `Visit::whole_groups` it holds.
    pub(super) whole_groups: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{GridConfig, ScaleDtype};

    fn groups(columns: usize, group: usize) -> Groups {
        let config = GridConfig {
            bits: 4,
            group,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        };
        config.groups(columns)
    }

    #[test]
    fn static_order_falls_and_ties_keep_their_order() {
        let visit = Visit::new(&[1.0, 3.0, 3.0, 9.0], groups(4, 2), ColumnOrder::Static, 1);
        assert_eq!(visit.columns, [3, 1, 2, 0]);
        assert!(visit.whole_groups.is_empty());
    }

    #[test]
    fn group_aware_order_sorts_inside_groups_and_among_them() {
        let diagonal = [1.0, 2.0, 9.0, 4.0, 5.0];
        let visit = Visit::new(&diagonal, groups(5, 2), ColumnOrder::Gar, 1);
        assert_eq!(visit.columns, [2, 3, 4, 1, 0]);
        let order: Vec<usize> = visit.whole_groups.iter().map(|one| one.group).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn spans_hold_whole_groups_and_cover_everything() {
        let visit = Visit::new(&[1.0; 10], groups(10, 3), ColumnOrder::None, 1);
        let spans = |block| -> Vec<Range<usize>> {
            let spans = visit.spans(block);
            spans.into_iter().map(|span| span.positions).collect()
        };
        assert_eq!(spans(7), [0..6, 6..10]);
        assert_eq!(spans(2), [0..3, 3..6, 6..9, 9..10]);
        assert_eq!(spans(0), spans(2));
    }

    #[test]
    fn units_stay_together_and_a_short_tail_comes_last() {
        let diagonal = [1.0, 2.0, 9.0, 4.0, 5.0, 1.0, 8.0, 1.0, 90.0];
        let order = |order, group| Visit::new(&diagonal, groups(9, group), order, 2);
        let columns = [2, 3, 6, 7, 4, 5, 0, 1, 8];
        assert_eq!(order(ColumnOrder::Static, 4).columns, columns);
        let visit = order(ColumnOrder::Gar, 4);
        assert_eq!(visit.columns, [2, 3, 0, 1, 6, 7, 4, 5, 8]);
        let visited: Vec<usize> = visit.whole_groups.iter().map(|one| one.group).collect();
        assert_eq!(visited, [0, 1, 2]);
        // Groups of three cut units apart: their scales are settled up front.
        assert!(order(ColumnOrder::Gar, 3).whole_groups.is_empty());
        assert!(order(ColumnOrder::None, 3).whole_groups.is_empty());
        let spans = order(ColumnOrder::Static, 0).spans(5);
        let spans: Vec<Range<usize>> = spans.into_iter().map(|span| span.positions).collect();
        assert_eq!(spans, [0..4, 4..8, 8..9]);
    }
}

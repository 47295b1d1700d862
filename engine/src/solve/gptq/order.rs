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
    /// Orders columns by `diagonal` (mean squares) as `order` says. Ties keep the original order.
    pub(super) fn new(diagonal: &[f32], groups: Groups, order: ColumnOrder) -> Self {
        let falling = |&left: &usize, &right: &usize| -> Ordering {
            diagonal[right].total_cmp(&diagonal[left])
        };
        match order {
            ColumnOrder::None => {
                Self::by_groups(groups, 0..groups.count(), |range| range.collect())
            }
            ColumnOrder::Static => {
                let mut columns: Vec<usize> = (0..diagonal.len()).collect();
                columns.sort_by(falling);
                Self {
                    columns,
                    groups,
                    whole_groups: Vec::new(),
                }
            }
            ColumnOrder::Gar => {
                let largest = |group: usize| {
                    let range = groups.range(group);
                    diagonal[range].iter().copied().fold(0.0, f32::max)
                };
                let mut order: Vec<usize> = (0..groups.count()).collect();
                order.sort_by(|&left, &right| largest(right).total_cmp(&largest(left)));
                Self::by_groups(groups, order, |range| {
                    let mut columns: Vec<usize> = range.collect();
                    columns.sort_by(falling);
                    columns
                })
            }
        }
    }

    fn by_groups(
        groups: Groups,
        order: impl IntoIterator<Item = usize>,
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
        }
    }

    /// Cuts positions into spans: whole groups, as many as fit into `block`, at least one; or plain blocks where scales
    /// are settled up front.
    pub(super) fn spans(&self, block: usize) -> Vec<Span> {
        let block = block.max(1);
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
        let visit = Visit::new(&[1.0, 3.0, 3.0, 9.0], groups(4, 2), ColumnOrder::Static);
        assert_eq!(visit.columns, [3, 1, 2, 0]);
        assert!(visit.whole_groups.is_empty());
    }

    #[test]
    fn group_aware_order_sorts_inside_groups_and_among_them() {
        let diagonal = [1.0, 2.0, 9.0, 4.0, 5.0];
        let visit = Visit::new(&diagonal, groups(5, 2), ColumnOrder::Gar);
        assert_eq!(visit.columns, [2, 3, 4, 1, 0]);
        let order: Vec<usize> = visit.whole_groups.iter().map(|one| one.group).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn spans_hold_whole_groups_and_cover_everything() {
        let visit = Visit::new(&[1.0; 10], groups(10, 3), ColumnOrder::None);
        let spans = |block| -> Vec<Range<usize>> {
            let spans = visit.spans(block);
            spans.into_iter().map(|span| span.positions).collect()
        };
        assert_eq!(spans(7), [0..6, 6..10]);
        assert_eq!(spans(2), [0..3, 3..6, 6..9, 9..10]);
        assert_eq!(spans(0), spans(2));
    }
}

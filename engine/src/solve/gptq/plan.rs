//! What a slab does, step by step: the same list for all slabs, made once.
//!
//! A span of columns is opened (one product sums its past), cut into runs (a group, or the whole span), and each run is
//! rounded block by block. Where zeros are chosen, a choice stands before the first block that it is about.

use super::order::{Visit, whole_units};
use super::zeros::Choosing;
use std::ops::Range;

/// Columns of the triangular recursion: its lines stay in the first-level cache, the rest of a span is products.
const INNER_BLOCK: usize = 64;

/// One step of the sweep, about positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A span begins: everything before it is summed.
    Open(Range<usize>),
    /// A run of the open span begins: the span's errors so far are added.
    Enter(Range<usize>),
    /// Zeros among these columns are chosen.
    Choose(Range<usize>),
    /// The scales of a group, which is the run just entered, are fitted.
    Fit {
        /// Which group.
        group: usize,
        /// Its positions.
        positions: Range<usize>,
    },
    /// These columns of the run are rounded.
    Round(Range<usize>),
}

/// All steps of a sweep with products of `block` columns.
pub(super) fn steps(visit: &Visit, block: usize, choosing: Choosing) -> Vec<Step> {
    let mut steps = Vec::new();
    let inner = whole_units(block.clamp(1, INNER_BLOCK), visit.unit);
    let choice = Choices {
        columns: visit.columns.len(),
        span: choosing.span(),
    };
    for span in visit.spans(block) {
        steps.push(Step::Open(span.positions.clone()));
        let groups = &visit.whole_groups[span.whole_groups.clone()];
        if groups.is_empty() {
            add_run(&mut steps, span.positions, None, inner, &choice);
        }
        for visited in groups {
            let (positions, group) = (visited.positions.clone(), Some(visited.group));
            add_run(&mut steps, positions, group, inner, &choice);
        }
    }
    steps
}

fn add_run(
    steps: &mut Vec<Step>,
    positions: Range<usize>,
    group: Option<usize>,
    inner: usize,
    choices: &Choices,
) {
    steps.push(Step::Enter(positions.clone()));
    steps.extend(choices.at(positions.start).map(Step::Choose));
    steps.extend(group.map(|group| Step::Fit {
        group,
        positions: positions.clone(),
    }));
    let mut first = positions.start;
    while first < positions.end {
        let end = (first + inner).min(positions.end).min(choices.next(first));
        if first > positions.start {
            steps.extend(choices.at(first).map(Step::Choose));
        }
        steps.push(Step::Round(first..end));
        first = end;
    }
}

/// Where choices are made.
struct Choices {
    columns: usize,
    span: Option<usize>,
}

impl Choices {
    /// The choice that stands before `position`.
    fn at(&self, position: usize) -> Option<Range<usize>> {
        let span = self.span.filter(|&span| position.is_multiple_of(span))?;
        Some(position..(position + span).min(self.columns))
    }

    /// The first position after `position` before which a choice stands.
    fn next(&self, position: usize) -> usize {
        match self.span {
            Some(span) => (position / span + 1) * span,
            None => usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{GridConfig, ScaleDtype};
    use crate::settings::ColumnOrder;

    fn visit(columns: usize, group: usize, order: ColumnOrder) -> Visit {
        let config = GridConfig {
            bits: 4,
            group,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        };
        Visit::new(&vec![1.0; columns], config.groups(columns), order, 1)
    }

    /// Positions that are rounded, in order, each after its choice.
    fn rounded(steps: &[Step]) -> Vec<usize> {
        let mut chosen = 0;
        let mut rounded = Vec::new();
        for step in steps {
            match step {
                Step::Choose(range) => {
                    assert_eq!(range.start, rounded.len(), "chosen when first reached");
                    chosen = range.end;
                }
                Step::Round(range) => {
                    assert!(range.end <= chosen, "{range:?} before its choice");
                    rounded.extend(range.clone());
                }
                Step::Open(_) | Step::Enter(_) | Step::Fit { .. } => {}
            }
        }
        rounded
    }

    #[test]
    fn every_column_is_rounded_once_after_its_choice() {
        let choosing = Choosing::Units {
            unit: 1,
            span: 128,
            sparsity: 0.5,
        };
        for (columns, group) in [(300, 0), (300, 96), (257, 32), (128, 128), (5, 2)] {
            for order in [ColumnOrder::None, ColumnOrder::Static, ColumnOrder::Gar] {
                for block in [1, 100, 256] {
                    let steps = steps(&visit(columns, group, order), block, choosing);
                    let all: Vec<usize> = (0..columns).collect();
                    assert_eq!(rounded(&steps), all, "{columns}/{group} {order:?} {block}");
                }
            }
        }
    }

    #[test]
    fn without_a_choice_blocks_are_as_large_as_they_can() {
        let steps = steps(&visit(130, 0, ColumnOrder::None), 256, Choosing::Nothing);
        let blocks: Vec<Step> = steps.into_iter().skip(3).collect();
        let expected = [0..64, 64..128, 128..130].map(Step::Round);
        assert_eq!(blocks, expected);
    }
}

//! How a row's columns are cut: into groups (one scale and zero of the weights each), units (what unpacking takes at
//! once) and segments (what is summed in integers).
//!
//! Every group is padded to whole units; the padding multiplies activations of 0. Segments begin and end on units and
//! never cross a group. Knows no codes and no activations.

use std::ops::Range;

/// Columns that kernels unpack at once: the fewest that fill a 64-byte line in a plane of one bit.
pub(crate) const UNIT: usize = 32;
/// Columns of one weight panel that stay in the first-level cache as bytes, and whose integer sum is exact enough as
/// f32: `1024 * 255 * 127 < 2^25`.
pub(crate) const LONGEST_SEGMENT: usize = 1024;
/// Columns that one multiplication of two vectors sums: a row's four neighbouring bytes.
pub(crate) const QUAD: usize = 4;

/// How columns lie in padded memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    columns: usize,
    group: usize,
}

/// Columns whose products are summed in integers before scales come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The group that scales the weights.
    pub(crate) group: usize,
    /// First unit in padded memory.
    pub(crate) first_unit: usize,
    /// Units.
    pub(crate) units: usize,
    /// First column of the unpadded row.
    pub(crate) first_column: usize,
    /// Columns of the unpadded row; the rest of the units is padding.
    pub(crate) columns: usize,
}

impl Segment {
    /// Its columns in the unpadded row.
    pub(crate) fn range(&self) -> Range<usize> {
        self.first_column..self.first_column + self.columns
    }
}

impl Columns {
    /// `group = 0`: one group.
    pub(crate) fn new(columns: usize, group: usize) -> Self {
        let group = if group == 0 {
            columns.max(1)
        } else {
            group.min(columns.max(1))
        };
        Self { columns, group }
    }

    /// Groups of a row.
    pub(crate) fn groups(&self) -> usize {
        self.columns.div_ceil(self.group)
    }

    /// Units of a padded row.
    pub(crate) fn units(&self) -> usize {
        let last = self.columns - (self.groups().max(1) - 1) * self.group;
        self.groups().saturating_sub(1) * self.group.div_ceil(UNIT) + last.div_ceil(UNIT)
    }

    /// Columns of a padded row.
    pub(crate) fn padded(&self) -> usize {
        self.units() * UNIT
    }

    /// Columns of the unpadded row.
    pub(crate) fn unpadded(&self) -> usize {
        self.columns
    }

    /// The unpadded columns of a group and the first of them in padded memory.
    pub(crate) fn group(&self, group: usize) -> (Range<usize>, usize) {
        let end = ((group + 1) * self.group).min(self.columns);
        let first = group * self.group.div_ceil(UNIT) * UNIT;
        (group * self.group..end, first)
    }

    /// Segments of at most `longest` columns, counted from each group's first.
    ///
    /// # Panics
    /// If `longest` is not a multiple of the unit.
    pub(crate) fn segments(&self, longest: usize) -> Vec<Segment> {
        let longest = longest.min(LONGEST_SEGMENT);
        assert!(
            longest > 0 && longest.is_multiple_of(UNIT),
            "blocks of activations are multiples of {UNIT}, not {longest}"
        );
        let mut segments = Vec::new();
        for group in 0..self.groups() {
            let (columns, padded) = self.group(group);
            for first_column in columns.clone().step_by(longest) {
                let count = longest.min(columns.end - first_column);
                segments.push(Segment {
                    group,
                    first_unit: (padded + first_column - columns.start) / UNIT,
                    units: count.div_ceil(UNIT),
                    first_column,
                    columns: count,
                });
            }
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn segments_cover_every_column_once(
            columns in 0usize..3000,
            group in prop::sample::select(vec![0, 1, 5, 32, 48, 64, 128, 2048]),
            longest in prop::sample::select(vec![32, 128, 1024]),
        ) {
            let cut = Columns::new(columns, group);
            let (mut column, mut unit) = (0, 0);
            for segment in cut.segments(longest) {
                prop_assert_eq!(segment.range().start, column);
                prop_assert_eq!(segment.first_unit, unit);
                prop_assert!(segment.columns > 0 && segment.columns <= longest);
                prop_assert!(segment.columns <= segment.units * UNIT);
                let (range, padded) = cut.group(segment.group);
                prop_assert!(range.start <= column && segment.range().end <= range.end);
                prop_assert_eq!(padded + column - range.start, unit * UNIT);
                column += segment.columns;
                unit += segment.units;
            }
            prop_assert_eq!((column, unit), (columns, cut.units()));
        }
    }
}

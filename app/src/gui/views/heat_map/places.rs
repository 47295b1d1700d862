//! Where cells lie: names at the left edge, whatever is scrolled, cells beside them, all rows of one height.
//!
//! Geometry alone. Knows no value and paints nothing.

use egui::{Pos2, Rect, Vec2, pos2, vec2};
use std::ops::Range;

/// Cells narrower than this cannot be hit; the pane scrolls sideways instead.
const LEAST_CELL: f32 = 20.0;
/// Cells wider than this tell nothing more.
const MOST_CELL: f32 = 84.0;
/// Cells this wide hold a number.
const NUMBER: f32 = 38.0;
const LEAST_NAME: f32 = 104.0;
const MOST_NAME: f32 = 240.0;

/// Widths and heights, before anything is scrolled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sizes {
    /// Width of names.
    pub(super) name: f32,
    /// A cell.
    pub(super) cell: Vec2,
}

impl Sizes {
    /// What fits into `width` points.
    pub(super) fn fit(width: f32, columns: usize, row_height: f32) -> Self {
        let name = (width * 0.34).clamp(LEAST_NAME, MOST_NAME);
        let each = (width - name) / columns.max(1) as f32;
        Self {
            name,
            cell: vec2(each.clamp(LEAST_CELL, MOST_CELL).floor(), row_height),
        }
    }

    /// Whether a cell holds a number.
    pub(super) fn has_numbers(&self) -> bool {
        self.cell.x >= NUMBER
    }

    /// Everything, scrolled out of sight or not.
    pub(super) fn whole(&self, lines: usize, columns: usize) -> Vec2 {
        vec2(
            self.name + columns as f32 * self.cell.x,
            lines as f32 * self.cell.y,
        )
    }
}

/// Where everything lies in this frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Places {
    pub(super) sizes: Sizes,
    /// What of it can be seen.
    pub(super) sight: Rect,
    /// Where the first row's name would begin.
    pub(super) origin: Pos2,
    pub(super) lines: usize,
    pub(super) columns: usize,
}

impl Places {
    /// The place of a cell.
    pub(super) fn cell(&self, line: usize, column: usize) -> Rect {
        let size = self.sizes.cell;
        let step = vec2(
            self.sizes.name + column as f32 * size.x,
            line as f32 * size.y,
        );
        Rect::from_min_size(self.origin + step, size)
    }

    /// The place of a row's name: it stays where it is when cells are scrolled sideways.
    pub(super) fn name(&self, line: usize) -> Rect {
        let top = self.origin.y + line as f32 * self.sizes.cell.y;
        Rect::from_min_size(
            pos2(self.sight.left(), top),
            vec2(self.sizes.name, self.sizes.cell.y),
        )
    }

    /// Where cells can be seen.
    pub(super) fn cells(&self) -> Rect {
        let left = self.sight.left() + self.sizes.name;
        let right = self.cell(0, self.columns).left().min(self.sight.right());
        Rect::from_min_max(
            pos2(left, self.sight.top()),
            pos2(right, self.sight.bottom()),
        )
    }

    /// Rows that can be seen.
    pub(super) fn lines_in_sight(&self) -> Range<usize> {
        let (from, to) = (
            self.sight.top() - self.origin.y,
            self.sight.bottom() - self.origin.y,
        );
        in_sight(from..to, self.sizes.cell.y, self.lines)
    }

    /// Columns that can be seen.
    pub(super) fn columns_in_sight(&self) -> Range<usize> {
        let (cells, left) = (self.cells(), self.origin.x + self.sizes.name);
        in_sight(
            cells.left() - left..cells.right() - left,
            self.sizes.cell.x,
            self.columns,
        )
    }

    /// The row at a height, the nearest one where there is none.
    pub(super) fn line_at(&self, y: f32) -> Option<usize> {
        nearest((y - self.origin.y) / self.sizes.cell.y, self.lines)
    }

    /// The column at a place, the nearest one where there is none.
    pub(super) fn column_at(&self, x: f32) -> Option<usize> {
        let left = self.origin.x + self.sizes.name;
        nearest((x - left) / self.sizes.cell.x, self.columns)
    }
}

fn in_sight(range: Range<f32>, step: f32, count: usize) -> Range<usize> {
    let first = (range.start / step).floor().max(0.0) as usize;
    let end = (range.end / step).ceil().max(0.0) as usize;
    first.min(count)..end.min(count)
}

fn nearest(steps: f32, count: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    Some((steps.floor().max(0.0) as usize).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(scrolled: Vec2) -> Places {
        let sight = Rect::from_min_size(pos2(10.0, 100.0), vec2(300.0, 200.0));
        Places {
            sizes: Sizes {
                name: 100.0,
                cell: vec2(25.0, 20.0),
            },
            sight,
            origin: sight.min - scrolled,
            lines: 1000,
            columns: 19,
        }
    }

    #[test]
    fn only_what_can_be_seen_is_walked() {
        for (scrolled, lines, columns) in [
            (vec2(0.0, 0.0), 0..10, 0..8),
            (vec2(0.0, 10.0), 0..11, 0..8),
            (vec2(60.0, 19_800.0), 990..1000, 2..11),
            (vec2(275.0, 0.0), 0..10, 11..19),
        ] {
            let places = places(scrolled);
            assert_eq!(places.lines_in_sight(), lines, "{scrolled:?}");
            assert_eq!(places.columns_in_sight(), columns, "{scrolled:?}");
        }
    }

    #[test]
    fn a_cell_is_found_again_where_it_lies() {
        let places = places(vec2(60.0, 415.0));
        for (line, column) in [(21, 3), (25, 9), (30, 4)] {
            let center = places.cell(line, column).center();
            assert_eq!(places.line_at(center.y), Some(line));
            assert_eq!(places.column_at(center.x), Some(column));
            assert_eq!(places.name(line).left(), 10.0, "names stay");
        }
        assert_eq!(places.line_at(-9e9), Some(0));
        assert_eq!(places.line_at(9e9), Some(999));
    }

    #[test]
    fn cells_take_the_room_there_is() {
        let columns = |width| Sizes::fit(width, 7, 22.0);
        assert!(columns(620.0).has_numbers());
        assert!(!columns(300.0).has_numbers());
        assert_eq!(Sizes::fit(200.0, 19, 22.0).cell.x, LEAST_CELL);
        assert_eq!(columns(3000.0).cell.x, MOST_CELL);
    }
}

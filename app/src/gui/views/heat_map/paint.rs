//! How cells, names and headers look.
//!
//! Colours of all cells go out as one mesh; only what can be seen is drawn. Takes no clicks.

use super::grid::Column;
use super::places::Places;
use crate::gui::look::Look;
use egui::epaint::Mesh;
use egui::{
    Align2, Color32, CornerRadius, FontId, Painter, Rect, Shape, Stroke, StrokeKind, pos2, vec2,
};
use pare_engine::settings::LayerOption;

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fill {
    /// A number, and how far along the colours it stands.
    Number(f64, f32),
    /// Nobody judged it yet.
    Unmeasured,
    /// The container cannot hold it.
    Refused,
}

/// What stands around a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Borders {
    /// The draft has it.
    pub(super) is_chosen: bool,
    /// The draft has these bits, with a group that has no column.
    pub(super) is_chosen_bits: bool,
    /// It is proposed.
    pub(super) is_proposed: bool,
    /// The fewest bytes below the loss that is allowed.
    pub(super) is_cheapest: bool,
    /// Keys mean it.
    pub(super) is_cursor: bool,
}

/// Draws the cells of a frame.
pub(super) struct Brush<'a> {
    pub(super) look: &'a Look,
    /// Cuts off what is scrolled under the names.
    pub(super) painter: Painter,
    pub(super) has_numbers: bool,
    fills: Mesh,
    /// Over the colours.
    lines: Vec<Shape>,
}

impl<'a> Brush<'a> {
    pub(super) fn new(look: &'a Look, painter: Painter, has_numbers: bool) -> Self {
        Self {
            look,
            painter,
            has_numbers,
            fills: Mesh::default(),
            lines: Vec::new(),
        }
    }

    /// One cell.
    pub(super) fn cell(&mut self, place: Rect, fill: Fill, borders: Borders) {
        let colours = &self.look.colours;
        let place = place.shrink(1.0);
        match fill {
            Fill::Number(value, share) => {
                let ground = Look::magnitude(share);
                self.fills.add_colored_rect(place, ground);
                if self.has_numbers {
                    self.number(place, value, ink_on(ground));
                }
            }
            Fill::Unmeasured => {
                self.fills.add_colored_rect(place, colours.raised);
                self.lines
                    .extend(hatch(place, Stroke::new(1.0, colours.ghost)));
            }
            Fill::Refused => {
                self.fills.add_colored_rect(place, colours.raised);
                let stroke = Stroke::new(1.0, colours.weak);
                let inner =
                    place.shrink2(vec2(place.width() / 2.0 - 4.0, place.height() / 2.0 - 4.0));
                self.lines.extend(cross(inner, stroke));
            }
        }
        if borders != Borders::default() {
            self.borders(place, borders);
        }
    }

    /// Everything drawn so far goes out, colours first.
    pub(super) fn finish(self) {
        self.painter.add(Shape::mesh(self.fills));
        self.painter.extend(self.lines);
    }

    fn number(&mut self, place: Rect, value: f64, ink: Color32) {
        let font = FontId::proportional(self.look.measures.small);
        let galley = self.painter.layout_no_wrap(super::short(value), font, ink);
        let at = pos2(
            place.right() - 3.0 - galley.size().x,
            place.center().y - galley.size().y / 2.0,
        );
        self.lines.push(Shape::galley(at, galley, ink));
    }

    fn borders(&mut self, place: Rect, borders: Borders) {
        let colours = &self.look.colours;
        let (strong, ground) = (colours.strong, colours.sunken);
        let outline = |rect: Rect, width: f32, colour: Color32| {
            let stroke = Stroke::new(width, colour);
            Shape::rect_stroke(rect, CornerRadius::ZERO, stroke, StrokeKind::Inside)
        };
        if borders.is_chosen {
            // A dark and a light line: one of them differs from any colour.
            self.lines.push(outline(place.expand(1.0), 2.0, strong));
            self.lines.push(outline(place.shrink(1.0), 1.0, ground));
        }
        if borders.is_chosen_bits {
            let foot = Rect::from_min_max(pos2(place.left(), place.bottom() - 3.0), place.max);
            self.lines
                .push(Shape::rect_filled(foot.expand(1.0), 0, ground));
            self.lines.push(Shape::rect_filled(foot, 0, strong));
        }
        if borders.is_cheapest {
            let inner = place.shrink(3.0);
            self.lines.push(outline(inner.expand(1.0), 1.0, ground));
            self.lines.push(outline(inner, 1.0, strong));
        }
        if borders.is_proposed {
            let rect = place.shrink(0.5);
            let stroke = Stroke::new(3.0, ground);
            self.lines
                .push(Shape::rect_stroke(rect, 0, stroke, StrokeKind::Middle));
            dashes(rect, Stroke::new(1.5, colours.accent), &mut self.lines);
        }
        if borders.is_cursor {
            self.lines
                .push(outline(place.expand(2.0), 1.0, colours.accent));
        }
    }
}

/// A rectangle in dashes.
pub(super) fn dashes(rect: Rect, stroke: Stroke, shapes: &mut Vec<Shape>) {
    let corners = [
        rect.left_top(),
        rect.right_top(),
        rect.right_bottom(),
        rect.left_bottom(),
        rect.left_top(),
    ];
    Shape::dashed_line_many(&corners, stroke, 4.0, 3.0, shapes);
}

/// Two lines across: cannot be had.
pub(super) fn cross(rect: Rect, stroke: Stroke) -> [Shape; 2] {
    let down = [rect.left_top(), rect.right_bottom()];
    let up = [rect.left_bottom(), rect.right_top()];
    [down, up].map(|ends| Shape::line_segment(ends, stroke))
}

/// Slanted lines: nobody knows.
pub(super) fn hatch(place: Rect, stroke: Stroke) -> impl Iterator<Item = Shape> {
    const STEP: f32 = 7.0;
    let (width, height) = (place.width(), place.height());
    let count = ((width + height) / STEP).floor() as usize;
    (1..=count).map(move |index| {
        // From a point of the left or lower edge up to one of the upper or right edge.
        let along = index as f32 * STEP;
        let low = pos2(
            place.left() + (along - height).max(0.0),
            place.top() + along.min(height),
        );
        let high = pos2(
            place.left() + along.min(width),
            place.top() + (along - width).max(0.0),
        );
        Shape::line_segment([low, high], stroke)
    })
}

/// Black or white, whichever can be read on `ground`.
fn ink_on(ground: Color32) -> Color32 {
    let linear = egui::Rgba::from(ground);
    let luminance = 0.2126 * linear.r() + 0.7152 * linear.g() + 0.0722 * linear.b();
    match luminance > 0.18 {
        true => Color32::from_gray(12),
        false => Color32::from_gray(245),
    }
}

/// Bits over groups, above the columns.
pub(super) fn header(
    painter: &Painter,
    look: &Look,
    header: Rect,
    places: &Places,
    columns: &[Column],
) {
    let (colours, measures) = (&look.colours, &look.measures);
    painter.rect_filled(header, 0, colours.raised);
    let line = Stroke::new(1.0, colours.line);
    painter.hline(header.x_range(), header.bottom() - 0.5, line);
    let cells = places.cells();
    // The last word may be wider than its column.
    let clip = Rect::from_x_y_ranges(cells.left()..=header.right(), header.y_range());
    let inner = painter.with_clip_rect(clip);
    let small = FontId::proportional(measures.small);
    let text = FontId::proportional(measures.text);
    let mut begin = 0;
    for run in columns.chunk_by(|_, right| !right.begins_bits) {
        let from = places.cell(0, begin).left();
        let to = places.cell(0, begin + run.len()).left();
        let upper = pos2((from + to) / 2.0, header.top() + 10.0);
        let word = match run[0].option.bits() {
            Some(bits) => bits.to_string(),
            None => "dense".to_owned(),
        };
        let font = match run.len() == 1 && to - from < 34.0 {
            true => small.clone(),
            false => text.clone(),
        };
        inner.text(upper, Align2::CENTER_CENTER, word, font, colours.strong);
        if begin > 0 {
            inner.vline(from - 0.5, header.y_range(), line);
        }
        for (index, column) in run.iter().enumerate() {
            let LayerOption::Grid { group, .. } = column.option else {
                continue;
            };
            let lower = pos2(
                places.cell(0, begin + index).center().x,
                header.bottom() - 9.0,
            );
            let word = super::group_word(group);
            inner.text(
                lower,
                Align2::CENTER_CENTER,
                word,
                small.clone(),
                colours.weak,
            );
        }
        begin += run.len();
    }
    let corner = pos2(header.left() + 6.0, header.top() + 10.0);
    painter.text(corner, Align2::LEFT_CENTER, "layer", text, colours.weak);
    let corner = header.left() + places.sizes.name - 6.0;
    for (y, word) in [
        (header.top() + 10.0, "bits"),
        (header.bottom() - 9.0, "group"),
    ] {
        let font = small.clone();
        painter.text(
            pos2(corner, y),
            Align2::RIGHT_CENTER,
            word,
            font,
            colours.weak,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hatching_stays_inside() {
        let place = Rect::from_min_size(pos2(10.0, 20.0), vec2(40.0, 18.0));
        let mut count = 0;
        for shape in hatch(place, Stroke::new(1.0, Color32::WHITE)) {
            let Shape::LineSegment { points, .. } = shape else {
                continue;
            };
            count += 1;
            for point in points {
                assert!(place.expand(0.01).contains(point), "{point:?}");
            }
        }
        assert!(count >= 6, "{count} lines");
    }

    #[test]
    fn numbers_can_be_read_on_every_colour() {
        let luminance = |colour: Color32| {
            let linear = egui::Rgba::from(colour);
            0.2126 * linear.r() + 0.7152 * linear.g() + 0.0722 * linear.b() + 0.05
        };
        for step in 0..=20 {
            let ground = Look::magnitude(step as f32 / 20.0);
            let (ink, ground) = (luminance(ink_on(ground)), luminance(ground));
            let ratio = ink.max(ground) / ink.min(ground);
            assert!(ratio >= 4.2, "{step}: {ratio}");
        }
    }
}

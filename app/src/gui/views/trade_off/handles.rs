//! Two lines of the plot that a person drags: bytes to keep to, and a loss to stay under.
//!
//! Each is a grip over the plot, so that dragging elsewhere still pans. Knows no solver: it answers what was asked for.

use super::units::{Scale, snapped};
use crate::gui::look::Look;
use crate::gui::widgets::plot;
use egui::{
    Align2, Color32, CursorIcon, FontId, Id, Rect, Sense, Stroke, Ui, WidgetInfo, pos2, vec2,
};
use egui_plot::{PlotPoint, PlotTransform};

/// How near the pointer must be to a line.
const REACH: f32 = 6.0;

/// What a line is about.
pub(super) struct Line<'a> {
    pub(super) transform: &'a PlotTransform,
    pub(super) look: &'a Look,
    /// Whether a proposal stands there; otherwise it is where the draft is.
    pub(super) is_set: bool,
}

/// The upright line at `bytes`; the bytes that it was dragged to. It snaps to `marks` unless Alt is held.
pub(super) fn budget(
    ui: &Ui,
    line: &Line<'_>,
    scale: Scale,
    bytes: u64,
    marks: impl Iterator<Item = u64>,
) -> Option<u64> {
    let frame = *line.transform.frame();
    let across = line
        .transform
        .position_from_point(&PlotPoint::new(scale.value(bytes), 0.0))
        .x;
    let rect = Rect::from_x_y_ranges(across - REACH..=across + REACH, frame.y_range());
    let response = ui.interact(
        rect.intersect(frame),
        Id::unique("trade-off budget"),
        Sense::drag(),
    );
    response.widget_info(|| WidgetInfo::slider(true, scale.value(bytes), "Budget line"));
    let is_held = response.dragged();
    let response = response
        .on_hover_cursor(CursorIcon::ResizeHorizontal)
        .on_hover_text("Drag to a size; Alt leaves uniform bits uncaught");
    let stroke = stroke(line, response.hovered() || is_held);
    let painter = ui.painter().with_clip_rect(frame);
    painter.vline(across, frame.y_range(), stroke);
    let grip = Rect::from_center_size(pos2(across, frame.top() + 8.0), vec2(9.0, 12.0));
    painter.rect_filled(grip, 2, stroke.color);
    if line.is_set || is_held {
        let text = format!("{} {}", scale.text(bytes), scale.unit.short());
        tag(ui, line.look, frame, pos2(across, frame.top() + 8.0), &text);
    }
    let pointer = response.interact_pointer_pos().filter(|_| is_held)?;
    let at = |across: f32| {
        line.transform
            .value_from_position(pos2(across, frame.center().y))
            .x
    };
    let asked = scale.bytes(at(pointer.x));
    let is_free = ui.input(|input| input.modifiers.alt);
    let reach = scale.bytes((at(pointer.x + REACH) - at(pointer.x)).abs());
    let asked = match is_free {
        true => asked,
        false => snapped(asked, marks, reach as f64),
    };
    (asked != bytes).then_some(asked)
}

/// The level line at the decimal logarithm `height` of a loss; where it was dragged to.
pub(super) fn loss(
    ui: &Ui,
    line: &Line<'_>,
    held: &mut Option<f64>,
    height: f64,
    name: &str,
) -> Option<f64> {
    let frame = *line.transform.frame();
    let shown = held.unwrap_or(height);
    let down = line
        .transform
        .position_from_point(&PlotPoint::new(0.0, shown))
        .y;
    let rect = Rect::from_x_y_ranges(frame.x_range(), down - REACH..=down + REACH);
    let grip = Rect::from_center_size(pos2(frame.right() - 8.0, down), vec2(12.0, 9.0));
    // Only its right end: the rest would take the drags of what lies on it.
    let sensed = rect.intersect(frame).with_min_x(frame.right() - 60.0);
    let response = ui.interact(sensed, Id::unique("trade-off loss"), Sense::drag());
    response.widget_info(|| WidgetInfo::slider(true, 10f64.powf(shown), format!("{name} line")));
    let is_held = response.dragged();
    let response = response
        .on_hover_cursor(CursorIcon::ResizeVertical)
        .on_hover_text(format!(
            "Drag to a {name}: the smallest size predicted to stay under it"
        ));
    let stroke = stroke(line, response.hovered() || is_held);
    let painter = ui.painter().with_clip_rect(frame);
    let faint = Stroke::new(stroke.width, stroke.color.gamma_multiply(0.5));
    painter.hline(frame.x_range(), down, if is_held { stroke } else { faint });
    painter.rect_filled(grip, 2, stroke.color);
    if is_held {
        let text = format!("{name} {}", plot::axis_text(10f64.powf(shown)));
        tag(
            ui,
            line.look,
            frame,
            pos2(frame.right() - 24.0, down - 9.0),
            &text,
        );
    }
    if !is_held {
        *held = None;
        return None;
    }
    let pointer = response.interact_pointer_pos()?;
    let asked = line
        .transform
        .value_from_position(pos2(frame.center().x, pointer.y))
        .y;
    let is_new = held.replace(asked) != Some(asked);
    is_new.then_some(asked)
}

fn stroke(line: &Line<'_>, is_lit: bool) -> Stroke {
    let colours = &line.look.colours;
    let colour: Color32 = match line.is_set || is_lit {
        true => colours.accent,
        false => colours.accent.gamma_multiply(0.5),
    };
    Stroke::new(if is_lit { 2.0 } else { 1.0 }, colour)
}

/// A few words beside a grip, on the side where there is room.
fn tag(ui: &Ui, look: &Look, frame: Rect, place: egui::Pos2, text: &str) {
    let font = FontId::proportional(look.measures.small);
    let (align, place) = match place.x > frame.center().x {
        true => (Align2::RIGHT_CENTER, place - vec2(8.0, 0.0)),
        false => (Align2::LEFT_CENTER, place + vec2(8.0, 0.0)),
    };
    let painter = ui.painter().with_clip_rect(frame);
    let galley = painter.layout_no_wrap(text.to_owned(), font, look.colours.strong);
    let rect = align.anchor_size(place, galley.size());
    painter.rect_filled(rect.expand2(vec2(3.0, 1.0)), 2, look.colours.raised);
    painter.galley(rect.min, galley, look.colours.strong);
}

//! What charts share: a sunken ground, histograms as meshes, logarithmic heights, numbers of axes.
//!
//! Heights are handed in ready (0 to 1): nothing is counted or sorted in a frame.

use crate::gui::look::Look;
use egui::epaint::Mesh;
use egui::{Align2, Color32, FontId, Pos2, Rect, Response, Sense, Shape, Stroke, Ui, pos2, vec2};
use egui_plot::GridMark;

/// A sunken place of the width there is and `height` points, with room for labels at its foot.
pub fn ground(ui: &mut Ui, look: &Look, height: f32, sense: Sense) -> (Rect, Response) {
    let size = vec2(ui.available_width(), height);
    let (rect, response) = ui.allocate_exact_size(size, sense);
    let painter = ui.painter();
    painter.rect_filled(rect, look.measures.corner, look.colours.sunken);
    let foot = look.measures.small + look.measures.grid;
    let inner = Rect::from_min_max(
        rect.min + vec2(6.0, 6.0),
        pos2(rect.max.x - 6.0, rect.max.y - foot),
    );
    painter.hline(
        inner.x_range(),
        inner.max.y,
        Stroke::new(1.0, look.colours.line),
    );
    (inner, response)
}

/// Heights (0 to 1, evenly spaced) as filled steps.
pub fn steps(ui: &Ui, rect: Rect, heights: &[f32], colour: Color32) {
    let mut mesh = Mesh::default();
    let width = rect.width() / heights.len().max(1) as f32;
    for (index, &height) in heights
        .iter()
        .enumerate()
        .filter(|(_, height)| **height > 0.0)
    {
        let left = rect.min.x + index as f32 * width;
        let top = rect.max.y - height * rect.height();
        mesh.add_colored_rect(
            Rect::from_min_max(pos2(left, top), pos2(left + width, rect.max.y)),
            colour,
        );
    }
    ui.painter().add(Shape::mesh(mesh));
}

/// Heights as an outline of steps.
pub fn outline(ui: &Ui, rect: Rect, heights: &[f32], stroke: Stroke) {
    let width = rect.width() / heights.len().max(1) as f32;
    let mut points: Vec<Pos2> = Vec::with_capacity(2 * heights.len() + 2);
    for (index, &height) in heights.iter().enumerate() {
        let left = rect.min.x + index as f32 * width;
        let top = rect.max.y - height * rect.height();
        points.push(pos2(left, top));
        points.push(pos2(left + width, top));
    }
    ui.painter().add(Shape::line(points, stroke));
}

/// A small label at a place of a chart.
pub fn label(ui: &Ui, look: &Look, place: Pos2, align: Align2, text: &str, colour: Color32) {
    let font = FontId::proportional(look.measures.small);
    ui.painter().text(place, align, text, font, colour);
}

/// Where `value` lies between `low` and `high` on a logarithmic way, 0 to 1.
pub fn log_share(value: f64, low: f64, high: f64) -> f32 {
    let (value, low, high) = (value.max(low).ln(), low.ln(), high.ln());
    match high > low {
        true => (((value - low) / (high - low)) as f32).clamp(0.0, 1.0),
        false => 0.5,
    }
}

/// A number of an axis: at most three digits that matter.
pub fn axis_text(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        0.0 => "0".to_owned(),
        _ if !(0.001..100_000.0).contains(&magnitude) => format!("{value:.0e}"),
        _ if magnitude >= 100.0 => format!("{value:.0}"),
        _ => {
            let digits = (2 - magnitude.log10().floor() as i32).clamp(0, 5) as usize;
            let text = format!("{value:.digits$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
    }
}

/// Marks of a logarithmic axis between `bounds` (logarithms to base 10): decades and their parts where there is room for
/// them, round numbers where the whole axis is about one decade. Those with a step of 1 have a number.
pub fn log_marks((low, high): (f64, f64)) -> Vec<GridMark> {
    match high - low {
        span if !span.is_finite() || span <= 0.0 => Vec::new(),
        span if span <= 1.2 => round_marks(low, high),
        _ => decades(low, high),
    }
}

/// Decades, and their parts of one digit.
fn decades(low: f64, high: f64) -> Vec<GridMark> {
    let first = low.floor() as i32;
    let last = (high.ceil() as i32).min(first + 40);
    let marks = (first..=last).flat_map(|decade| (1..10).map(move |digit| (decade, digit)));
    let marks = marks.map(|(decade, digit)| GridMark {
        value: f64::from(decade) + f64::from(digit).log10(),
        step_size: if digit == 1 { 1.0 } else { 0.1 },
    });
    // Marks outside would be named outside the plot.
    marks
        .filter(|mark| (low..=high).contains(&mark.value))
        .collect()
}

/// About five round numbers.
fn round_marks(low: f64, high: f64) -> Vec<GridMark> {
    let (from, to) = (10f64.powf(low), 10f64.powf(high));
    let rough = (to - from) / 5.0;
    let size = 10f64.powf(rough.log10().floor());
    let step = match rough / size {
        many if many > 5.0 => 10.0 * size,
        some if some > 2.0 => 5.0 * size,
        few if few > 1.0 => 2.0 * size,
        _ => size,
    };
    let first = (from / step).ceil() as u64;
    (first..first + 16)
        .map(|count| count as f64 * step)
        .filter(|&value| value > 0.0 && value <= to)
        .map(|value| GridMark {
            value: value.log10(),
            step_size: 1.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_axes_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.00012, "1e-4"),
            (0.01, "0.01"),
            (0.0253, "0.0253"),
            (4.25, "4.25"),
            (3.0, "3"),
            (-0.5, "-0.5"),
            (1234.0, "1234"),
            (2e6, "2e6"),
        ] {
            assert_eq!(axis_text(value), expected, "{value}");
        }
    }

    #[test]
    fn logarithmic_ways_end_at_their_ends() {
        for (value, expected) in [
            (0.001, 0.0),
            (0.01, 0.5),
            (0.1, 1.0),
            (0.0, 0.0),
            (9.0, 1.0),
        ] {
            let found = log_share(value, 0.001, 0.1);
            assert!(
                (found - expected).abs() < 1e-6,
                "{value}: expected {expected}, found {found}"
            );
        }
    }

    #[test]
    fn logarithmic_axes_have_numbers_however_short_they_are() {
        let numbers = |low: f64, high: f64| -> Vec<String> {
            let marks = log_marks((low.log10(), high.log10())).into_iter();
            let named = marks.filter(|mark| mark.step_size >= 1.0);
            named
                .map(|mark| axis_text(10f64.powf(mark.value)))
                .collect()
        };
        assert_eq!(numbers(2.05, 2.95), ["2.2", "2.4", "2.6", "2.8"]);
        assert_eq!(numbers(1.0, 9.0), ["2", "4", "6", "8"]);
        assert_eq!(numbers(0.02, 30.0), ["0.1", "1", "10"]);
        assert!(log_marks((1.0, 1.0)).is_empty());
        assert!(log_marks((f64::NEG_INFINITY, 1.0)).is_empty());
    }
}

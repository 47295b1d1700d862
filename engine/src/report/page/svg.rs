//! Charts as inline SVG that is well-formed XML: a frame with two axes, and points, lines and bars in it.
//!
//! Colours come from the page's style sheet by class, so that they follow light, dark and paper. Series differ by shape too.
//! Everything that is written beside a mark is escaped here.

use super::axis::Axis;
use super::text::escape;

/// Different looks; series above go round.
pub(super) const LOOKS: usize = 8;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// A row of the legend, and about what a letter takes.
const LEGEND_ROW: f64 = 18.0;
const LETTER: f64 = 6.4;

/// A chart being drawn.
#[derive(Debug)]
pub(super) struct Chart {
    x: Axis,
    y: Axis,
    title: String,
    marks: String,
}

impl Chart {
    /// An empty frame.
    pub(super) fn new(title: &str, x: (Axis, &str), y: (Axis, &str)) -> Self {
        let mut chart = Self {
            x: x.0,
            y: y.0,
            title: title.to_owned(),
            marks: String::new(),
        };
        chart.draw_axes(x.1, y.1);
        chart
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn at_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw_axes(&mut self, x_label: &str, y_label: &str) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, text) in &self.y.ticks.clone() {
            let y = self.at_y(*value);
            self.marks.push_str(&format!(
                "<line class=\"grid\" x1=\"{LEFT:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0, y + 4.0, escape(text)
            ));
        }
        for (value, text) in &self.x.ticks.clone() {
            self.marks.push_str(&format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                self.at_x(*value),
                bottom + 16.0,
                escape(text)
            ));
        }
        self.marks.push_str(&format!(
            "<line class=\"axis\" x1=\"{LEFT:.1}\" x2=\"{right:.1}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0, HEIGHT - 8.0, escape(x_label), (TOP + bottom) / 2.0, escape(y_label)
        ));
    }

    /// A point of a series; `told` shows under the pointer.
    pub(super) fn point(&mut self, series: usize, x: f64, y: f64, told: &str) {
        let (x, y) = (self.at_x(x), self.at_y(y));
        let shape = shape(series, x, y);
        let told = escape(told);
        self.marks.push_str(&format!(
            "<g class=\"s{}\"><title>{told}</title>{shape}</g>",
            series % LOOKS
        ));
    }

    /// A line through points.
    pub(super) fn line(&mut self, series: usize, points: &[(f64, f64)]) {
        let places: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{:.1},{:.1}", self.at_x(x), self.at_y(y)))
            .collect();
        self.marks.push_str(&format!(
            "<polyline class=\"line s{}\" points=\"{}\"/>",
            series % LOOKS,
            places.join(" ")
        ));
    }

    /// A bar of a place, `width` places wide, between two heights.
    pub(super) fn bar(&mut self, series: usize, x: (f64, f64), y: (f64, f64), told: &str) {
        let (left, right) = (self.at_x(x.0 - x.1 / 2.0), self.at_x(x.0 + x.1 / 2.0));
        let (top, bottom) = (self.at_y(y.1), self.at_y(y.0));
        self.marks.push_str(&format!(
            "<rect class=\"s{}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            series % LOOKS, right - left, bottom - top, escape(told)
        ));
    }

    /// The chart with the names of its series under it.
    pub(super) fn finish(self, names: &[String]) -> String {
        let (legend, rows) = legend(names);
        let height = HEIGHT + rows as f64 * LEGEND_ROW;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">{}{legend}</svg>\n",
            escape(&self.title),
            self.marks
        )
    }
}

/// A sign of its own for each series, so that colour is not the only difference.
fn shape(series: usize, x: f64, y: f64) -> String {
    match series % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        1 => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>",
            x - 3.5,
            y - 3.5
        ),
        2 => format!("<path d=\"M{:.1} {:.1}l4.5 8h-9z\"/>", x, y - 4.8),
        _ => format!(
            "<path d=\"M{:.1} {:.1}l4.5 4.5-4.5 4.5-4.5-4.5z\"/>",
            x,
            y - 4.5
        ),
    }
}

/// Names in rows under the chart, and how many rows.
fn legend(names: &[String]) -> (String, usize) {
    let mut text = String::new();
    let (mut x, mut row) = (LEFT, 0);
    for (series, name) in names.iter().enumerate() {
        let width = 22.0 + LETTER * name.chars().count() as f64;
        if x + width > WIDTH && x > LEFT {
            (x, row) = (LEFT, row + 1);
        }
        let y = HEIGHT + 6.0 + row as f64 * LEGEND_ROW;
        text.push_str(&format!(
            "<g class=\"s{}\">{}</g><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            series % LOOKS,
            shape(series, x + 4.0, y),
            x + 12.0,
            y + 4.0,
            escape(name)
        ));
        x += width + 8.0;
    }
    let rows = if names.is_empty() { 0 } else { row + 1 };
    (text, rows)
}

#[cfg(test)]
mod tests {
    use super::super::axis::short;
    use super::*;

    #[test]
    fn marks_lie_inside_the_frame_and_names_are_escaped() {
        let axis = || Axis::linear(0.0, 10.0, short);
        let mut chart = Chart::new("a <b>", (axis(), "x & y"), (axis(), "y"));
        for series in 0..5 {
            chart.point(series, 5.0, f64::NAN, "\"</svg>");
        }
        chart.line(1, &[(0.0, 0.0), (1e9, -1e9)]);
        chart.bar(2, (1.0, 0.8), (0.0, 5.0), "bar");
        let text = chart.finish(&["one".to_owned(), "<two>".repeat(40)]);
        assert!(!text.contains("<b>") && !text.contains("<two>"), "{text}");
        assert_eq!(text.matches("</svg>").count(), 1, "{text}");
        assert!(
            text.contains("x &amp; y") && !text.contains("NaN"),
            "{text}"
        );
        assert!(text.contains("points=\"84.0,236.0 708.0,236.0\""), "{text}");
    }
}

//! The plot: training loss raw and smooth, held-out loss, learning rate; what the pointer is over.

use super::figures::rate_text;
use super::lines::{Axes, Lines, Question};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::plot::{axis_text, log_marks};
use crate::gui::widgets::{error_text, swatch};
use crate::studio::action::Action;
use crate::studio::train::Curve;
use egui::{PopupAnchor, RichText, Tooltip, Ui, Vec2b, vec2};
use egui_plot::{
    GridMark, Line, LineStyle, MarkerShape, Plot, PlotPoints, PlotResponse, PlotUi, Points,
};

/// Least height of the plot with its bar.
pub(super) const LOWEST: f32 = 120.0;

/// Panes at least so wide have the long words of the legend.
const LONG_LEGEND: f32 = 700.0;

/// What the plot remembers between frames.
#[derive(Debug)]
pub(super) struct Memory {
    axes: Axes,
    lines: Lines,
    /// The part in sight in the last frame; `None` = all.
    window: Option<[f64; 2]>,
    shows_rate: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            axes: Axes {
                log_steps: false,
                log_loss: true,
            },
            lines: Lines::default(),
            window: None,
            shows_rate: true,
        }
    }
}

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, height: f32) {
    let studio = scene.studio;
    let known = studio.shown_curve();
    let Some((run, curve)) = known.filter(|(_, curve)| !curve.points().is_empty()) else {
        ui.allocate_ui(vec2(ui.available_width(), height), |ui| {
            ui.centered_and_justified(|ui| {
                ui.weak("The curve begins with the first step");
            });
        });
        return;
    };
    ui.allocate_ui(vec2(ui.available_width(), height), |ui| {
        ui.set_min_height(height);
        bar(ui, scene, memory, curve);
        let question = Question {
            run,
            version: curve.version(),
            axes: memory.axes,
            columns: ui.available_width().max(1.0) as usize,
            window: memory.window,
        };
        memory.lines.follow(question, curve);
        let response = plot(ui, scene.look, memory, run.0);
        let bounds = response.transform.bounds();
        let range = bounds.range_x();
        let window = (!response.inner.x).then(|| [*range.start(), *range.end()]);
        if window != memory.window {
            memory.window = window;
            ui.ctx().request_repaint();
        }
        read_out(ui, scene.look, memory.axes, curve, &response);
    });
}

/// What the lines are, and which axes are logarithmic.
fn bar(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, curve: &Curve) {
    let is_wide = ui.available_width() >= LONG_LEGEND;
    ui.horizontal(|ui| {
        legend(ui, scene.look, memory, curve, is_wide);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let copy = ui.button("Copy CSV").on_hover_text("The curve as text");
            if copy.clicked() {
                scene.act(Action::CopyCurve);
            }
            ui.checkbox(&mut memory.shows_rate, "rate")
                .on_hover_text("Show the learning rate");
            ui.checkbox(&mut memory.axes.log_steps, "log x")
                .on_hover_text("Logarithmic steps");
            ui.checkbox(&mut memory.axes.log_loss, "log y")
                .on_hover_text("Logarithmic loss");
        });
    });
}

fn legend(ui: &mut Ui, look: &Look, memory: &Memory, curve: &Curve, is_wide: bool) {
    let colours = &look.colours;
    let word = |long, short| if is_wide { long } else { short };
    swatch(ui, look, colours.after, 3.0, word("loss, smooth", "loss"));
    if is_wide {
        swatch(ui, look, raw(look), 3.0, "each step");
    }
    if curve.held_out().is_some() {
        swatch(ui, look, colours.warning, 8.0, "held-out");
    }
    if memory.shows_rate {
        let words = word("learning rate, own scale", "rate");
        swatch(ui, look, colours.weak, 1.0, words);
    }
    if !memory.lines.skipped.is_empty() {
        swatch(
            ui,
            look,
            colours.error,
            8.0,
            word("skipped step", "skipped"),
        );
    }
}

fn raw(look: &Look) -> egui::Color32 {
    look.colours.after.gamma_multiply(0.4)
}

fn plot(ui: &mut Ui, look: &Look, memory: &Memory, run: i64) -> PlotResponse<Vec2b> {
    let axes = memory.axes;
    let text = move |mark: GridMark, is_log: bool| match (is_log, mark.step_size >= 1.0) {
        (true, false) => String::new(),
        (true, true) => axis_text(10f64.powf(mark.value)),
        (false, _) => axis_text(mark.value),
    };
    let mut plot = Plot::new(("training", run, axes.log_steps, axes.log_loss))
        .x_axis_label("step")
        .y_axis_label("loss")
        .x_axis_formatter(move |mark, _| match axes.log_steps {
            false if mark.value.fract() != 0.0 => String::new(),
            is_log => text(mark, is_log),
        })
        .y_axis_formatter(move |mark, _| text(mark, axes.log_loss))
        .label_formatter(|_| None)
        .set_margin_fraction(vec2(0.02, 0.08))
        .allow_scroll(false)
        .show_crosshair(false)
        .grid_color(look.colours.line);
    if axes.log_loss {
        plot = plot.y_grid_spacer(|input| log_marks(input.bounds));
    }
    if axes.log_steps {
        plot = plot.x_grid_spacer(|input| log_marks(input.bounds));
    }
    plot.show(ui, |plot| {
        draw(plot, look, memory);
        plot.auto_bounds()
    })
}

fn draw<'a>(plot: &mut PlotUi<'a>, look: &Look, memory: &'a Memory) {
    let (colours, lines) = (&look.colours, &memory.lines);
    let line = |points: &'a [egui_plot::PlotPoint]| {
        Line::new("", PlotPoints::Borrowed(points)).allow_hover(false)
    };
    if memory.shows_rate {
        let rate = line(&lines.rate).color(colours.weak).width(1.0);
        plot.line(rate.style(LineStyle::dashed_loose()));
    }
    plot.line(line(&lines.raw).color(raw(look)).width(1.0));
    plot.line(line(&lines.smooth).color(colours.after).width(2.0));
    plot.line(line(&lines.held_out).color(colours.warning).width(1.0));
    let marks = |points: &'a [egui_plot::PlotPoint], shape| {
        let points = Points::new("", PlotPoints::Borrowed(points));
        points.shape(shape).allow_hover(false)
    };
    // Marks that would touch each other are left out: the line says it all.
    if lines.held_out.len() <= 200 {
        let held_out = marks(&lines.held_out, MarkerShape::Diamond);
        plot.points(held_out.radius(4.0).color(colours.warning));
    }
    let skipped = marks(&lines.skipped, MarkerShape::Cross);
    plot.points(skipped.radius(4.0).color(colours.error));
}

/// The step nearest to the pointer, and all that is known of it.
fn read_out(ui: &Ui, look: &Look, axes: Axes, curve: &Curve, response: &PlotResponse<Vec2b>) {
    let Some(at) = response.response.hover_pos() else {
        return;
    };
    let x = response.transform.value_from_position(at).x;
    let Some((place, point)) = curve.nearest(axes.step(x)) else {
        return;
    };
    let left = response
        .transform
        .position_from_point(&egui_plot::PlotPoint::new(axes.x(point.step), 0.0))
        .x;
    let frame = response.transform.frame();
    if frame.x_range().contains(left) {
        let stroke = egui::Stroke::new(1.0, look.colours.line);
        ui.painter().vline(left, frame.y_range(), stroke);
    }
    let mut rows = vec![("step", point.step.to_string())];
    match (point.loss, point.step) {
        (Some(loss), _) => rows.push(("loss", error_text(loss))),
        (None, 0) => {}
        (None, _) => rows.push(("loss", "not finite: skipped".to_owned())),
    }
    let smooth = curve.smooth(place).map(|loss| ("smooth", error_text(loss)));
    rows.extend(smooth);
    let held_out = point
        .held_out
        .map(|loss| ("held-out loss", error_text(loss)));
    rows.extend(held_out);
    if point.step > 0 {
        rows.push(("learning rate", rate_text(point.rate)));
    }
    let norm = point
        .gradient_norm
        .map(|norm| ("gradient norm", error_text(norm)));
    rows.extend(norm);
    let tooltip = Tooltip::always_open(
        ui.ctx().clone(),
        ui.layer_id(),
        egui::Id::unique("step under the pointer"),
        PopupAnchor::Pointer,
    );
    tooltip.gap(12.0).show(|ui| {
        egui::Grid::new("step").num_columns(2).show(ui, |ui| {
            for (word, value) in rows {
                ui.label(RichText::new(word).color(look.colours.weak));
                ui.label(value);
                ui.end_row();
            }
        });
    });
}

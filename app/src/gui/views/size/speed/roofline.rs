//! Each step between what the device can compute and what it can read: a cloud of points under roofs, both axes
//! logarithmic.
//!
//! Points are made once for each answer. A click selects the layer everywhere.

use super::waterfall;
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::plot::axis_text;
use crate::studio::latency::{Pass, Point, Roofline, Speed, rate};
use crate::studio::selection::Join;
use crate::studio::{Command, Project};
use egui::{Align2, Id, PopupAnchor, Pos2, RichText, Tooltip, Ui, Vec2};
use egui_plot::{
    GridInput, GridMark, Line, LineStyle, MarkerShape, Plot, PlotPoint, PlotPoints, PlotResponse,
    PlotUi, Points, Text,
};
use pare_engine::estimate::TimedPart;

/// How near the pointer must be to a point.
const REACH: f32 = 10.0;
/// Least height of the plot.
const LEAST_HEIGHT: f32 = 140.0;

/// What the roofline remembers between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    made_for: Option<(u64, Pass)>,
    roofline: Roofline,
}

/// The plot.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    (speed, pass): (&Speed, Pass),
) {
    let made_for = (project.latency.version, pass);
    if memory.made_for != Some(made_for) {
        memory.made_for = Some(made_for);
        memory.roofline = Roofline::of(speed, pass);
    }
    let colours = scene.look.colours;
    let plot = Plot::new((
        "roofline",
        pass.title(),
        &speed.estimate.device,
        &speed.estimate.engine,
    ))
    .height(ui.available_height().max(LEAST_HEIGHT))
    .x_axis_label("operations per byte")
    .y_axis_label("operations per second")
    .x_grid_spacer(decades)
    .y_grid_spacer(decades)
    .x_axis_formatter(|mark, _| plain(mark))
    .y_axis_formatter(|mark, _| match mark.step_size >= 1.0 {
        true => rate(10f64.powf(mark.value), "").replace(".0", ""),
        false => String::new(),
    })
    .label_formatter(|_| None)
    .set_margin_fraction(Vec2::new(0.04, 0.12))
    .allow_scroll(false)
    .show_crosshair(false)
    .grid_color(colours.line);
    let roofline = &memory.roofline;
    let look = scene.look;
    let response = plot.show(ui, |plot| draw(plot, look, project, roofline));
    let pointer = ui.input(|input| input.pointer.hover_pos());
    let hovered = nearest(&response, roofline, pointer);
    touch(ui, scene, project, speed, pass, &response, hovered);
}

/// Decades and their parts of one digit.
fn decades(input: GridInput) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    let first = low.floor() as i32;
    let last = (high.ceil() as i32).min(first + 40);
    let marks = (first..=last).flat_map(|decade| {
        (1..10).map(move |digit| GridMark {
            value: f64::from(decade) + f64::from(digit).log10(),
            step_size: if digit == 1 { 1.0 } else { 0.1 },
        })
    });
    marks
        .filter(|mark| (low..=high).contains(&mark.value))
        .collect()
}

fn plain(mark: GridMark) -> String {
    match mark.step_size >= 1.0 {
        true => axis_text(10f64.powf(mark.value)),
        false => String::new(),
    }
}

fn draw(plot: &mut PlotUi<'_>, look: &Look, project: &Project, roofline: &Roofline) {
    let colours = &look.colours;
    for roof in &roofline.roofs {
        let style = match roof.is_compute {
            true => LineStyle::Solid,
            false => LineStyle::dashed_dense(),
        };
        let line = Line::new("", PlotPoints::from(roof.ends.to_vec()));
        let line = line.color(colours.weak).width(1.0).style(style);
        plot.line(line.allow_hover(false));
        let (at, anchor) = match roof.is_compute {
            true => (roof.ends[1], Align2::RIGHT_BOTTOM),
            false => (middle(roof.ends), Align2::RIGHT_BOTTOM),
        };
        let name = RichText::new(&roof.name).small();
        let text = Text::new("", PlotPoint::new(at[0], at[1]), name).color(colours.weak);
        plot.text(text.anchor(anchor).allow_hover(false));
    }
    let kinds = [
        (TimedPart::Product, MarkerShape::Circle),
        (TimedPart::Attention, MarkerShape::Diamond),
    ];
    for (part, shape) in kinds {
        let points = marks(roofline, |point| point.part == part);
        let points = points.shape(shape).radius(3.5);
        plot.points(points.color(waterfall::colour(look, part)));
    }
    let is_chosen = |layer| project.selection.contains(layer);
    let chosen = marks(roofline, |point| point.layer.is_some_and(is_chosen));
    let chosen = chosen.shape(MarkerShape::Circle).radius(6.0).filled(false);
    plot.points(chosen.color(colours.accent));
    let hovered = marks(roofline, |point| {
        point.layer.is_some() && point.layer == project.hovered
    });
    let hovered = hovered.shape(MarkerShape::Circle).radius(8.0).filled(false);
    plot.points(hovered.color(colours.strong));
}

/// Between two ends.
fn middle([left, right]: [[f64; 2]; 2]) -> [f64; 2] {
    [(left[0] + right[0]) / 2.0, (left[1] + right[1]) / 2.0]
}

fn marks(roofline: &Roofline, is_meant: impl Fn(&Point) -> bool) -> Points<'static> {
    let points = roofline.points.iter().filter(|point| is_meant(point));
    let places: Vec<[f64; 2]> = points.map(|point| [point.x, point.y]).collect();
    Points::new("", places).allow_hover(false)
}

/// The point under the pointer: the nearest one.
fn nearest(
    response: &PlotResponse<()>,
    roofline: &Roofline,
    pointer: Option<Pos2>,
) -> Option<Point> {
    let pointer = pointer.filter(|_| response.response.contains_pointer())?;
    let distance = |point: &Point| {
        let place = PlotPoint::new(point.x, point.y);
        response
            .transform
            .position_from_point(&place)
            .distance(pointer)
    };
    let points = roofline.points.iter().map(|point| (distance(point), point));
    let near = points.filter(|(distance, _)| *distance <= REACH);
    near.min_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, point)| *point)
}

fn touch(
    ui: &Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    speed: &Speed,
    pass: Pass,
    response: &PlotResponse<()>,
    hovered: Option<Point>,
) {
    let Some(point) = hovered else {
        return;
    };
    let id = Id::unique("roofline tooltip");
    let layer_id = response.response.layer_id;
    let tooltip = Tooltip::always_open(ui.ctx().clone(), layer_id, id, PopupAnchor::Pointer);
    tooltip.gap(12.0).show(|ui| {
        waterfall::step_hint(ui, project, speed, pass, point.step);
        ui.label(format!(
            "{} at {} op/B",
            rate(10f64.powf(point.y), "op/s"),
            axis_text(10f64.powf(point.x))
        ));
    });
    let Some(layer) = point.layer else {
        return;
    };
    ui.ctx().set_cursor_icon(egui::CursorIcon::PointingHand);
    if project.hovered != Some(layer) {
        scene.push(Command::Hover(Some(layer)));
    }
    if response.response.clicked() {
        let join = match ui.input(|input| input.modifiers.command) {
            true => Join::Toggle,
            false => Join::Replace,
        };
        scene.push(Command::Select(layer, join));
    }
}

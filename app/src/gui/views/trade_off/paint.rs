//! Draws the points, tells of the one under the pointer, and takes clicks.

use super::Memory;
use super::model::{Axes, Kind, Model, Point, SizeAxis};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::plot::axis_text;
use crate::studio::Command;
use crate::studio::action::View;
use crate::studio::draft::method_name;
use egui::{
    Color32, Id, Painter, PopupAnchor, Pos2, Rect, RichText, Sense, Shape, Stroke, Tooltip, Ui,
    Vec2, vec2,
};
use egui_plot::{
    GridInput, GridMark, Line, LineStyle, MarkerShape, Plot, PlotPoint, PlotPoints, PlotResponse,
    PlotUi, Points, VLine,
};
use pare_engine::solved::Method;

/// How near the pointer must be to a point.
const REACH: f32 = 12.0;

/// The plot and its legend.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    memory: &mut Memory,
    axes: Axes,
    loss: &str,
) {
    legend(ui, scene.look, &memory.model);
    let quantity = if axes.is_loss { loss } else { "relative error" };
    let size = match axes.size {
        SizeAxis::Megabytes => "MB",
        SizeAxis::Bits => "bits per weight",
    };
    let colours = scene.look.colours;
    let plot = Plot::new(("trade-off", axes.is_loss, axes.size == SizeAxis::Bits))
        .x_axis_label(size)
        .y_axis_label(quantity)
        .y_grid_spacer(decades)
        .y_axis_formatter(|mark, _| match mark.step_size >= 1.0 {
            true => axis_text(10f64.powf(mark.value)),
            false => String::new(),
        })
        .x_axis_formatter(|mark, _| axis_text(mark.value))
        .label_formatter(|_| None)
        .set_margin_fraction(Vec2::splat(0.12))
        .allow_scroll(false)
        .show_crosshair(false)
        .grid_color(colours.line);
    let model = &memory.model;
    let look = scene.look;
    let response = plot.show(ui, |plot| draw(plot, look, model));
    let hovered = nearest(
        &response,
        model,
        ui.input(|input| input.pointer.hover_pos()),
    );
    touch(ui, scene, memory, &response, hovered);
}

/// Decades, and their parts of one digit.
fn decades(input: GridInput) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    let mut marks = Vec::new();
    for decade in (low.floor() as i32)..=(high.ceil() as i32).min(low.floor() as i32 + 40) {
        for digit in 1..10 {
            let value = f64::from(decade) + f64::from(digit).log10();
            // Marks outside would be named outside the plot.
            if (low..=high).contains(&value) {
                let step_size = if digit == 1 { 1.0 } else { 0.1 };
                marks.push(GridMark { value, step_size });
            }
        }
    }
    marks
}

fn draw<'a>(plot: &mut PlotUi<'a>, look: &Look, model: &'a Model) {
    let colours = &look.colours;
    let line = Line::new("uniform bits", PlotPoints::from(model.line.clone()));
    plot.line(line.color(colours.weak).width(1.0).allow_hover(false));
    let original = VLine::new("original", model.original).color(colours.before);
    plot.vline(
        original
            .style(LineStyle::dashed_loose())
            .width(1.0)
            .allow_hover(false),
    );
    let now = model.of_kind(|kind| *kind == Kind::Now);
    let ghost = model.of_kind(|kind| *kind == Kind::Ghost);
    if let (Some(now), Some(ghost)) = (now, ghost) {
        let way = vec![[ghost.x, ghost.y], [now.x, now.y]];
        plot.line(
            Line::new("way", way)
                .color(colours.ghost)
                .width(1.0)
                .allow_hover(false),
        );
    }
    for point in &model.points {
        if let Some([low, high]) = point.spread {
            let bar = vec![[point.x, low], [point.x, high]];
            plot.line(
                Line::new("", bar)
                    .color(colour(look, point))
                    .width(1.5)
                    .allow_hover(false),
            );
        }
        plot.points(marker(look, point));
    }
}

fn marker<'a>(look: &Look, point: &Point) -> Points<'a> {
    let (shape, radius, is_filled) = match point.kind {
        Kind::Run(_, method) => (shape(method), 5.0, true),
        Kind::Baseline(_) => (MarkerShape::Circle, 4.0, false),
        Kind::Ghost => (MarkerShape::Circle, 5.0, false),
        // A ring, so that a run of the same recipe is seen inside it.
        Kind::Now => (MarkerShape::Circle, 8.0, false),
    };
    Points::new("", vec![[point.x, point.y]])
        .shape(shape)
        .radius(radius)
        .filled(is_filled)
        .color(colour(look, point))
        .allow_hover(false)
}

fn colour(look: &Look, point: &Point) -> Color32 {
    match point.kind {
        Kind::Run(_, method) => look.method(method),
        Kind::Baseline(_) => look.colours.weak,
        Kind::Ghost => look.colours.ghost,
        Kind::Now if point.is_stale => look.colours.accent.gamma_multiply(0.6),
        Kind::Now => look.colours.accent,
    }
}

/// A shape for each method: colour never says it alone.
fn shape(method: Method) -> MarkerShape {
    match method {
        Method::Rtn => MarkerShape::Square,
        Method::Gptq => MarkerShape::Diamond,
        Method::Awq => MarkerShape::Up,
        Method::Hqq => MarkerShape::Down,
        Method::Nf4 => MarkerShape::Left,
        Method::None => MarkerShape::Cross,
    }
}

fn legend(ui: &mut Ui, look: &Look, model: &Model) {
    let colours = &look.colours;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let mut entry = |draw: &dyn Fn(&Painter, Rect), word: &str| {
            let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
            draw(ui.painter(), rect);
            ui.label(RichText::new(word).small().color(colours.weak));
            ui.add_space(4.0);
        };
        let ring = |colour: Color32| {
            move |painter: &Painter, rect: Rect| {
                painter.circle_stroke(rect.center(), 3.5, Stroke::new(1.0, colour));
            }
        };
        entry(&ring(colours.accent), "draft");
        if model.of_kind(|kind| *kind == Kind::Ghost).is_some() {
            entry(&ring(colours.ghost), "before the last edit");
        }
        entry(&ring(colours.weak), "uniform bits, estimated");
        entry(
            &|painter, rect| {
                let stroke = Stroke::new(1.0, colours.before);
                painter.vline(rect.center().x, rect.y_range(), stroke);
            },
            "original",
        );
        for &method in &model.methods {
            let word = format!("{} run", method_name(method));
            entry(&|painter, rect| sign(painter, rect, method, look), &word);
        }
    });
}

/// The shape of a method's runs, as in the plot.
fn sign(painter: &Painter, rect: Rect, method: Method, look: &Look) {
    let place = |x: f32, y: f32| rect.center() + 4.5 * vec2(x, y);
    let corners = match shape(method) {
        MarkerShape::Square => vec![
            place(-0.8, -0.8),
            place(0.8, -0.8),
            place(0.8, 0.8),
            place(-0.8, 0.8),
        ],
        MarkerShape::Up => vec![place(0.0, -1.0), place(0.9, 0.7), place(-0.9, 0.7)],
        MarkerShape::Down => vec![place(0.0, 1.0), place(-0.9, -0.7), place(0.9, -0.7)],
        MarkerShape::Left => vec![place(-1.0, 0.0), place(0.7, -0.9), place(0.7, 0.9)],
        _ => vec![
            place(0.0, -1.0),
            place(1.0, 0.0),
            place(0.0, 1.0),
            place(-1.0, 0.0),
        ],
    };
    let shape = Shape::convex_polygon(corners, look.method(method), Stroke::NONE);
    painter.add(shape);
}

/// The point under the pointer: the nearest one, those drawn last first.
fn nearest(response: &PlotResponse<()>, model: &Model, pointer: Option<Pos2>) -> Option<usize> {
    let pointer = pointer.filter(|_| response.response.contains_pointer())?;
    let distance = |point: &Point| {
        let place = response
            .transform
            .position_from_point(&PlotPoint::new(point.x, point.y));
        place.distance(pointer)
    };
    let near = model.points.iter().enumerate().rev();
    near.map(|(index, point)| (index, distance(point)))
        .filter(|(_, distance)| *distance <= REACH)
        .min_by(|left, right| left.1.total_cmp(&right.1))
        .map(|(index, _)| index)
}

fn touch(
    ui: &Ui,
    scene: &mut Scene<'_>,
    memory: &mut Memory,
    response: &PlotResponse<()>,
    hovered: Option<usize>,
) {
    let point = hovered.map(|index| &memory.model.points[index]);
    if let Some(point) = point {
        ui.ctx().set_cursor_icon(egui::CursorIcon::PointingHand);
        let layer = response.response.layer_id;
        let id = Id::unique("trade-off tooltip");
        let tooltip = Tooltip::always_open(ui.ctx().clone(), layer, id, PopupAnchor::Pointer);
        tooltip.gap(12.0).show(|ui| {
            ui.label(point.words.as_str());
            let hint = match point.kind {
                Kind::Run(..) => {
                    "Click to compare with the original, right-click to take its recipe"
                }
                Kind::Baseline(_) => "Click to take these bits everywhere",
                Kind::Now | Kind::Ghost => "",
            };
            if !hint.is_empty() {
                ui.label(RichText::new(hint).small().color(scene.look.colours.weak));
            }
        });
    }
    if response.response.secondary_clicked() {
        memory.menu = hovered;
    }
    let kind = point.map(|point| point.kind);
    match kind.filter(|_| response.response.clicked()) {
        Some(Kind::Run(id, _)) => {
            scene.push(Command::Compare(None, Some(id)));
            scene.push(Command::Show(View::Compare));
        }
        Some(Kind::Baseline(bits)) => scene.push(Command::Uniform(bits)),
        _ => {}
    }
    let picked = memory.menu.and_then(|index| memory.model.points.get(index));
    if let Some(Kind::Run(id, _)) = picked.map(|point| point.kind) {
        response.response.context_menu(|ui| {
            if ui.button("Clone and edit").clicked() {
                scene.push(Command::CloneRun(id));
                ui.close();
            }
        });
    }
}

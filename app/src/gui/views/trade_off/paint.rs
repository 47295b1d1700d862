//! Draws the points, tells of the one under the pointer, and takes clicks.

use super::Memory;
use super::budget::slider;
use super::curves;
use super::handles;
use super::legend::shape;
use super::model::{Axes, Kind, Model, Point};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::plot::{axis_text, log_marks};
use crate::studio::action::View;
use crate::studio::{Command, Project};
use egui::{Color32, Id, PopupAnchor, Pos2, RichText, Tooltip, Ui, Vec2};
use egui_plot::{
    FilledArea, Line, LineStyle, MarkerShape, Plot, PlotPoint, PlotPoints, PlotResponse, PlotUi,
    Points, VLine,
};

/// How near the pointer must be to a point.
const REACH: f32 = 12.0;
/// A plot must be so high for a long label beside it.
const LONG_LABEL: f32 = 190.0;

/// The plot and what is dragged in it.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    axes: Axes,
    loss: &str,
) {
    let quantity = match (axes.is_loss, project.outlook.front.is_empty()) {
        (false, _) => "relative error".to_owned(),
        // Points say of themselves how they are known; so does the legend.
        (true, _) if ui.available_height() < LONG_LABEL => loss.to_owned(),
        (true, true) => format!("{loss}, guessed or measured"),
        (true, false) => format!("{loss}, predicted or measured"),
    };
    let colours = scene.look.colours;
    let plot = Plot::new(("trade-off", axes.is_loss, axes.unit.short()))
        .x_axis_label(axes.unit.name())
        .y_axis_label(quantity)
        .y_grid_spacer(|input| log_marks(input.bounds))
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
    if axes.is_loss {
        lines(ui, scene, project, memory, &response, loss);
    }
    let hovered = nearest(
        &response,
        &memory.model,
        ui.input(|input| input.pointer.hover_pos()),
    );
    touch(ui, scene, memory, &response, hovered);
}

/// The two lines that are dragged, where there is a front to drag along.
fn lines(
    ui: &Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    response: &PlotResponse<()>,
    loss: &str,
) {
    let Some(range) = slider::range(project) else {
        return;
    };
    let line = handles::Line {
        transform: &response.transform,
        look: scene.look,
        is_set: project.proposal.is_some(),
    };
    let bytes = slider::budget(project);
    let scale = memory.model.scale;
    let asked = handles::budget(ui, &line, scale, bytes, slider::marks(project));
    let proposed = memory.model.of_kind(|kind| *kind == Kind::Proposal);
    let now = || memory.model.of_kind(|kind| *kind == Kind::Now);
    let height = proposed.or_else(now).map(|point| point.y);
    let was_held = memory.held_loss.is_some();
    let under = height.and_then(|height| {
        let asked = handles::loss(ui, &line, &mut memory.held_loss, height, loss)?;
        curves::smallest_under(&project.outlook, 10f64.powf(asked))
    });
    if let Some(bytes) = asked.or(under) {
        let bytes = bytes.clamp(*range.start(), *range.end());
        scene.push(Command::SetBudget(bytes));
        memory.is_dragging = true;
    }
    let is_released = !ui.input(|input| input.pointer.any_down());
    if is_released && (std::mem::take(&mut memory.is_dragging) || was_held) {
        scene.push(Command::SettleBudget);
        memory.budget.wants_focus = true;
    }
}

fn draw<'a>(plot: &mut PlotUi<'a>, look: &Look, model: &'a Model) {
    let colours = &look.colours;
    if let Some(band) = &model.band {
        let fill = colours.accent.gamma_multiply(0.12);
        plot.add(FilledArea::new("", &band.x, &band.low, &band.high).fill_color(fill));
    }
    join(plot, &model.line, colours.weak, 1.0, model.is_mixed);
    join(plot, &model.front, colours.accent, 1.5, false);
    for twin in &model.twins {
        join(plot, twin, colours.weak, 1.0, false);
        let predicted = Points::new("", vec![twin[1]]);
        let ring = predicted.shape(MarkerShape::Circle).radius(3.0);
        plot.points(ring.filled(false).color(colours.weak).allow_hover(false));
    }
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
        let way = [[ghost.x, ghost.y], [now.x, now.y]];
        join(plot, &way, colours.ghost, 1.0, false);
    }
    for point in &model.points {
        if let Some([low, high]) = point.spread {
            let bar = [[point.x, low], [point.x, high]];
            join(plot, &bar, colour(look, point), 1.5, false);
        }
        plot.points(marker(look, point));
    }
}

fn join(plot: &mut PlotUi<'_>, points: &[[f64; 2]], colour: Color32, width: f32, is_dotted: bool) {
    let style = match is_dotted {
        true => LineStyle::dotted_dense(),
        false => LineStyle::Solid,
    };
    let line = Line::new("", PlotPoints::from(points.to_vec()));
    let line = line.color(colour).width(width).style(style);
    plot.line(line.allow_hover(false));
}

fn marker<'a>(look: &Look, point: &Point) -> Points<'a> {
    let (shape, radius, is_filled) = match point.kind {
        Kind::Run(_, method) => (shape(method), 5.0, true),
        Kind::Baseline(_) => (MarkerShape::Circle, 4.0, false),
        Kind::Ghost => (MarkerShape::Circle, 5.0, false),
        // A ring, so that a run of the same recipe is seen inside it.
        Kind::Now => (MarkerShape::Circle, 8.0, false),
        Kind::Proposal => (MarkerShape::Diamond, 8.0, false),
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
        Kind::Now | Kind::Proposal => look.colours.accent,
    }
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
                Kind::Proposal => "Apply takes it into the draft",
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

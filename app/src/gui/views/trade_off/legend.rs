//! What each mark of the plot is: a small drawing and a word, in one wrapped line.

use super::model::{Kind, Model};
use crate::gui::look::Look;
use crate::studio::draft::method_name;
use egui::{Color32, Painter, Rect, RichText, Sense, Shape, Stroke, Ui, vec2};
use egui_plot::MarkerShape;
use pare_engine::solved::Method;

/// All marks in one wrapped line; only those that are in the plot.
pub(super) fn show(ui: &mut Ui, look: &Look, model: &Model) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 0.0);
        entries(ui, look, model, |ui, look, word, draw| {
            entry(ui, look, word, draw);
            ui.add_space(4.0);
        });
    });
}

/// All marks, one under the other, behind a word: for plots without room for them.
pub(super) fn button(ui: &mut Ui, look: &Look, model: &Model) {
    ui.menu_button(RichText::new("Legend").small(), |ui| {
        entries(ui, look, model, |ui, look, word, draw| {
            ui.horizontal(|ui| entry(ui, look, word, draw));
        });
        if let Some(said) = &model.said {
            ui.label(RichText::new(said).small().color(look.colours.weak));
        }
    });
}

fn entries(
    ui: &mut Ui,
    look: &Look,
    model: &Model,
    mut add: impl FnMut(&mut Ui, &Look, &str, &dyn Fn(&Painter, Rect)),
) {
    let colours = &look.colours;
    let has = |wanted: Kind| model.of_kind(|kind| *kind == wanted).is_some();
    add(ui, look, "draft", &ring(colours.accent, 3.5));
    if has(Kind::Proposal) {
        add(ui, look, "proposal", &diamond(colours.accent));
    }
    if has(Kind::Ghost) {
        add(ui, look, "before the last edit", &ring(colours.ghost, 3.5));
    }
    if !model.front.is_empty() {
        add(ui, look, "predicted front", &line(colours.accent));
    }
    if model.band.is_some() {
        add(
            ui,
            look,
            "middle half of runs around it",
            &area(colours.accent),
        );
    }
    add(ui, look, model.baselines_word, &ring(colours.weak, 3.5));
    add(ui, look, "original", &upright(colours.before));
    for &method in &model.methods {
        let word = format!("{} run, measured", method_name(method));
        add(ui, look, &word, &|painter, rect| {
            sign(painter, rect, method, look)
        });
    }
    if !model.twins.is_empty() {
        add(ui, look, "predicted for a run", &ring(colours.weak, 2.0));
    }
}

/// A shape for each method: colour never says it alone.
pub(super) fn shape(method: Method) -> MarkerShape {
    match method {
        Method::Rtn => MarkerShape::Square,
        Method::Gptq => MarkerShape::Diamond,
        Method::Awq => MarkerShape::Up,
        Method::Hqq => MarkerShape::Down,
        Method::Nf4 => MarkerShape::Left,
        Method::Palette => MarkerShape::Right,
        Method::Float => MarkerShape::Plus,
        Method::None => MarkerShape::Cross,
    }
}

fn entry(ui: &mut Ui, look: &Look, word: &str, draw: &dyn Fn(&Painter, Rect)) {
    let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
    draw(ui.painter(), rect);
    ui.label(RichText::new(word).small().color(look.colours.weak));
}

fn ring(colour: Color32, radius: f32) -> impl Fn(&Painter, Rect) {
    move |painter, rect| {
        painter.circle_stroke(rect.center(), radius, Stroke::new(1.0, colour));
    }
}

fn diamond(colour: Color32) -> impl Fn(&Painter, Rect) {
    move |painter, rect| {
        let corners = corners(rect, MarkerShape::Diamond);
        let stroke = Stroke::new(1.5, colour);
        painter.add(Shape::closed_line(corners, stroke));
    }
}

fn line(colour: Color32) -> impl Fn(&Painter, Rect) {
    move |painter, rect| {
        painter.hline(rect.x_range(), rect.center().y, Stroke::new(1.5, colour));
    }
}

fn area(colour: Color32) -> impl Fn(&Painter, Rect) {
    move |painter, rect| {
        painter.rect_filled(rect, 1, colour.gamma_multiply(0.25));
    }
}

fn upright(colour: Color32) -> impl Fn(&Painter, Rect) {
    move |painter, rect| {
        painter.vline(rect.center().x, rect.y_range(), Stroke::new(1.0, colour));
    }
}

/// The shape of a method's runs, as in the plot.
fn sign(painter: &Painter, rect: Rect, method: Method, look: &Look) {
    let corners = corners(rect, shape(method));
    let shape = Shape::convex_polygon(corners, look.method(method), Stroke::NONE);
    painter.add(shape);
}

fn corners(rect: Rect, shape: MarkerShape) -> Vec<egui::Pos2> {
    let place = |x: f32, y: f32| rect.center() + 4.5 * vec2(x, y);
    match shape {
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
    }
}

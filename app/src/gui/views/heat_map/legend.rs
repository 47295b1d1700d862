//! What colours and borders mean: a colour bar with numbers, and a sign for each border.

use super::Memory;
use super::paint::{cross, dashes, hatch};
use super::values::{Quantity, Span};
use crate::gui::look::{Colours, Look};
use crate::gui::scene::Scene;
use crate::studio::Project;
use egui::epaint::Mesh;
use egui::{
    Painter, Rect, Response, RichText, Role, Sense, Shape, Stroke, StrokeKind, Ui, WidgetInfo,
    pos2, vec2,
};

const BAR: f32 = 96.0;
const SIGN: f32 = 11.0;

/// One frame.
pub(super) fn show(ui: &mut Ui, scene: &Scene<'_>, project: &Project, memory: &Memory) {
    let look = scene.look;
    let quantity = memory.shown();
    let name = match quantity {
        Quantity::Loss => project.sensitivity.table.measure.name(),
        Quantity::Error => "relative output error",
    };
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 5.0;
        if let Some(span) = memory.values.span(quantity) {
            scale(ui, look, name, span);
            ui.add_space(6.0);
        }
        let colours = look.colours;
        entry(ui, look, "chosen", |painter, rect| {
            let stroke = Stroke::new(2.0, colours.strong);
            painter.rect_stroke(rect, 0, stroke, StrokeKind::Inside);
        });
        if project.proposal.is_some() {
            entry(ui, look, "proposed", |painter, rect| {
                proposed(painter, rect, &colours)
            });
        }
        if memory.cheapest.is_shown {
            entry(ui, look, "cheapest", |painter, rect| {
                let stroke = Stroke::new(1.0, colours.strong);
                painter.rect_stroke(rect.shrink(2.0), 0, stroke, StrokeKind::Inside);
            });
        }
        if memory.refusals.is_any() {
            let word = format!("not in {}", project.draft().format.word());
            entry(ui, look, &word, |painter, rect| {
                painter.extend(cross(rect, Stroke::new(1.0, colours.weak)));
            });
        }
        entry(ui, look, "not judged", |painter, rect| {
            painter.rect_filled(rect, 0, colours.raised);
            painter.extend(hatch(rect, Stroke::new(1.0, colours.ghost)));
        });
    });
}

fn proposed(painter: &Painter, rect: Rect, colours: &Colours) {
    let mut shapes = Vec::new();
    dashes(
        rect.shrink(0.5),
        Stroke::new(1.5, colours.accent),
        &mut shapes,
    );
    painter.extend(shapes);
}

/// The colour bar between its smallest and its largest number.
fn scale(ui: &mut Ui, look: &Look, name: &str, span: Span) -> Response {
    let weak = look.colours.weak;
    let small = |text: String| RichText::new(text).small().color(weak);
    ui.label(small(name.to_owned()));
    let (low, high) = (super::short(span.low), super::short(span.high));
    ui.label(small(low.clone()));
    let size = vec2(BAR, look.measures.small);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let mut mesh = Mesh::default();
    const STEPS: u32 = 24;
    for step in 0..=STEPS {
        let share = step as f32 / STEPS as f32;
        let x = rect.left() + share * rect.width();
        let colour = Look::magnitude(share);
        mesh.colored_vertex(pos2(x, rect.top()), colour);
        mesh.colored_vertex(pos2(x, rect.bottom()), colour);
        if step > 0 {
            let at = 2 * step;
            mesh.add_triangle(at - 2, at - 1, at);
            mesh.add_triangle(at - 1, at, at + 1);
        }
    }
    ui.painter().add(Shape::mesh(mesh));
    ui.label(small(high.clone()));
    let words = format!("{name} from {low} to {high}, logarithmic");
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    response.on_hover_text(words)
}

fn entry(ui: &mut Ui, look: &Look, word: &str, draw: impl FnOnce(&Painter, Rect)) {
    let (rect, _) = ui.allocate_exact_size(vec2(SIGN, SIGN), Sense::hover());
    draw(ui.painter(), rect);
    ui.label(RichText::new(word).small().color(look.colours.weak));
    ui.add_space(3.0);
}

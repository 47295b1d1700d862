//! Error over bits: every option of one layer, the current one marked; a click takes an option.

use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{error_text, plot, sign};
use crate::studio::draft::LayerEdit;
use crate::studio::estimates::OPTION_BITS;
use crate::studio::figure::Figure;
use crate::studio::{Command, Project};
use egui::{Align2, Pos2, Rect, RichText, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};
use pare_engine::solved::Method;

const HEIGHT: f32 = 128.0;

/// One option, where it is drawn.
struct Place {
    bits: u8,
    error: Option<Figure>,
    column: Rect,
    point: Option<Pos2>,
    is_current: bool,
}

/// The curve of one layer.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, layer: usize) {
    ui.horizontal(|ui| {
        ui.label(RichText::new("Error over bits").strong());
        let hint = RichText::new("click to choose").small();
        ui.label(hint.color(scene.look.colours.weak));
    });
    let look = scene.look;
    let (rect, _) = plot::ground(ui, look, HEIGHT, Sense::hover());
    let places = places(project, layer, rect);
    let points: Vec<Pos2> = places.iter().filter_map(|place| place.point).collect();
    if points.len() < 2 {
        let text = "Estimates are on their way";
        plot::label(
            ui,
            look,
            rect.center(),
            Align2::CENTER_CENTER,
            text,
            look.colours.weak,
        );
    }
    ui.painter()
        .add(Shape::line(points, Stroke::new(1.5, look.colours.line)));
    for place in &places {
        let id = ui.scope_id().with(("option", place.bits));
        let response = ui.interact(place.column, id, Sense::click());
        let words = words(place);
        response.widget_info(|| {
            WidgetInfo::selected(Role::Button, true, place.is_current, words.as_str())
        });
        draw(ui, look, place, response.hovered());
        if response.on_hover_text(words.as_str()).clicked() {
            scene.push(Command::Edit {
                edit: LayerEdit::Bits(place.bits),
                layers: Some(vec![layer]),
                gesture: None,
            });
        }
    }
}

fn places(project: &Project, layer: usize, rect: Rect) -> Vec<Place> {
    let chosen = project.draft().settings[layer];
    let errors = OPTION_BITS.map(|bits| project.error_under(layer, &project.option(layer, bits)));
    let values = || {
        errors
            .iter()
            .flatten()
            .map(|error| error.value)
            .filter(|error| *error > 0.0)
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(0.0, f64::max);
    let width = rect.width() / OPTION_BITS.len() as f32;
    let place = |(index, bits): (usize, u8)| {
        let left = rect.min.x + index as f32 * width;
        let column = Rect::from_min_size(pos2(left, rect.min.y), vec2(width, rect.height()));
        let error = errors[index];
        let height = |error: Figure| plot::log_share(error.value, low, high);
        Place {
            bits,
            error,
            column,
            // Room above for the figure of the largest error.
            point: error.map(|error| {
                let room = rect.height() - 26.0;
                pos2(column.center().x, rect.max.y - 8.0 - height(error) * room)
            }),
            is_current: chosen.method != Method::None && chosen.bits == bits,
        }
    };
    OPTION_BITS.into_iter().enumerate().map(place).collect()
}

fn words(place: &Place) -> String {
    match place.error {
        Some(error) => format!(
            "{} bits: error {} ({})",
            place.bits,
            error_text(error.value),
            error.mark.word()
        ),
        None => format!("{} bits: not estimated yet", place.bits),
    }
}

fn draw(ui: &Ui, look: &Look, place: &Place, is_hovered: bool) {
    let colours = &look.colours;
    if place.is_current || is_hovered {
        let fill = if place.is_current {
            colours.accent_fill
        } else {
            colours.hover
        };
        let column = place.column.shrink2(vec2(3.0, 0.0));
        ui.painter().rect_filled(column, look.measures.corner, fill);
    }
    let foot = pos2(place.column.center().x, place.column.max.y + 1.0);
    let colour = if place.is_current {
        colours.strong
    } else {
        colours.weak
    };
    plot::label(
        ui,
        look,
        foot,
        Align2::CENTER_TOP,
        &place.bits.to_string(),
        colour,
    );
    let (Some(point), Some(error)) = (place.point, place.error) else {
        return;
    };
    let radius = if place.is_current { 4.5 } else { 3.0 };
    ui.painter().circle_filled(point, radius, colours.accent);
    let text = format!("{}{}", sign(error.mark), error_text(error.value));
    plot::label(
        ui,
        look,
        point - vec2(0.0, 7.0),
        Align2::CENTER_BOTTOM,
        &text,
        colour,
    );
}

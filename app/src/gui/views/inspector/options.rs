//! Error over bits, and over zeros: every option of one layer, the current one marked; a click takes an option.

use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{error_text, plot, sign};
use crate::studio::draft::LayerEdit;
use crate::studio::estimates::OPTION_BITS;
use crate::studio::figure::Figure;
use crate::studio::sparse;
use crate::studio::{Command, Project};
use egui::{Align2, Pos2, Rect, RichText, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};
use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::Pruning;

const HEIGHT: f32 = 128.0;

/// One option: what it is called, what it would be, and what it costs.
struct Choice {
    /// At the foot of its column.
    text: String,
    /// For people who point at it: `4 bits`.
    words: String,
    edit: LayerEdit,
    error: Option<Figure>,
    is_current: bool,
}

/// One option, where it is drawn.
struct Place {
    choice: Choice,
    column: Rect,
    point: Option<Pos2>,
}

/// The curve over bits of one layer, and over zeros where it is pruned.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, layer: usize) {
    let settings = project.draft().settings[layer];
    curve(ui, scene, layer, "Error over bits", bits(project, layer));
    if let Some(zeros) = sparse::zeros_of(&settings) {
        let choices = zeros_choices(project, layer, zeros);
        curve(ui, scene, layer, "Error over zeros", choices);
    }
}

fn curve(ui: &mut Ui, scene: &mut Scene<'_>, layer: usize, title: &str, choices: Vec<Choice>) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).strong());
        let hint = RichText::new("click to choose").small();
        ui.label(hint.color(scene.look.colours.weak));
    });
    let look = scene.look;
    let (rect, _) = plot::ground(ui, look, HEIGHT, Sense::hover());
    let places = places(choices, rect);
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
        let choice = &place.choice;
        let id = ui.scope_id().with((title, &choice.text));
        let response = ui.interact(place.column, id, Sense::click());
        let words = words(choice);
        response.widget_info(|| {
            WidgetInfo::selected(Role::Button, true, choice.is_current, words.as_str())
        });
        draw(ui, look, place, response.hovered());
        if response.on_hover_text(words.as_str()).clicked() {
            scene.push(Command::Edit {
                edit: choice.edit,
                layers: Some(vec![layer]),
                gesture: None,
            });
        }
    }
}

fn bits(project: &Project, layer: usize) -> Vec<Choice> {
    let chosen = project.draft().settings[layer];
    let choice = |bits: u8| Choice {
        text: bits.to_string(),
        words: format!("{bits} bits"),
        edit: LayerEdit::Bits(bits),
        error: project.error_under(layer, &project.option(layer, bits)),
        is_current: sparse::has_codes(&chosen) && chosen.bits == bits,
    };
    OPTION_BITS.into_iter().map(choice).collect()
}

/// Shares of zeros in the pattern in force; of an N:M pattern every N.
fn zeros_choices(project: &Project, layer: usize, zeros: Pruning) -> Vec<Choice> {
    let now = zeros.pattern.sparsity().unwrap_or(zeros.sparsity);
    let choice = |share: f64| {
        let settings = project.with_zeros(layer, share);
        let percent = format!("{:.0} %", 100.0 * share);
        let (text, words) = match settings.prune.pattern {
            SparsityPattern::NOfM { .. } => {
                let pattern = settings.prune.pattern.to_string();
                (pattern.clone(), format!("{pattern}, {percent} zeros"))
            }
            _ => (format!("{:.0}", 100.0 * share), format!("{percent} zeros")),
        };
        Choice {
            text,
            words,
            edit: LayerEdit::Sparsity(share),
            error: project.error_under(layer, &settings),
            is_current: (share - now).abs() < 0.005,
        }
    };
    sparse::shares(zeros.pattern)
        .into_iter()
        .map(choice)
        .collect()
}

fn places(choices: Vec<Choice>, rect: Rect) -> Vec<Place> {
    let values = || {
        let errors = choices.iter().filter_map(|choice| choice.error);
        errors.map(|error| error.value).filter(|error| *error > 0.0)
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(0.0, f64::max);
    let width = rect.width() / choices.len().max(1) as f32;
    let place = |(index, choice): (usize, Choice)| {
        let left = rect.min.x + index as f32 * width;
        let column = Rect::from_min_size(pos2(left, rect.min.y), vec2(width, rect.height()));
        let height = |error: Figure| plot::log_share(error.value, low, high);
        Place {
            column,
            // Room above for the figure of the largest error.
            point: choice.error.map(|error| {
                let room = rect.height() - 26.0;
                pos2(column.center().x, rect.max.y - 8.0 - height(error) * room)
            }),
            choice,
        }
    };
    choices.into_iter().enumerate().map(place).collect()
}

fn words(choice: &Choice) -> String {
    match choice.error {
        Some(error) => format!(
            "{}: error {} ({})",
            choice.words,
            error_text(error.value),
            error.mark.word()
        ),
        None => format!("{}: not estimated yet", choice.words),
    }
}

fn draw(ui: &Ui, look: &Look, place: &Place, is_hovered: bool) {
    let colours = &look.colours;
    if place.choice.is_current || is_hovered {
        let fill = if place.choice.is_current {
            colours.accent_fill
        } else {
            colours.hover
        };
        let column = place.column.shrink2(vec2(3.0, 0.0));
        ui.painter().rect_filled(column, look.measures.corner, fill);
    }
    let foot = pos2(place.column.center().x, place.column.max.y + 1.0);
    let colour = if place.choice.is_current {
        colours.strong
    } else {
        colours.weak
    };
    plot::label(
        ui,
        look,
        foot,
        Align2::CENTER_TOP,
        &place.choice.text,
        colour,
    );
    let (Some(point), Some(error)) = (place.point, place.choice.error) else {
        return;
    };
    let radius = if place.choice.is_current { 4.5 } else { 3.0 };
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

//! The rows of what would change, drawn only where they are seen: a click selects layers everywhere.

use super::changes::{Line, Order, Row};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{self, plot};
use crate::studio::selection::Join;
use crate::studio::{Command, Project};
use egui::{Align2, FontId, Rect, Response, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use egui_material_icons::icons::ICON_ARROW_RIGHT_ALT;

/// Width of the column of gains.
const GAIN_WIDTH: f32 = 72.0;
/// Width of what changes into what.
const WORDS_WIDTH: f32 = 108.0;

/// The heading, with the two orders; true where another order was chosen.
pub(super) fn heading(ui: &mut Ui, look: &Look, count: usize, order: &mut Order) -> bool {
    let before = *order;
    ui.horizontal(|ui| {
        let text = match count {
            0 => "No layer changes".to_owned(),
            1 => "1 layer changes".to_owned(),
            count => format!("{count} layers change"),
        };
        ui.label(egui::RichText::new(text).strong());
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = look.measures.grid / 2.0;
            ui.selectable_value(order, Order::Gain, "by gain")
                .on_hover_text("Layers whose change takes away most loss first");
            ui.selectable_value(order, Order::Depth, "by depth")
                .on_hover_text("Layers in the model's order");
        });
    });
    *order != before
}

/// The rows. Takes the room of all of them; those outside the clip are neither drawn nor laid out.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, rows: &[Row]) {
    let height = scene.look.measures.row_height - 2.0;
    let size = vec2(ui.available_width(), height * rows.len() as f32);
    let (whole, _) = ui.allocate_exact_size(size, Sense::hover());
    let seen = ui.clip_rect().y_range();
    let first = ((seen.min - whole.top()) / height).floor().max(0.0) as usize;
    let last = ((seen.max - whole.top()) / height).ceil().max(0.0) as usize;
    for (index, row) in rows.iter().enumerate().take(last).skip(first) {
        let top = whole.top() + height * index as f32;
        let rect = Rect::from_min_size(pos2(whole.left(), top), vec2(whole.width(), height));
        match row {
            Row::Role { name, layers, gain } => role(ui, scene, rect, name, layers, *gain),
            Row::Layer(change) => layer(ui, scene, project, rect, change),
        }
    }
}

fn role(
    ui: &Ui,
    scene: &mut Scene<'_>,
    rect: Rect,
    name: &str,
    layers: &[usize],
    gain: Option<f64>,
) {
    let text = format!("{name} · {}", layers.len());
    let words = format!("Select {} changed layers of {name}", layers.len());
    let response = ui.interact(rect, ui.scope_id().with(("role", name)), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, words.as_str()));
    let look = scene.look;
    ground(ui, look, rect, &response, false);
    let colours = &look.colours;
    put(
        ui,
        look,
        rect.left() + 4.0,
        rect,
        Align2::LEFT_CENTER,
        &text,
        colours.strong,
    );
    gain_cell(ui, look, rect, gain);
    if response.on_hover_text(words).clicked() {
        scene.push(Command::SelectLayers(layers.to_vec()));
    }
}

fn layer(ui: &Ui, scene: &mut Scene<'_>, project: &Project, rect: Rect, change: &Line) {
    let name = &project.layers[change.layer].name;
    let id = ui.scope_id().with(("change", change.layer));
    let response = ui.interact(rect, id, Sense::click());
    let said = format!("{name}: {} to {}", change.from, change.to);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, said.as_str()));
    let look = scene.look;
    let colours = &look.colours;
    let is_chosen = project.selection.contains(change.layer);
    ground(ui, look, rect, &response, is_chosen);
    let room = rect.width() - GAIN_WIDTH - WORDS_WIDTH - 16.0;
    let label = widgets::elided(ui, &change.label, room);
    put(
        ui,
        look,
        rect.left() + 14.0,
        rect,
        Align2::LEFT_CENTER,
        &label,
        colours.text,
    );
    let words = format!(
        "{} {} {}",
        change.from, ICON_ARROW_RIGHT_ALT.codepoint, change.to
    );
    let words_right = rect.right() - GAIN_WIDTH;
    put(
        ui,
        look,
        words_right,
        rect,
        Align2::RIGHT_CENTER,
        &words,
        colours.text,
    );
    gain_cell(ui, look, rect, change.gain);
    if response.hovered() && project.hovered != Some(change.layer) {
        scene.push(Command::Hover(Some(change.layer)));
    }
    if response.clicked() {
        let join = match ui.input(|input| input.modifiers.command) {
            true => Join::Toggle,
            false => Join::Replace,
        };
        scene.push(Command::Select(change.layer, join));
    }
    let hint = match change.gain {
        Some(gain) => format!(
            "{said}\nPredicted loss of this change alone: {:+.1e}",
            -gain
        ),
        None => said,
    };
    response.on_hover_text(hint);
}

fn ground(ui: &Ui, look: &Look, rect: Rect, response: &Response, is_chosen: bool) {
    let fill = match (is_chosen, response.hovered() || response.has_focus()) {
        (true, _) => look.colours.accent_fill,
        (false, true) => look.colours.hover,
        (false, false) => return,
    };
    ui.painter().rect_filled(rect, look.measures.corner, fill);
}

fn gain_cell(ui: &Ui, look: &Look, rect: Rect, gain: Option<f64>) {
    let colours = &look.colours;
    let (text, colour) = match gain {
        None => ("–".to_owned(), colours.weak),
        Some(gain) if gain > 0.0 => (format!("−{}", plot::axis_text(short(gain))), colours.good),
        Some(gain) => (format!("+{}", plot::axis_text(short(-gain))), colours.weak),
    };
    put(
        ui,
        look,
        rect.right() - 4.0,
        rect,
        Align2::RIGHT_CENTER,
        &text,
        colour,
    );
}

/// Two digits that matter.
fn short(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let step = 10f64.powf(value.log10().floor() - 1.0);
    (value / step).round() * step
}

fn put(
    ui: &Ui,
    look: &Look,
    across: f32,
    rect: Rect,
    align: Align2,
    text: &str,
    colour: egui::Color32,
) {
    let font = FontId::proportional(look.measures.text);
    let place = pos2(across, rect.center().y);
    ui.painter().text(place, align, text, font, colour);
}

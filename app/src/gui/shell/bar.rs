//! The bar on top: wordmark, menus, the model, and the headline that is always in sight.
//!
//! Lays out; menus and the headline know what they say.

use super::headline;
use super::menus;
use super::notices::Notices;
use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::action::Action;
use egui::{Button, Panel, RichText, Ui, vec2};
use egui_material_icons::icons::{ICON_ARROW_DROP_DOWN, ICON_SEARCH};

/// The bar's height.
const HEIGHT: f32 = 40.0;

/// Below this width the wordmark goes.
const WORDMARK_FROM: f32 = 1180.0;

/// Widest name of a model.
const NAME_WIDTH: f32 = 150.0;

/// One frame of the bar.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, notices: &mut Notices) {
    let frame = egui::Frame::new()
        .fill(scene.look.colours.raised)
        .inner_margin(egui::Margin::symmetric(8, 0));
    Panel::top("bar")
        .frame(frame)
        .exact_size(HEIGHT)
        .show(ui, |ui| {
            let width = ui.available_width();
            ui.horizontal_centered(|ui| {
                if width >= WORDMARK_FROM {
                    wordmark(ui, scene);
                }
                ui.scope(|ui| {
                    ui.spacing_mut().item_spacing.x = 0.0;
                    ui.visuals_mut().widgets.inactive.weak_bg_fill = egui::Color32::TRANSPARENT;
                    ui.visuals_mut().widgets.inactive.bg_stroke = egui::Stroke::NONE;
                    menus::show(ui, scene);
                });
                model(ui, scene);
                let layout = egui::Layout::right_to_left(egui::Align::Center);
                ui.with_layout(layout, |ui| {
                    notices.bell(ui, scene);
                    palette_button(ui, scene);
                    headline::show(ui, scene);
                });
            });
        });
}

fn wordmark(ui: &mut Ui, scene: &Scene<'_>) {
    let word = RichText::new("pare")
        .size(scene.look.measures.heading + 2.0)
        .strong()
        .color(scene.look.colours.accent);
    ui.label(word);
}

fn palette_button(ui: &mut Ui, scene: &mut Scene<'_>) {
    let button = Button::new(ICON_SEARCH.codepoint).min_size(vec2(26.0, 26.0));
    let response = ui.add(button);
    name(ui, &response, "Command palette");
    if response
        .on_hover_text("Command palette (Ctrl+Shift+P)")
        .clicked()
    {
        scene.act(Action::Palette);
    }
}

/// The model's name with its dirty dot; a click lists recent models.
fn model(ui: &mut Ui, scene: &mut Scene<'_>) {
    let (text, dirty, path) = match scene.project() {
        Some(project) => (
            crate::gui::widgets::elided(ui, &project.name, NAME_WIDTH),
            project.is_dirty(),
            project.path.display().to_string(),
        ),
        None => ("No model".to_owned(), false, "Open a model".to_owned()),
    };
    let title = RichText::new(format!("{text} {}", ICON_ARROW_DROP_DOWN.codepoint)).strong();
    let menu = ui.menu_button(title, |ui| {
        ui.set_min_width(280.0);
        recents(ui, scene);
    });
    menu.response.on_hover_text(path);
    let (spot, response) = ui.allocate_exact_size(vec2(8.0, 8.0), egui::Sense::hover());
    if dirty {
        let colour = scene.look.colours.warning;
        ui.painter().circle_filled(spot.center(), 3.5, colour);
        response.on_hover_text("The recipe has changes that were not saved to a file");
    }
}

fn recents(ui: &mut Ui, scene: &mut Scene<'_>) {
    menus::entry(ui, scene, Action::OpenModel);
    menus::entry(ui, scene, Action::OpenSample);
    if scene.studio.recents.is_empty() {
        return;
    }
    ui.separator();
    ui.label(RichText::new("Recent models").small().weak());
    let recents: Vec<_> = scene.studio.recents.iter().take(9).cloned().collect();
    for (index, recent) in recents.iter().enumerate() {
        let name = recent.path.file_name().unwrap_or(recent.path.as_os_str());
        let button = Button::new(name.to_string_lossy().into_owned())
            .frame_when_inactive(false)
            .shortcut_text(format!("Ctrl+{}", index + 1));
        let response = ui
            .add_enabled(!recent.is_missing, button)
            .on_hover_text(recent.path.display().to_string())
            .on_disabled_hover_text(format!("It is gone: {}", recent.path.display()));
        if response.clicked() {
            scene.push(Command::Open(recent.path.clone()));
            ui.close();
        }
    }
}

/// Gives a button whose face is an icon a name for those who do not see it.
pub(super) fn name(ui: &Ui, response: &egui::Response, name: &str) {
    let enabled = ui.is_enabled();
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, enabled, name));
}

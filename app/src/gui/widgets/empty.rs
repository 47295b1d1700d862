//! What an empty pane says: one sentence, and the button that would fill it.

use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::action::Action;
use egui::{RichText, Ui};

/// Draws the sentence in the middle, and buttons for `actions` under it.
pub fn empty(ui: &mut Ui, scene: &mut Scene<'_>, sentence: &str, actions: &[Action]) {
    let room = ui.available_height();
    ui.vertical_centered(|ui| {
        ui.add_space((room / 2.0 - 24.0).max(8.0));
        ui.label(RichText::new(sentence).color(scene.look.colours.weak));
        ui.add_space(scene.look.measures.grid);
        for &action in actions {
            scene.action_button(ui, action);
        }
    });
}

/// What a list of layers shows where the filter leaves none.
pub fn nothing_matches(ui: &mut Ui, scene: &mut Scene<'_>) {
    let room = ui.available_height();
    ui.vertical_centered(|ui| {
        ui.add_space((room / 2.0 - 24.0).max(8.0));
        ui.weak("No layer matches the filter");
        if ui.button("Show all layers").clicked() {
            scene.push(Command::Filter(String::new()));
        }
    });
}

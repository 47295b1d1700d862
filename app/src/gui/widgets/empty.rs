//! What an empty pane says: one sentence, and the button that would fill it.

use crate::gui::scene::Scene;
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

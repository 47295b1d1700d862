//! The start view.

use crate::gui::scene::Scene;
use egui::Ui;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {}

/// One frame.
pub fn show(ui: &mut Ui, _scene: &mut Scene<'_>, _memory: &mut Memory) {
    ui.label("start");
}

//! TEMP
use crate::gui::scene::Scene;
use egui::Ui;
/// M
#[derive(Debug, Default)]
pub struct Memory {}
/// S
pub fn show(ui: &mut Ui, _scene: &mut Scene<'_>, _memory: &mut Memory) {
    ui.label("runs");
}

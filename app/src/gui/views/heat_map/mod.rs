//! Every layer at every option: how much it hurts, what is chosen.

use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::action::Action;
use egui::Ui;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, _memory: &mut Memory) {
    widgets::empty(
        ui,
        scene,
        "Measuring how much each layer hurts at every option fills this map",
        &[Action::MeasureSensitivity, Action::SketchSensitivity],
    );
}

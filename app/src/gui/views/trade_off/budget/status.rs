//! How sensitivity stands, where anything is to be said or done about it before bits can be proposed.

use super::short_button;
use crate::gui::scene::Scene;
use crate::studio::Project;
use crate::studio::action::Action;
use crate::studio::sensitivity::{SensitivityState, SensitivityStep};
use egui::{ProgressBar, RichText, Ui};

/// One line with its buttons; nothing where all is known.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    let colours = scene.look.colours;
    if let Some(problem) = &project.sensitivity.problem {
        let text = format!("No bits can be proposed: {problem}");
        ui.label(RichText::new(text).color(colours.error));
    }
    match &project.sensitivity.state {
        SensitivityState::Ready => {}
        SensitivityState::Absent => {
            let text = "Sensitivity is not measured yet";
            line(ui, scene, text, colours.weak);
        }
        SensitivityState::Stale => {
            let text = "Sensitivity is of another method or calibration";
            line(ui, scene, text, colours.warning);
        }
        SensitivityState::Failed(reason) => line(ui, scene, reason, colours.error),
        SensitivityState::Measuring(step) => measuring(ui, scene, step),
    }
}

fn line(ui: &mut Ui, scene: &mut Scene<'_>, text: &str, colour: egui::Color32) {
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(text).color(colour))
            .on_hover_text("Known sensitivity predicts the loss of any recipe, and proposes bits");
        short_button(ui, scene, Action::SketchSensitivity, "Measure quickly");
        short_button(ui, scene, Action::MeasureSensitivity, "Measure fully");
    });
}

fn measuring(ui: &mut Ui, scene: &mut Scene<'_>, step: &SensitivityStep) {
    ui.horizontal(|ui| {
        let share = step.done as f32 / step.total.max(1) as f32;
        let bar = ProgressBar::new(share)
            .desired_width(120.0)
            .text(format!("{} of {}", step.done, step.total));
        ui.add(bar);
        let text = format!("Measuring sensitivity: {}", step.stage);
        ui.label(RichText::new(text).color(scene.look.colours.weak));
        short_button(ui, scene, Action::StopSensitivity, "Stop");
    });
}

//! Size against quality: every run, uniform baselines, the original, the draft and where it was before the last edit.
//!
//! `model` makes points of the studio's outlook, once for each change; `paint` draws them.

mod model;
mod paint;

use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::action::Action;
use crate::studio::quality;
use egui::{RichText, Ui};
use model::{Axes, Model, SizeAxis};

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    axes: Axes,
    model: Model,
    /// The point under the pointer when the context menu was opened.
    menu: Option<usize>,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.studio.project() else {
        return widgets::empty(
            ui,
            scene,
            "Open a model to weigh its size against its quality",
            &[Action::OpenModel, Action::OpenSample],
        );
    };
    let outlook = &project.outlook;
    let loss = quality::loss_name(scene.studio);
    let has_guide = outlook.guide.is_some();
    bar(ui, scene, memory, loss, has_guide);
    // What was asked for stays asked for: it is shown once a run makes it known.
    let axes = Axes {
        is_loss: memory.axes.is_loss && has_guide,
        ..memory.axes
    };
    memory.model.follow(scene.studio, project, axes);
    if memory.model.points.is_empty() {
        return widgets::empty(
            ui,
            scene,
            "Estimates of every layer, or a run, fill this plot; estimates are on their way",
            &[Action::StartRun],
        );
    }
    paint::show(ui, scene, memory, axes, loss);
}

fn bar(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, loss: &str, has_guide: bool) {
    let axes = &mut memory.axes;
    ui.horizontal(|ui| {
        ui.label(RichText::new("y").color(scene.look.colours.weak));
        let text = format!("{loss} ≈");
        let button = egui::Button::new(text).selected(axes.is_loss && has_guide);
        let response = ui.add_enabled(has_guide, button).on_hover_text(
            "Measured by runs; of drafts a rough guide: c · error², c the median of runs",
        );
        let response =
            response.on_disabled_hover_text("One run with an evaluation text makes it known");
        if response.clicked() {
            axes.is_loss = true;
        }
        let button = egui::Button::selectable(!axes.is_loss || !has_guide, "error");
        let hint = "Root of the mean squared relative error over all weights";
        if ui.add(button).on_hover_text(hint).clicked() {
            axes.is_loss = false;
        }
        ui.separator();
        ui.label(RichText::new("x").color(scene.look.colours.weak));
        ui.selectable_value(&mut axes.size, SizeAxis::Megabytes, "MB");
        ui.selectable_value(&mut axes.size, SizeAxis::Bits, "bits per weight");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let copy = ui
                .small_button("Copy CSV")
                .on_hover_text("Copy all points as CSV");
            if copy.clicked() {
                ui.ctx().copy_text(memory.model.csv());
            }
        });
    });
}

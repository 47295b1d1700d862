//! The bar on top: menus, the model, and the headline that is always in sight.

use super::notices::Notices;
use crate::gui::scene::Scene;
use crate::studio::action::{Action, View};
use egui::Ui;

const FILE: [Action; 7] = [
    Action::OpenModel,
    Action::OpenSample,
    Action::OpenRecipe,
    Action::SaveRecipe,
    Action::SaveRecipeAs,
    Action::CloseModel,
    Action::Quit,
];

/// One frame of the bar.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, notices: &mut Notices) {
    let frame = egui::Frame::new()
        .fill(scene.look.colours.raised)
        .inner_margin(egui::Margin::symmetric(8, 4));
    egui::Panel::top("bar").frame(frame).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.menu_button("File", |ui| {
                for action in FILE {
                    scene.action_button(ui, action);
                }
            });
            ui.menu_button("View", |ui| {
                for view in View::ALL {
                    scene.action_button(ui, Action::Show(view));
                }
            });
            if let Some(project) = scene.project() {
                ui.strong(&project.name);
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                notices.bell(ui, scene);
            });
        });
    });
}

//! The two windows that stand before others: leaving with a run at work, and the list of shortcuts.

use crate::gui::scene::Scene;
use crate::studio::Command;
use egui::Ui;

/// Which of them is open.
#[derive(Debug, Default)]
pub(super) struct Dialogs {
    shortcuts: bool,
    closing: bool,
}

impl Dialogs {
    pub(super) fn open_shortcuts(&mut self) {
        self.shortcuts = true;
    }

    pub(super) fn confirm_close(&mut self) {
        self.closing = true;
    }

    pub(super) fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        if self.closing {
            let modal = egui::Modal::new(egui::Id::unique("closing")).show(ui.ctx(), |ui| {
                ui.heading("A run is at work");
                ui.label(
                    "Stop it (finished layers are kept for a resume), or keep the window open",
                );
                ui.horizontal(|ui| {
                    if ui.button("Stop and quit").clicked() {
                        scene.push(Command::Close(true));
                        self.closing = false;
                    }
                    if ui.button("Keep the window").clicked() {
                        self.closing = false;
                    }
                });
            });
            if modal.should_close() {
                self.closing = false;
            }
        }
    }
}

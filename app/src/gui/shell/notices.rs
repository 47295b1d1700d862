//! Messages: toasts that go by, and a list behind a bell that stays.

use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::log::Level;
use egui::Ui;
use egui_material_icons::icons::ICON_NOTIFICATIONS;
use std::time::Duration;

/// Toasts and the list.
#[derive(Default)]
pub(super) struct Notices {
    toasts: egui_notify::Toasts,
    is_open: bool,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Notices")
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}

impl Notices {
    pub(super) fn toast(&mut self, level: Level, text: String, _now_seconds: f64) {
        let toast = match level {
            Level::Info => self.toasts.info(text),
            Level::Warning => self.toasts.warning(text),
            Level::Error => self.toasts.error(text),
        };
        toast.duration(Duration::from_secs(if level == Level::Info {
            3
        } else {
            8
        }));
    }

    pub(super) fn bell(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let unread = scene.studio.unread();
        let text = format!("{} {unread}", ICON_NOTIFICATIONS.codepoint);
        if ui.button(text).on_hover_text("Notices").clicked() {
            self.is_open = !self.is_open;
            scene.push(Command::ReadNotices);
        }
    }

    pub(super) fn show(&mut self, ui: &mut Ui, _scene: &mut Scene<'_>) {
        self.toasts.show(ui.ctx());
    }
}

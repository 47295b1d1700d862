//! Messages: toasts that go by, and a list behind a bell that stays.

use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::log::Level;
use egui::Ui;
use egui_material_icons::icons::{ICON_ERROR, ICON_INFO, ICON_NOTIFICATIONS, ICON_WARNING};
use std::time::Duration;

/// How long a toast about what went well stays.
const SHORT: Duration = Duration::from_secs(3);
/// How long a toast that should be read stays; the list keeps it.
const LONG: Duration = Duration::from_secs(8);

/// Toasts and the list.
#[derive(Default)]
pub(super) struct Notices {
    toasts: egui_notify::Toasts,
    /// Toasts not shown yet: their colours are only known in a frame.
    new: Vec<(Level, String)>,
    is_open: bool,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Notices")
            .field("new", &self.new)
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}

impl Notices {
    pub(super) fn toast(&mut self, level: Level, text: String) {
        self.new.push((level, text));
    }

    pub(super) fn bell(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let unread = scene.studio.unread();
        let text = format!("{} {unread}", ICON_NOTIFICATIONS.codepoint);
        if ui.button(text).on_hover_text("Notices").clicked() {
            self.is_open = !self.is_open;
            scene.push(Command::ReadNotices);
        }
    }

    pub(super) fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let colours = &scene.look.colours;
        for (level, text) in self.new.drain(..) {
            // The crate's own signs, and its cross for closing, are in no font that we ship.
            let (sign, colour, stays) = match level {
                Level::Info => (ICON_INFO, colours.accent, SHORT),
                Level::Warning => (ICON_WARNING, colours.warning, LONG),
                Level::Error => (ICON_ERROR, colours.error, LONG),
            };
            self.toasts
                .custom(text, sign.codepoint.to_owned(), colour)
                .closable(false)
                .duration(stays);
        }
        self.toasts.show(ui.ctx());
    }
}

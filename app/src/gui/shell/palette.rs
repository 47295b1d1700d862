//! The command palette: every action, found by a few letters; disabled ones say why.

use crate::gui::scene::Scene;
use egui::Ui;

/// The palette.
#[derive(Debug, Default)]
pub(super) struct Palette {
    is_open: bool,
}

impl Palette {
    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn show(&mut self, _ui: &mut Ui, _scene: &mut Scene<'_>) {}
}

//! Choosing files and folders: the desktop's dialog where there is one, always a field for a path beside it.

use super::Shell;
use crate::gui::scene::Scene;
use crate::studio::effect::Purpose;
use egui::{Context, Ui};
use std::path::PathBuf;

/// The question that is open, and answers not yet taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    asked: Option<Purpose>,
    answers: Vec<(Purpose, Option<PathBuf>)>,
}

impl Places {
    pub(super) fn chosen(&mut self) -> Option<(Purpose, Option<PathBuf>)> {
        self.answers.pop()
    }

    pub(super) fn show(&mut self, _ui: &mut Ui, _scene: &mut Scene<'_>) {}
}

/// Asks for a file or folder.
pub fn ask(shell: &mut Shell, purpose: Purpose, _context: &Context) {
    shell.places.asked = Some(purpose);
}

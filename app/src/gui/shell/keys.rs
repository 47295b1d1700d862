//! Shortcuts: every action's own, longest first, so that Ctrl+Shift+Z is not taken for Ctrl+Z.

use super::palette::Palette;
use crate::gui::scene::Scene;
use crate::studio::action::{Action, Shortcut};
use egui::{Key, KeyboardShortcut, Modifiers, Ui};

/// Turns keys of this frame into actions.
pub(super) fn listen(ui: &mut Ui, scene: &mut Scene<'_>, palette: &Palette) {
    if palette.is_open() {
        return;
    }
    let mut shortcuts: Vec<(Action, KeyboardShortcut)> = Action::all()
        .filter_map(|action| Some((action, keyboard(action.shortcut()?)?)))
        .collect();
    shortcuts.sort_by_key(|(_, shortcut)| !shortcut.modifiers.shift);
    // Fields keep what they understand themselves: all of it, undo, letters.
    let typing = ui.ctx().egui_wants_keyboard_input();
    for (action, shortcut) in shortcuts {
        let is_fields = matches!(
            action,
            Action::SelectAll | Action::Undo | Action::Redo | Action::InvertSelection
        );
        if typing && is_fields {
            continue;
        }
        if ui.input_mut(|input| input.consume_shortcut(&shortcut)) {
            scene.act(action);
        }
    }
}

/// egui's own form of a shortcut.
pub(super) fn keyboard(shortcut: Shortcut) -> Option<KeyboardShortcut> {
    let mut modifiers = Modifiers::NONE;
    if shortcut.command {
        modifiers = modifiers | Modifiers::COMMAND;
    }
    if shortcut.shift {
        modifiers = modifiers | Modifiers::SHIFT;
    }
    Key::from_name(shortcut.key).map(|key| KeyboardShortcut::new(modifiers, key))
}

//! Shortcuts: every action's own, longest first, so that Ctrl+Shift+Z is not taken for Ctrl+Z.
//!
//! Fields keep the keys that they understand themselves. Knows actions, and nothing of what they do.

use crate::gui::scene::Scene;
use crate::studio::action::{Action, Shortcut};
use egui::{Context, Key, KeyboardShortcut, Modifiers, Ui};

/// Turns keys of this frame into actions.
pub(super) fn listen(ui: &mut Ui, scene: &mut Scene<'_>) {
    let typing = ui.ctx().egui_wants_keyboard_input();
    for (action, shortcut) in sorted() {
        if typing && is_of_fields(action, shortcut) {
            continue;
        }
        if ui.input_mut(|input| input.consume_shortcut(&shortcut)) {
            scene.act(action);
        }
    }
}

/// Egui's own form of a shortcut.
fn keyboard(shortcut: Shortcut) -> Option<KeyboardShortcut> {
    let mut modifiers = Modifiers::NONE;
    if shortcut.command {
        modifiers |= Modifiers::COMMAND;
    }
    if shortcut.shift {
        modifiers |= Modifiers::SHIFT;
    }
    Key::from_name(shortcut.key).map(|key| KeyboardShortcut::new(modifiers, key))
}

/// A shortcut as people read it: signs instead of the names of their keys.
pub(super) fn text(context: &Context, shortcut: Shortcut) -> Option<String> {
    let text = context.format_shortcut(&keyboard(shortcut)?);
    let signs = [
        ("Plus", "+"),
        ("Minus", "−"),
        ("Equals", "="),
        ("Questionmark", "?"),
    ];
    let sign = signs.iter().find(|(name, _)| text.ends_with(name));
    Some(match sign {
        Some((name, sign)) => format!("{}{sign}", text.trim_end_matches(name)),
        None => text,
    })
}

/// All keys, those with Shift first: the shorter ones would match them too.
fn sorted() -> Vec<(Action, KeyboardShortcut)> {
    let keys = |action: Action| {
        let keys = action.shortcut().into_iter().chain(action.alias());
        keys.filter_map(move |key| Some((action, keyboard(key)?)))
    };
    let mut keys: Vec<_> = Action::all().flat_map(keys).collect();
    keys.sort_by_key(|(_, shortcut)| !shortcut.modifiers.shift);
    keys
}

/// Whether a field with the caret has its own use for the key: letters, undo, all of it.
fn is_of_fields(action: Action, shortcut: KeyboardShortcut) -> bool {
    let writes = shortcut.modifiers == Modifiers::NONE && shortcut.logical_key == Key::Questionmark;
    writes || matches!(action, Action::SelectAll | Action::Undo | Action::Redo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_one_that_keyboards_have() {
        for action in Action::all() {
            for key in action.shortcut().into_iter().chain(action.alias()) {
                assert!(keyboard(key).is_some(), "{action:?}: no key {}", key.key);
            }
        }
    }

    #[test]
    fn longer_keys_come_first() {
        let place = |wanted: Action| sorted().iter().position(|(action, _)| *action == wanted);
        assert!(place(Action::Redo) < place(Action::Undo));
        assert!(place(Action::StopRun) < place(Action::StartRun));
    }
}

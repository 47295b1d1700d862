//! What keys mean while the table has them.
//!
//! Letters and digits come as text where keyboards differ, so both the key and the text are understood, once. Keys with
//! a command of the whole window (Ctrl+A, Ctrl+Z) are not here.

use super::Memory;
use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::action::{Action, View};
use crate::studio::draft::{LayerEdit, MAX_BITS, MIN_BITS};
use crate::studio::rows::SortKey;
use crate::studio::{Command, Project};
use egui::{Event, Key, Modifiers, Popup, Ui};
use pare_engine::solved::Method;

/// Keys that belong to no action, and what they do: for the list of shortcuts.
pub const KEYS: [(&str, &str); 6] = [
    ("2 to 8", "Set bits of the selection"),
    ("[  ]", "Lower or raise bits"),
    ("M", "Choose a method"),
    ("Up Down", "Walk over layers, with Shift select"),
    ("Left Right", "Fold or unfold blocks"),
    ("Shift click", "Select a range, with Ctrl add it"),
];

/// What a key asks for.
#[derive(Debug, Clone, PartialEq)]
enum Ask {
    Do(Command),
    OpenMethods,
    /// Fold the cursor's block, or unfold it.
    Fold(bool),
}

/// Takes in the keys of this frame.
pub(super) fn listen(ui: &Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    if ui.ctx().egui_wants_keyboard_input() || Popup::is_any_open(ui.ctx()) {
        return;
    }
    let events = ui.input(|input| input.events.clone());
    for ask in asks(&events, memory.page_rows as isize) {
        match ask {
            Ask::Do(command) => scene.push(command),
            Ask::OpenMethods => memory.open_methods = !project.selection.is_empty(),
            Ask::Fold(fold) => scene.commands.extend(folding(project, fold)),
        }
    }
}

/// What `events` ask for.
fn asks(events: &[Event], page: isize) -> Vec<Ask> {
    widgets::asks(events, |event| of_key(event, page), of_text)
}

fn of_key(event: &Event, page: isize) -> Option<Ask> {
    let act = |action| Some(Ask::Do(Command::Act(action)));
    let &Event::Key {
        key,
        pressed: true,
        modifiers,
        ..
    } = event
    else {
        return match event {
            Event::Copy => act(Action::CopySettings),
            Event::Paste(_) => act(Action::PasteSettings),
            _ => None,
        };
    };
    if modifiers.command && !modifiers.shift && key == Key::D {
        return act(Action::FillDown);
    }
    if let Some(steps) = steps_of(key, page) {
        let plain = !modifiers.command && !modifiers.alt;
        return plain.then_some(Ask::Do(Command::Step(steps, modifiers.shift)));
    }
    if modifiers != Modifiers::NONE {
        return None;
    }
    match key {
        Key::Escape => act(Action::ClearSelection),
        Key::Enter => Some(Ask::Do(Command::Show(View::Inspector))),
        Key::ArrowLeft => Some(Ask::Fold(true)),
        Key::ArrowRight => Some(Ask::Fold(false)),
        key => of_text(key.symbol_or_name()),
    }
}

fn steps_of(key: Key, page: isize) -> Option<isize> {
    Some(match key {
        Key::ArrowUp => -1,
        Key::ArrowDown => 1,
        Key::PageUp => -page,
        Key::PageDown => page,
        Key::Home => isize::MIN,
        Key::End => isize::MAX,
        _ => return None,
    })
}

fn of_text(text: &str) -> Option<Ask> {
    let edit = |edit| {
        Some(Ask::Do(Command::Edit {
            edit,
            layers: None,
            gesture: None,
        }))
    };
    match text {
        "0" => edit(LayerEdit::Method(Method::None)),
        "[" => edit(LayerEdit::BitsBy(-1)),
        "]" => edit(LayerEdit::BitsBy(1)),
        "m" | "M" => Some(Ask::OpenMethods),
        "l" | "L" => Some(Ask::Do(Command::Act(Action::ToggleLock))),
        digit => {
            let bits = digit.parse().ok()?;
            (MIN_BITS..=MAX_BITS)
                .contains(&bits)
                .then(|| edit(LayerEdit::Bits(bits)))?
        }
    }
}

/// Blocks of the selection that are not yet as asked; without a selection, all of them.
fn folding(project: &Project, fold: bool) -> Vec<Command> {
    if project.sort.key != SortKey::Model {
        return Vec::new();
    }
    let selection = &project.selection;
    let mut blocks: Vec<Option<usize>> = Vec::new();
    for group in &project.rows.groups {
        let is_meant =
            selection.is_empty() || group.layers.iter().any(|&layer| selection.contains(layer));
        if is_meant && group.folded != fold && !blocks.contains(&group.block) {
            blocks.push(group.block);
        }
    }
    blocks.into_iter().map(Command::Fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: Key, modifiers: Modifiers) -> Event {
        Event::Key {
            key,
            physical_key: None,
            pressed: true,
            repeat: false,
            modifiers,
        }
    }

    #[test]
    fn keys_mean_what_menus_say() {
        let bits = |bits| {
            Ask::Do(Command::Edit {
                edit: LayerEdit::Bits(bits),
                layers: None,
                gesture: None,
            })
        };
        let text = |text: &str| Event::Text(text.to_owned());
        let cases = [
            (
                vec![key(Key::Num4, Modifiers::NONE), text("4")],
                vec![bits(4)],
            ),
            // On a French keyboard a digit is a shifted key that egui has no name for.
            (vec![text("8")], vec![bits(8)]),
            (vec![key(Key::Num4, Modifiers::COMMAND)], vec![]),
            (vec![key(Key::Num9, Modifiers::NONE), text("9")], vec![]),
            (
                vec![key(Key::M, Modifiers::NONE), text("m")],
                vec![Ask::OpenMethods],
            ),
            (
                vec![key(Key::ArrowDown, Modifiers::SHIFT)],
                vec![Ask::Do(Command::Step(1, true))],
            ),
            (
                vec![key(Key::PageUp, Modifiers::NONE)],
                vec![Ask::Do(Command::Step(-12, false))],
            ),
            (
                vec![Event::Copy],
                vec![Ask::Do(Command::Act(Action::CopySettings))],
            ),
            (
                vec![key(Key::ArrowLeft, Modifiers::NONE)],
                vec![Ask::Fold(true)],
            ),
        ];
        for (events, expected) in cases {
            assert_eq!(asks(&events, 12), expected, "{events:?}");
        }
    }
}

//! What keys mean while cells have them: arrows move a cell's mark, Enter and Space take its option, digits set bits.

use super::{Memory, touch};
use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::action::Action;
use crate::studio::draft::{LayerEdit, MAX_BITS, MIN_BITS};
use crate::studio::{Command, Project};
use egui::{Event, Key, Modifiers, Popup, Ui};
use pare_engine::solved::Method;

/// Keys that belong to no action, and what they do: for the list of shortcuts.
pub const KEYS: [(&str, &str); 3] = [
    ("Arrows", "Walk over cells"),
    ("Enter, Space", "Take the option of the cell"),
    ("2 to 8", "Set bits of the cell's layer"),
];

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ask {
    /// Rows down, columns right.
    Move(isize, isize),
    /// The option of the marked cell.
    Take,
    Edit(LayerEdit),
    Act(Action),
}

/// Takes in the keys of this frame.
pub(super) fn listen(ui: &Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    if ui.ctx().egui_wants_keyboard_input() || Popup::is_any_open(ui.ctx()) {
        return;
    }
    let events = ui.input(|input| input.events.clone());
    for ask in asks(&events, memory.page_rows.max(1) as isize) {
        match ask {
            Ask::Move(down, right) => step(project, memory, down, right),
            Ask::Take => {
                let cell = memory.cursor.and_then(|(layer, place)| {
                    Some((layer, memory.grid.columns.get(place)?.option))
                });
                if let Some((layer, option)) = cell {
                    touch::set(scene, project, memory, layer, option);
                }
            }
            Ask::Edit(edit) => {
                let layers = memory
                    .cursor
                    .map(|(layer, _)| touch::touched(project, layer));
                scene.push(Command::Edit {
                    edit,
                    layers,
                    gesture: None,
                });
            }
            Ask::Act(action) => scene.act(action),
        }
    }
}

/// What `events` ask for.
fn asks(events: &[Event], page: isize) -> Vec<Ask> {
    widgets::asks(events, |event| of_key(event, page), of_text)
}

fn of_key(event: &Event, page: isize) -> Option<Ask> {
    let &Event::Key {
        key,
        pressed: true,
        modifiers: Modifiers::NONE,
        ..
    } = event
    else {
        return None;
    };
    Some(match key {
        Key::ArrowUp => Ask::Move(-1, 0),
        Key::ArrowDown => Ask::Move(1, 0),
        Key::ArrowLeft => Ask::Move(0, -1),
        Key::ArrowRight => Ask::Move(0, 1),
        Key::PageUp => Ask::Move(-page, 0),
        Key::PageDown => Ask::Move(page, 0),
        Key::Home => Ask::Move(isize::MIN, 0),
        Key::End => Ask::Move(isize::MAX, 0),
        Key::Enter | Key::Space => Ask::Take,
        Key::Escape => Ask::Act(Action::ClearSelection),
        key => return of_text(key.symbol_or_name()),
    })
}

fn of_text(text: &str) -> Option<Ask> {
    Some(match text {
        "0" => Ask::Edit(LayerEdit::Method(Method::None)),
        "[" => Ask::Edit(LayerEdit::BitsBy(-1)),
        "]" => Ask::Edit(LayerEdit::BitsBy(1)),
        digit => {
            let bits = digit.parse().ok()?;
            (MIN_BITS..=MAX_BITS)
                .contains(&bits)
                .then_some(Ask::Edit(LayerEdit::Bits(bits)))?
        }
    })
}

/// Moves the mark; the first move puts it on the selected layer, or on the first one.
fn step(project: &Project, memory: &mut Memory, down: isize, right: isize) {
    let grid = &memory.grid;
    let (Some(last_line), Some(last_column)) = (
        grid.lines.len().checked_sub(1),
        grid.columns.len().checked_sub(1),
    ) else {
        return;
    };
    let moved = |from: usize, steps: isize, last: usize| {
        (from as isize)
            .saturating_add(steps)
            .clamp(0, last as isize) as usize
    };
    let here = memory
        .cursor
        .and_then(|(layer, column)| Some((grid.line_of(layer)?, column)));
    let (line, column) = match here {
        Some((line, column)) => (
            moved(line, down, last_line),
            moved(column, right, last_column),
        ),
        None => {
            let selected = project.selection.cursor();
            (
                selected.and_then(|layer| grid.line_of(layer)).unwrap_or(0),
                0,
            )
        }
    };
    memory.cursor = Some((grid.lines[line].layer, column));
    memory.reveal = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_table_means() {
        let key = |key, modifiers| Event::Key {
            key,
            physical_key: None,
            pressed: true,
            repeat: false,
            modifiers,
        };
        let none = Modifiers::NONE;
        let four = Ask::Edit(LayerEdit::Bits(4));
        let cases = [
            (
                vec![key(Key::Num4, none), Event::Text("4".to_owned())],
                vec![four],
            ),
            (vec![Event::Text("4".to_owned())], vec![four]),
            (vec![key(Key::Num9, none)], vec![]),
            (vec![key(Key::Num4, Modifiers::COMMAND)], vec![]),
            (vec![key(Key::PageDown, none)], vec![Ask::Move(12, 0)]),
            (vec![key(Key::ArrowLeft, none)], vec![Ask::Move(0, -1)]),
            (
                vec![key(Key::Space, none), Event::Text(" ".to_owned())],
                vec![Ask::Take],
            ),
        ];
        for (events, expected) in cases {
            assert_eq!(asks(&events, 12), expected, "{events:?}");
        }
    }
}

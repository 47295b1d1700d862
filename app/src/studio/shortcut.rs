//! Which keys do which action. Knows no keys' events: a shortcut is a description that a face turns into its own.

use super::action::{Action, View};

/// A key with modifiers; `command` is Ctrl, and Cmd on a Mac.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortcut {
    /// Ctrl or Cmd.
    pub command: bool,
    /// Shift.
    pub shift: bool,
    /// The key's name as egui spells it: `O`, `F5`, `Plus`, `Escape`.
    pub key: &'static str,
}

impl Action {
    /// Other keys that do the same.
    pub fn alias(self) -> Option<Shortcut> {
        let command = |key| Shortcut {
            command: true,
            shift: false,
            key,
        };
        match self {
            Self::Redo => Some(command("Y")),
            Self::Palette => Some(command("P")),
            Self::ZoomIn => Some(command("Equals")),
            Self::Shortcuts => Some(Shortcut {
                command: false,
                shift: false,
                key: "Questionmark",
            }),
            _ => None,
        }
    }

    /// The key, if any.
    pub fn shortcut(self) -> Option<Shortcut> {
        let plain = |key| Shortcut {
            command: false,
            shift: false,
            key,
        };
        let command = |key| Shortcut {
            command: true,
            shift: false,
            key,
        };
        let both = |key| Shortcut {
            command: true,
            shift: true,
            key,
        };
        Some(match self {
            Self::OpenModel => command("O"),
            Self::OpenRecipe => both("O"),
            Self::SaveRecipe => command("S"),
            Self::SaveRecipeAs => both("S"),
            Self::Undo => command("Z"),
            Self::Redo => both("Z"),
            Self::SelectAll => command("A"),
            Self::InvertSelection => command("I"),
            Self::FocusFilter => command("F"),
            Self::StartRun => plain("F5"),
            Self::StopRun => Shortcut {
                command: false,
                shift: true,
                key: "F5",
            },
            Self::MeasureSensitivity => plain("F6"),
            Self::StartTraining => plain("F7"),
            Self::ApplyProposal => command("Enter"),
            Self::Export => command("E"),
            Self::Palette => both("P"),
            Self::Shortcuts => plain("F1"),
            Self::ZoomIn => command("Plus"),
            Self::ZoomOut => command("Minus"),
            Self::ZoomReset => command("0"),
            Self::NextPane => command("Tab"),
            Self::Quit => command("Q"),
            Self::OpenRecent(place) => {
                const DIGITS: [&str; 9] = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
                command(DIGITS.get(usize::from(place).checked_sub(1)?)?)
            }
            _ => return None,
        })
    }

    /// The key, if any, that means it while the table of layers has the keys: letters and digits belong to whatever has
    /// the caret, so that these hold nowhere else.
    pub fn table_shortcut(self) -> Option<Shortcut> {
        let (command, key) = match self {
            Self::CopySettings => (true, "C"),
            Self::PasteSettings => (true, "V"),
            Self::FillDown => (true, "D"),
            Self::KeepDense => (false, "0"),
            Self::ToggleLock => (false, "L"),
            Self::ClearSelection => (false, "Escape"),
            Self::Show(View::Inspector) => (false, "Enter"),
            _ => return None,
        };
        Some(Shortcut {
            command,
            shift: false,
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_actions_share_a_key() {
        let mut seen: Vec<(Shortcut, Action)> = Vec::new();
        for action in Action::all() {
            for key in action.shortcut().into_iter().chain(action.alias()) {
                let other = seen.iter().find(|(known, _)| *known == key);
                assert!(other.is_none(), "{action:?} shares {key:?} with {other:?}");
                seen.push((key, action));
            }
        }
    }
}

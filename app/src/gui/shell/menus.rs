//! The menus, made from actions: label, shortcut, and why an entry is disabled.
//!
//! Which action stands in which menu is said here and nowhere else. Knows no command but an action's.

use super::keys;
use crate::gui::scene::Scene;
use crate::studio::action::{Action, View};
use egui::{Button, Ui};

/// A menu: its name and its entries, in groups that a line parts.
type Menu = (&'static str, &'static [&'static [Action]]);

/// Every menu but File's recent models.
pub(super) const MENUS: [Menu; 6] = [
    (
        "File",
        &[
            &[Action::OpenModel, Action::OpenSample, Action::CloseModel],
            &[
                Action::OpenRecipe,
                Action::SaveRecipe,
                Action::SaveRecipeAs,
                Action::CopyRecipe,
            ],
            &[Action::Export, Action::Quit],
        ],
    ),
    (
        "Edit",
        &[
            &[Action::Undo, Action::Redo],
            &[
                Action::CopySettings,
                Action::PasteSettings,
                Action::FillDown,
                Action::ApplyToRole,
            ],
            &[Action::KeepDense, Action::ToggleLock],
            &[Action::ApplyProposal, Action::DiscardProposal],
        ],
    ),
    (
        "Select",
        &[
            &[
                Action::SelectAll,
                Action::SelectRole,
                Action::InvertSelection,
                Action::ClearSelection,
            ],
            &[Action::FocusFilter],
        ],
    ),
    (
        "Run",
        &[
            &[
                Action::StartRun,
                Action::PauseRun,
                Action::StopRun,
                Action::ResumeRun,
            ],
            &[
                Action::Calibrate,
                Action::MeasureSensitivity,
                Action::SketchSensitivity,
                Action::StopSensitivity,
            ],
            &[
                Action::StartTraining,
                Action::CopyTraining,
                Action::CopyCurve,
            ],
            &[Action::CopyCommandLine],
        ],
    ),
    (
        "View",
        &[
            &[
                Action::Show(View::Start),
                Action::Show(View::Layers),
                Action::Show(View::Inspector),
                Action::Show(View::Sensitivity),
                Action::Show(View::TradeOff),
                Action::Show(View::Run),
                Action::Show(View::Train),
                Action::Show(View::Runs),
                Action::Show(View::Compare),
                Action::Show(View::Size),
                Action::Show(View::Export),
                Action::Show(View::Settings),
            ],
            &[Action::NextPane, Action::ResetLayout],
            &[Action::ZoomIn, Action::ZoomOut, Action::ZoomReset],
        ],
    ),
    ("Help", &[&[Action::Palette, Action::Shortcuts]]),
];

/// Width of a menu's entries.
const WIDTH: f32 = 260.0;

/// All menus, side by side.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>) {
    for (name, groups) in MENUS {
        ui.menu_button(name, |ui| {
            ui.set_min_width(WIDTH);
            for (index, group) in groups.iter().enumerate() {
                if index > 0 {
                    ui.separator();
                }
                for &action in *group {
                    entry(ui, scene, action);
                }
            }
        });
    }
}

/// One entry: a click does it and closes the menu; a disabled one says why under the pointer.
pub(super) fn entry(ui: &mut Ui, scene: &mut Scene<'_>, action: Action) {
    let availability = action.availability(scene.studio);
    let mut button = Button::new(action.label_in(scene.studio)).frame_when_inactive(false);
    let shortcut = action.shortcut();
    if let Some(text) = shortcut.and_then(|key| keys::text(ui.ctx(), key)) {
        button = button.shortcut_text(text);
    } else {
        // Without a right side, egui would centre the label.
        button = button.right_text("");
    }
    let response = ui.add_enabled(availability.is_ok(), button);
    let response = match availability {
        Ok(()) => response,
        Err(reason) => response.on_disabled_hover_text(reason),
    };
    if response.clicked() {
        scene.act(action);
        ui.close();
    }
}

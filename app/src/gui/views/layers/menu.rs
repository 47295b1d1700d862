//! The context menu of rows: the same actions as everywhere, and lists of methods, bits and groups.

use super::{Memory, choices};
use crate::gui::scene::Scene;
use crate::studio::action::{Action, Shortcut, View};
use crate::studio::{Command, Project};
use egui::{
    Align, Button, Id, Key, KeyboardShortcut, Layout, Modifiers, Popup, PopupKind, Role,
    SetOpenCommand, Ui, WidgetInfo,
};
use pare_engine::solved::Method;

/// The actions, in groups.
const ACTIONS: [&[Action]; 3] = [
    &[
        Action::CopySettings,
        Action::PasteSettings,
        Action::FillDown,
        Action::ApplyToRole,
    ],
    &[Action::KeepDense, Action::ToggleLock],
    &[
        Action::SelectRole,
        Action::InvertSelection,
        Action::Show(View::Inspector),
    ],
];

/// Shows the menu while it is open.
pub(super) fn show(ui: &Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let id = Id::unique("layers context menu");
    let place = Id::unique("layers context menu's place");
    let asked = memory.context_at.take();
    if let Some(at) = asked {
        ui.data_mut(|data| data.insert_temp(place, at));
    }
    let Some(at) = ui.data(|data| data.get_temp::<egui::Pos2>(place)) else {
        return;
    };
    let shown = Popup::new(id, ui.ctx().clone(), at, ui.layer_id())
        .kind(PopupKind::Menu)
        .layout(Layout::top_down_justified(Align::Min))
        .style(egui::containers::menu::menu_style)
        .gap(0.0)
        .open_memory(asked.map(|_| SetOpenCommand::Bool(true)))
        .show(|ui| content(ui, scene, project));
    if shown.is_none() {
        ui.data_mut(|data| data.remove::<egui::Pos2>(place));
    }
}

fn content(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    ui.set_min_width(240.0);
    let mut edit = None;
    let mut list = |ui: &mut Ui, title: &str, add: fn(&mut Ui) -> Option<_>| {
        let inner = ui.menu_button(title, add).inner.flatten();
        edit = edit.or(inner);
    };
    list(ui, "Method", |ui| choices::methods(ui, &Method::ALL, None));
    list(ui, "Bits", |ui| choices::bits(ui, None));
    list(ui, "Group", |ui| choices::groups(ui, None));
    list(ui, "Zeros", |ui| choices::zeros(ui, None));
    for actions in ACTIONS {
        ui.separator();
        for &action in actions {
            item(ui, scene, action);
        }
    }
    if let Some(edit) = edit {
        scene.push(Command::Edit {
            edit,
            layers: None,
            gesture: None,
        });
        ui.close();
    }
    let count = project.selection.len();
    if count > 1 {
        ui.separator();
        ui.weak(format!("{count} layers selected"));
    }
}

fn item(ui: &mut Ui, scene: &mut Scene<'_>, action: Action) {
    let availability = action.availability(scene.studio);
    let key = action.table_shortcut().or(action.shortcut());
    let key = key.and_then(|key| key_text(ui, key));
    let button = Button::new(action.label()).shortcut_text(key.unwrap_or_default());
    let response = ui.add_enabled(availability.is_ok(), button);
    let enabled = availability.is_ok();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, action.label()));
    let response = match availability {
        Ok(()) => response,
        Err(reason) => response.on_disabled_hover_text(reason),
    };
    if response.clicked() {
        scene.act(action);
        ui.close();
    }
}

/// The key as this system writes it.
fn key_text(ui: &Ui, shortcut: Shortcut) -> Option<String> {
    let mut modifiers = Modifiers::NONE;
    modifiers.command = shortcut.command;
    modifiers.shift = shortcut.shift;
    let key = Key::from_name(shortcut.key)?;
    Some(
        ui.ctx()
            .format_shortcut(&KeyboardShortcut::new(modifiers, key)),
    )
}

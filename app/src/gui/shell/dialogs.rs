//! The two windows that stand before others: leaving with a run at work, and the list of shortcuts.

use super::keys;
use super::menus::MENUS;
use crate::gui::scene::Scene;
use crate::gui::views::{heat_map, layers, trade_off};
use crate::studio::Command;
use crate::studio::action::Action;
use egui::{Grid, Id, Modal, RichText, Ui};

/// Which of them is open.
#[derive(Debug, Default)]
pub(super) struct Dialogs {
    shortcuts: bool,
    closing: bool,
}

impl Dialogs {
    pub(super) fn open_shortcuts(&mut self) {
        self.shortcuts = true;
    }

    pub(super) fn confirm_close(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_open(&self) -> bool {
        self.shortcuts || self.closing
    }

    pub(super) fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        if self.closing {
            self.closing = !closing(ui, scene);
        }
        if self.shortcuts {
            self.shortcuts = !shortcuts(ui);
        }
    }
}

/// Asks whether to leave; true once answered.
fn closing(ui: &mut Ui, scene: &mut Scene<'_>) -> bool {
    // A run that ended by itself leaves nothing to ask.
    let (waiting, at_work) = (scene.studio.waiting.len(), scene.studio.active.is_some());
    let studio = scene.studio;
    let beside = studio.side_job.as_ref().map(|job| job.name.as_str());
    let modal = Modal::new(Id::unique("closing"))
        .frame(egui::Frame::window(ui.style()))
        .show(ui.ctx(), |ui| {
            ui.set_width(380.0);
            ui.heading(match (at_work, beside) {
                (true, _) => "A run is at work".to_owned(),
                (false, Some(name)) => format!("{name} is at work"),
                (false, None) => "The run has ended".to_owned(),
            });
            ui.add_space(4.0);
            ui.label(match (at_work, beside) {
                (false, Some(_)) => "Stop it and quit: nothing of it is kept",
                _ => "Stop it and quit: finished layers are kept, and Resume goes on from them",
            });
            if waiting > 0 {
                ui.label(format!("{waiting} more waiting will not start"));
            }
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                let keep = ui.button("Keep the window");
                let quit = ui.button("Stop and quit");
                if quit.clicked() {
                    scene.push(Command::Close(true));
                }
                keep.clicked() || quit.clicked()
            })
            .inner
        });
    modal.inner || modal.should_close()
}

/// Lists all shortcuts; true once closed.
fn shortcuts(ui: &mut Ui) -> bool {
    let height = ui.ctx().content_rect().height() - 160.0;
    let modal = Modal::new(Id::unique("shortcuts"))
        .frame(egui::Frame::window(ui.style()))
        .show(ui.ctx(), |ui| {
            ui.set_width(720.0);
            ui.heading("Keyboard shortcuts");
            ui.add_space(4.0);
            egui::ScrollArea::vertical()
                .max_height(height)
                .show(ui, list);
            ui.add_space(8.0);
            ui.button("Close").clicked()
        });
    modal.inner || modal.should_close()
}

/// Every action that has a key, in two columns, by menus.
pub(in crate::gui) fn list(ui: &mut Ui) {
    ui.columns(2, |columns| {
        let middle = MENUS.len() / 2;
        for (index, (name, groups)) in MENUS.iter().enumerate() {
            let column = &mut columns[usize::from(index >= middle)];
            let actions = groups.iter().copied().flatten().copied();
            section(column, name, actions);
        }
        let column = &mut columns[1];
        plain(column, "Table of layers", &layers::KEYS);
        plain(column, "Sensitivity", &heat_map::KEYS);
        plain(column, "Budget", &trade_off::KEYS);
        column.label(RichText::new("Recent models").strong());
        let keys = [1, 9].map(|place| keys_text(column, Action::OpenRecent(place)));
        if let [Some(first), Some(last)] = keys {
            column.horizontal(|ui| {
                ui.label(RichText::new(format!("{first} … {last}")).monospace());
                ui.label("Open the recent model of that place");
            });
        }
    });
}

/// Keys that only one view has.
fn plain(ui: &mut Ui, view: &str, keys: &[(&str, &str)]) {
    ui.label(RichText::new(view).strong());
    let grid = Grid::new(("shortcuts of a view", view)).num_columns(2);
    grid.min_col_width(160.0).show(ui, |ui| {
        for (keys, what) in keys {
            ui.label(RichText::new(*keys).monospace());
            ui.label(*what);
            ui.end_row();
        }
    });
    ui.add_space(8.0);
}

fn section(ui: &mut Ui, name: &str, actions: impl Iterator<Item = Action>) {
    let keyed: Vec<(Action, String)> = actions
        .filter_map(|action| Some((action, keys_text(ui, action)?)))
        .collect();
    if keyed.is_empty() {
        return;
    }
    ui.label(RichText::new(name).strong());
    Grid::new(("shortcuts", name))
        .num_columns(2)
        .min_col_width(160.0)
        .show(ui, |ui| {
            for (action, keys) in keyed {
                ui.label(RichText::new(keys).monospace());
                ui.label(action.label());
                ui.end_row();
            }
        });
    ui.add_space(8.0);
}

/// The keys of an action as people read them.
fn keys_text(ui: &Ui, action: Action) -> Option<String> {
    let text = |key| keys::text(ui.ctx(), key);
    let first = action.shortcut().or(action.table_shortcut());
    let first = first.and_then(text)?;
    Some(match action.alias().and_then(text) {
        Some(other) => format!("{first}, {other}"),
        None => first,
    })
}

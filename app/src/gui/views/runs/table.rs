//! The table: a click selects, Ctrl adds, a right click opens the menu, a double click on the name renames.

use super::rows::Column;
use super::{Memory, menu};
use crate::gui::scene::Scene;
use crate::gui::widgets::{sign_button, text_field};
use crate::studio::Command;
use crate::studio::runs::{RunId, RunStatus};
use egui::{Align, Label, Layout, RichText, Sense, TextEdit, Ui, vec2};
use egui_material_icons::icons::{
    ICON_ARROW_DROP_DOWN, ICON_ARROW_DROP_UP, ICON_CHECK, ICON_CLOSE, ICON_KEEP, ICON_MORE_VERT,
    ICON_PLAY_ARROW, ICON_SCHEDULE, ICON_STOP,
};
use egui_table::{CellInfo, HeaderCellInfo, HeaderRow, Table, TableDelegate};

/// Points left and right of a cell's text.
const MARGIN: i8 = 6;
/// Width of the columns of the pin and of the menu.
const SIGN_WIDTH: f32 = 32.0;

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let sign = || egui_table::Column::new(SIGN_WIDTH).resizable(false);
    let plain = Column::ALL.map(|column| egui_table::Column::new(column.width()).resizable(true));
    let columns: Vec<_> = [sign(), sign()].into_iter().chain(plain).collect();
    let rows = memory.rows.rows.len() as u64;
    let height = scene.look.measures.row_height;
    let mut hands = Hands { scene, memory };
    Table::new()
        .id_salt("runs")
        .num_rows(rows)
        .columns(columns)
        .num_sticky_cols(3)
        .headers([HeaderRow::new(height)])
        .show(ui, &mut hands);
}

struct Hands<'a, 'b> {
    scene: &'a mut Scene<'b>,
    memory: &'a mut Memory,
}

impl Hands<'_, '_> {
    fn id(&self, row: u64) -> Option<RunId> {
        let row = self.memory.rows.rows.get(usize::try_from(row).ok()?)?;
        Some(row.id)
    }

    fn select(&mut self, id: RunId, add: bool) {
        let selected = &mut self.memory.selected;
        let known = selected.iter().position(|&other| other == id);
        match (add, known) {
            (false, _) => *selected = vec![id],
            (true, Some(known)) => drop(selected.remove(known)),
            (true, None) => selected.push(id),
        }
    }

    fn pin(&mut self, ui: &mut Ui, id: RunId) {
        let pinned = self.scene.studio.run(id).is_some_and(|run| run.pinned);
        let colour = match pinned {
            true => self.scene.look.colours.accent,
            false => self.scene.look.colours.line,
        };
        let text = RichText::new(ICON_KEEP.codepoint).color(colour);
        let button = ui.add(egui::Button::new(text).frame(false));
        let hint = match pinned {
            true => "Baseline: unpin",
            false => "Pin as baseline",
        };
        if sign_button(button, hint).clicked() {
            self.scene.push(Command::Pin(id));
        }
    }

    fn menu(&mut self, ui: &mut Ui, id: RunId) {
        let Some(run) = self.scene.studio.run(id).cloned() else {
            return;
        };
        let button = egui::Button::new(ICON_MORE_VERT.codepoint).frame(false);
        let (response, _) = egui::containers::menu::MenuButton::from_button(button)
            .ui(ui, |ui| menu::show(ui, self.scene, self.memory, &run));
        sign_button(response, &format!("What to do with {}", run.name));
    }

    /// The field that takes the new name; true where the row is being renamed.
    fn renaming(&mut self, ui: &mut Ui, id: RunId) -> bool {
        let Some((_, text)) = self
            .memory
            .renaming
            .as_mut()
            .filter(|(renamed, _)| *renamed == id)
        else {
            return false;
        };
        let field = ui.add(TextEdit::singleline(text).desired_width(f32::INFINITY));
        text_field(&field, "New name of the run", text, "");
        if field.lost_focus() {
            let name = text.trim().to_owned();
            let given_up = ui.input(|input| input.key_pressed(egui::Key::Escape));
            if !given_up && !name.is_empty() {
                self.scene.push(Command::Rename(id, name));
            }
            self.memory.renaming = None;
        } else if !field.has_focus() {
            field.request_focus();
        }
        true
    }

    fn cell(&mut self, ui: &mut Ui, row: u64, id: RunId, index: usize) {
        let column = Column::ALL[index];
        if column == Column::Name && self.renaming(ui, id) {
            return;
        }
        let text = self.memory.rows.rows[row as usize].cells[index].clone();
        let layout = match column.is_number() {
            true => Layout::right_to_left(Align::Center),
            false => Layout::left_to_right(Align::Center),
        };
        let response = ui
            .with_layout(layout, |ui| {
                let shown = match column {
                    Column::Status => self.status(id, &text),
                    Column::Recipe => RichText::new(&text).monospace(),
                    _ => RichText::new(&text),
                };
                ui.add(
                    Label::new(shown)
                        .truncate()
                        .selectable(false)
                        .sense(Sense::click()),
                )
            })
            .inner;
        if response.double_clicked() && column == Column::Name {
            self.memory.renaming = Some((id, text));
        } else if response.clicked() {
            self.select(id, ui.input(|input| input.modifiers.command));
        }
    }

    /// A shape and a word for each status.
    fn status(&self, id: RunId, word: &str) -> RichText {
        let colours = &self.scene.look.colours;
        let status = self.scene.studio.run(id).map(|run| &run.status);
        let (sign, colour) = match status {
            Some(RunStatus::Done) => (ICON_CHECK, colours.good),
            Some(RunStatus::Failed(_)) => (ICON_CLOSE, colours.error),
            Some(RunStatus::Running) => (ICON_PLAY_ARROW, colours.accent),
            Some(RunStatus::Waiting) => (ICON_SCHEDULE, colours.weak),
            _ => (ICON_STOP, colours.warning),
        };
        RichText::new(format!("{} {word}", sign.codepoint)).color(colour)
    }
}

impl TableDelegate for Hands<'_, '_> {
    fn header_cell_ui(&mut self, ui: &mut Ui, cell: &HeaderCellInfo) {
        ui.painter()
            .rect_filled(ui.max_rect(), 0, self.scene.look.colours.raised);
        let index = cell.col_range.start.wrapping_sub(2);
        let Some(&column) = Column::ALL.get(index) else {
            return;
        };
        if ui.is_sizing_pass() {
            ui.allocate_space(vec2(column.width(), 1.0));
            return;
        }
        let turned = match self.memory.sort {
            Some((sorted, down)) if sorted == column => {
                if down {
                    ICON_ARROW_DROP_DOWN.codepoint
                } else {
                    ICON_ARROW_DROP_UP.codepoint
                }
            }
            _ => "",
        };
        let text = RichText::new(format!("{}{turned}", column.title()))
            .color(self.scene.look.colours.weak);
        let layout = match column.is_number() {
            true => Layout::right_to_left(Align::Center),
            false => Layout::left_to_right(Align::Center),
        };
        egui::Frame::new()
            .inner_margin(egui::Margin::symmetric(MARGIN, 0))
            .show(ui, |ui| {
                ui.with_layout(layout, |ui| {
                    let label = Label::new(text).truncate().selectable(false);
                    let header = ui.add(label.sense(Sense::click()));
                    if header.on_hover_text(column.hint()).clicked() {
                        self.memory.sort = match self.memory.sort {
                            Some((sorted, false)) if sorted == column => Some((column, true)),
                            Some((sorted, true)) if sorted == column => None,
                            _ => Some((column, false)),
                        };
                    }
                });
            });
    }

    fn row_ui(&mut self, ui: &mut Ui, row: u64) {
        let Some(id) = self.id(row) else { return };
        let colours = &self.scene.look.colours;
        let fill = match (self.memory.selected.contains(&id), row % 2) {
            (true, _) => colours.accent_fill,
            (false, 0) => colours.surface,
            (false, _) => colours.stripe,
        };
        let rect = ui.max_rect();
        ui.painter().rect_filled(rect, 0, fill);
        let response = ui.interact(rect, ui.scope_id().with(("run", id.0)), Sense::click());
        if response.hovered() && !self.memory.selected.contains(&id) {
            ui.painter().rect_filled(rect, 0, colours.hover);
        }
        if response.clicked() {
            self.select(id, ui.input(|input| input.modifiers.command));
        }
        if let Some(run) = self.scene.studio.run(id).cloned() {
            response.context_menu(|ui| menu::show(ui, self.scene, self.memory, &run));
        }
    }

    fn cell_ui(&mut self, ui: &mut Ui, cell: &CellInfo) {
        if ui.is_sizing_pass() {
            return;
        }
        let Some(id) = self.id(cell.row_nr) else {
            return;
        };
        egui::Frame::new()
            .inner_margin(egui::Margin::symmetric(MARGIN, 0))
            .show(ui, |ui| match cell.col_nr {
                0 => self.pin(ui, id),
                1 => self.menu(ui, id),
                number => self.cell(ui, cell.row_nr, id, number - 2),
            });
    }

    fn default_row_height(&self) -> f32 {
        self.scene.look.measures.row_height
    }
}

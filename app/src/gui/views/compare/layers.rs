//! Layers by how far they moved; a click selects the layer in every view.

use crate::gui::scene::Scene;
use crate::gui::widgets::{elided, error_text};
use crate::studio::Command;
use crate::studio::comparison::LayerDelta;
use crate::studio::selection::Join;
use egui::{Align, Label, Layout, RichText, Sense, Ui, vec2};
use egui_material_icons::icons::ICON_ARROW_RIGHT_ALT;
use egui_table::{CellInfo, Column, HeaderCellInfo, HeaderRow, Table, TableDelegate};
use pare_engine::units::Bytes;

/// Headers and first widths.
const COLUMNS: [(&str, f32); 6] = [
    ("layer", 240.0),
    ("error A", 64.0),
    ("error B", 64.0),
    ("B − A", 68.0),
    ("settings A, B", 190.0),
    ("bytes B", 72.0),
];
/// Rows shown without scrolling.
const ROWS: f32 = 8.0;

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, layers: &[LayerDelta]) {
    if layers.is_empty() {
        ui.weak("The report of neither side is here");
        return;
    }
    let height = scene.look.measures.row_height;
    let columns = COLUMNS.map(|(_, width)| Column::new(width).resizable(true));
    ui.allocate_ui(vec2(ui.available_width(), (ROWS + 1.0) * height), |ui| {
        let mut hands = Hands { scene, layers };
        Table::new()
            .id_salt("layers compared")
            .num_rows(layers.len() as u64)
            .columns(columns.to_vec())
            .num_sticky_cols(1)
            .headers([HeaderRow::new(height)])
            .show(ui, &mut hands);
    });
}

struct Hands<'a, 'b> {
    scene: &'a mut Scene<'b>,
    layers: &'a [LayerDelta],
}

impl Hands<'_, '_> {
    /// The layer of the open model that a row is about.
    fn index(&self, row: u64) -> Option<usize> {
        let name = &self.layers.get(usize::try_from(row).ok()?)?.name;
        let project = self.scene.project()?;
        project.layers.iter().position(|info| info.name == *name)
    }

    fn select(&mut self, row: u64) {
        if let Some(layer) = self.index(row) {
            self.scene.push(Command::Select(layer, Join::Replace));
        }
    }

    fn text(&self, row: u64, column: usize) -> String {
        let Some(layer) = self.layers.get(row as usize) else {
            return String::new();
        };
        let error = |error: Option<f64>| error.map_or("–".to_owned(), error_text);
        match column {
            0 => layer.name.clone(),
            1 | 2 => error(layer.errors[column - 1]),
            3 => match layer.difference() {
                None => "–".to_owned(),
                Some(0.0) => "0".to_owned(),
                Some(value) => {
                    let sign = if value < 0.0 { "−" } else { "+" };
                    format!("{sign}{}", error_text(value.abs()))
                }
            },
            4 if layer.settings[0] == layer.settings[1] => layer.settings[0].clone(),
            4 => format!(
                "{} {} {}",
                layer.settings[0], ICON_ARROW_RIGHT_ALT.codepoint, layer.settings[1]
            ),
            _ => {
                let bytes = layer.bytes[1].or(layer.bytes[0]);
                bytes.map_or("–".to_owned(), |bytes| Bytes(bytes).to_string())
            }
        }
    }
}

fn layout(column: usize) -> Layout {
    match column {
        0 | 4 => Layout::left_to_right(Align::Center),
        _ => Layout::right_to_left(Align::Center),
    }
}

impl TableDelegate for Hands<'_, '_> {
    fn header_cell_ui(&mut self, ui: &mut Ui, cell: &HeaderCellInfo) {
        let colours = &self.scene.look.colours;
        ui.painter().rect_filled(ui.max_rect(), 0, colours.raised);
        let column = cell.col_range.start;
        if ui.is_sizing_pass() {
            ui.allocate_space(vec2(COLUMNS[column].1, 1.0));
            return;
        }
        let text = RichText::new(COLUMNS[column].0).color(colours.weak);
        egui::Frame::new()
            .inner_margin(egui::Margin::symmetric(6, 0))
            .show(ui, |ui| {
                ui.with_layout(layout(column), |ui| ui.add(Label::new(text).truncate()));
            });
    }

    fn row_ui(&mut self, ui: &mut Ui, row: u64) {
        let colours = &self.scene.look.colours;
        let index = self.index(row);
        let project = self.scene.project();
        let selected = index
            .zip(project)
            .is_some_and(|(i, p)| p.selection.contains(i));
        let fill = match (selected, row % 2) {
            (true, _) => colours.accent_fill,
            (false, 0) => colours.surface,
            (false, _) => colours.stripe,
        };
        let rect = ui.max_rect();
        ui.painter().rect_filled(rect, 0, fill);
        let response = ui.interact(rect, ui.scope_id().with(("layer", row)), Sense::click());
        if response.clicked() {
            self.select(row);
        }
    }

    fn cell_ui(&mut self, ui: &mut Ui, cell: &CellInfo) {
        if ui.is_sizing_pass() {
            return;
        }
        let text = self.text(cell.row_nr, cell.col_nr);
        let response = egui::Frame::new()
            .inner_margin(egui::Margin::symmetric(6, 0))
            .show(ui, |ui| {
                let shown = match cell.col_nr {
                    0 => elided(ui, &text, ui.available_width()),
                    _ => text.clone(),
                };
                let label = Label::new(shown).truncate().selectable(false);
                ui.with_layout(layout(cell.col_nr), |ui| {
                    ui.add(label.sense(Sense::click()))
                })
                .inner
            })
            .inner;
        if response.clicked() {
            self.select(cell.row_nr);
        }
        if cell.col_nr == 0 {
            response.on_hover_text(text);
        }
    }

    fn default_row_height(&self) -> f32 {
        self.scene.look.measures.row_height
    }
}

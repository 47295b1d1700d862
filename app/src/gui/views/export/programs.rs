//! Which program loads which container: the engine's one table, as a table.

use crate::gui::scene::Scene;
use egui::{Grid, RichText, ScrollArea, Ui};
use pare_engine::formats::Format;
use pare_engine::formats::programs::{Loads, Program};

/// Draws the table, the row of `chosen` stronger than the others.
pub(super) fn show(ui: &mut Ui, scene: &Scene<'_>, chosen: Option<Format>) {
    ui.add_space(12.0);
    ui.label(RichText::new("Which program loads it").strong());
    ScrollArea::horizontal()
        .id_salt("programs")
        .auto_shrink([false, true])
        .show(ui, |ui| {
            Grid::new("programs")
                .striped(true)
                .spacing([18.0, 6.0])
                .show(ui, |ui| {
                    ui.label("");
                    for program in Program::ALL {
                        ui.label(RichText::new(program.name()).color(scene.look.colours.weak));
                    }
                    ui.end_row();
                    for format in Format::ALL {
                        row(ui, scene, format, chosen == Some(format));
                    }
                });
        });
    let text = "checked: this version loads our files in tests/interop; stated: by the program's documentation alone; converts: a tool makes its own file of ours";
    ui.add_space(4.0);
    ui.label(RichText::new(text).small().color(scene.look.colours.weak));
}

fn row(ui: &mut Ui, scene: &Scene<'_>, format: Format, is_chosen: bool) {
    let name = RichText::new(format.word());
    ui.label(if is_chosen { name.strong() } else { name });
    for program in Program::ALL {
        cell(ui, scene, format.loaded_by(program));
    }
    ui.end_row();
}

/// A word in its colour, and under the pointer what is known.
fn cell(ui: &mut Ui, scene: &Scene<'_>, loads: Loads) {
    let colours = &scene.look.colours;
    let (word, more) = loads.words();
    let (text, colour) = match loads {
        Loads::Checked { .. } => (word, colours.good),
        Loads::Stated(_) => (word, colours.text),
        Loads::Converted(_) => (word, colours.weak),
        Loads::No => ("–", colours.weak),
    };
    let response = ui.label(RichText::new(text).color(colour));
    if !more.is_empty() {
        response.on_hover_text(more);
    }
}

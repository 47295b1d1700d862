//! Texts that the student wrote on its way, newest first.

use crate::gui::scene::Scene;
use egui::{Label, RichText, ScrollArea, Ui};

/// Rows shown at once.
const ROWS: f32 = 4.0;

/// What the samples of the training shown take; 0 where there are none.
pub(super) fn height(ui: &Ui, scene: &Scene<'_>) -> f32 {
    let curve = scene.studio.shown_curve();
    let is_low = ui.available_height() < 3.0 * ROWS * scene.look.measures.row_height;
    match curve {
        Some((_, curve)) if !curve.samples.is_empty() && !is_low => {
            (ROWS + 1.0) * scene.look.measures.row_height
        }
        _ => 0.0,
    }
}

pub(super) fn show(ui: &mut Ui, scene: &Scene<'_>) {
    let Some((_, curve)) = scene.studio.shown_curve() else {
        return;
    };
    if curve.samples.is_empty() {
        return;
    }
    ui.label(RichText::new("Samples").strong());
    let row = ui.text_style_height(&egui::TextStyle::Body);
    let samples = &curve.samples;
    ScrollArea::vertical()
        .id_salt("samples")
        .auto_shrink(false)
        .show_rows(ui, row, samples.len(), |ui, rows| {
            for sample in rows.filter_map(|row| samples.iter().rev().nth(row)) {
                ui.horizontal(|ui| {
                    let step = format!("step {}", sample.step);
                    ui.label(RichText::new(step).color(scene.look.colours.weak));
                    // Rows have one height: the rest is on hover.
                    let line = sample.text.replace('\n', " · ");
                    ui.add(Label::new(line).truncate())
                        .on_hover_text(&sample.text);
                });
            }
        });
}

//! What two recipes say differently: one line for layers that changed alike.

use crate::gui::scene::Scene;
use crate::studio::comparison::RecipeChange;
use egui::text::{LayoutJob, TextFormat};
use egui::{FontId, ScrollArea, Ui};
use egui_material_icons::icons::ICON_ARROW_RIGHT_ALT;

/// Draws the changes in the room that is left.
pub(in crate::gui::views) fn recipe_changes(
    ui: &mut Ui,
    scene: &Scene<'_>,
    changes: &[RecipeChange],
) {
    if changes.is_empty() {
        ui.weak("Both recipes decided the same for every layer that both runs finished");
        return;
    }
    let row = ui.text_style_height(&egui::TextStyle::Body);
    ScrollArea::vertical()
        .id_salt("recipe changes")
        .auto_shrink([false, true])
        .show_rows(ui, row, changes.len(), |ui, rows| {
            for change in &changes[rows] {
                ui.add(egui::Label::new(job(scene, change)).truncate());
            }
        });
}

fn job(scene: &Scene<'_>, change: &RecipeChange) -> LayoutJob {
    let colours = &scene.look.colours;
    let font = FontId::proportional(scene.look.measures.text);
    let format = |colour| TextFormat::simple(font.clone(), colour);
    let mut job = LayoutJob::default();
    job.append(&change.layers, 0.0, format(colours.strong));
    for (key, from, to) in &change.keys {
        job.append(key, 12.0, format(colours.weak));
        job.append(
            &format!(" {from} {} {to}", ICON_ARROW_RIGHT_ALT.codepoint),
            0.0,
            format(colours.text),
        );
    }
    job
}

//! Before a run: what each container would hold of the recipe as it stands, and the nearest choice that it holds.

use super::choice::Outlook;
use crate::gui::scene::Scene;
use crate::studio::Command;
use egui::{Grid, RichText, Ui};
use pare_engine::units::Bytes;

/// Lines that a hover lists; more are counted.
const MOST_LISTED: usize = 12;

/// Draws a row for each container.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, outlooks: &[Outlook]) {
    ui.add_space(12.0);
    ui.label(RichText::new("What each format holds of the recipe as it stands").strong());
    Grid::new("before a run")
        .striped(true)
        .spacing([18.0, 6.0])
        .show(ui, |ui| {
            for outlook in outlooks {
                row(ui, scene, outlook);
                ui.end_row();
            }
        });
}

fn row(ui: &mut Ui, scene: &mut Scene<'_>, outlook: &Outlook) {
    let colours = &scene.look.colours;
    let (weak, warning, good) = (colours.weak, colours.warning, colours.good);
    ui.label(outlook.format.word());
    let bytes = outlook.bytes.map(|bytes| format!("≈{}", Bytes(bytes)));
    ui.label(RichText::new(bytes.unwrap_or_else(|| "–".to_owned())).color(weak));
    let told = outlook.changes();
    let (text, colour) = match &told {
        None => ("holds every choice".to_owned(), good),
        Some(text) => (text.clone(), warning),
    };
    let response = ui.label(RichText::new(text).color(colour));
    if told.is_some() {
        response.on_hover_text(listed(outlook));
        fit(ui, scene, outlook);
    }
}

/// The one click that makes the recipe fit.
fn fit(ui: &mut Ui, scene: &mut Scene<'_>, outlook: &Outlook) {
    let word = outlook.format.word();
    let button = ui.button(format!("Fit the recipe to {word}"));
    let hint = format!(
        "Gives each of these layers the nearest choice that {word} holds; one step back with undo"
    );
    if button.on_hover_text(hint).clicked() {
        scene.push(Command::FitDraft(outlook.format));
    }
}

/// The first changes, one a line.
pub(super) fn listed(outlook: &Outlook) -> String {
    let shown = outlook.fallbacks.iter().take(MOST_LISTED);
    let mut lines: Vec<String> = outlook
        .refusal
        .iter()
        .cloned()
        .chain(shown.cloned())
        .collect();
    let more = outlook.fallbacks.len().saturating_sub(MOST_LISTED);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

//! Sums under the table: of the selection, and of the model.

use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::Project;
use crate::studio::figure::Mark;
use crate::studio::project::Totals;
use egui::{Align, Layout, RichText, Ui};
use pare_engine::units::Bytes;

/// Beside the selection's sums, the model's error is left out where there is less room.
const LEAST_FOR_ERROR: f32 = 280.0;

/// One line.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    ui.horizontal(|ui| {
        selection(ui, scene, project);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let totals = Totals {
                error: project
                    .totals
                    .error
                    .filter(|_| ui.available_width() > LEAST_FOR_ERROR),
                ..project.totals
            };
            sums(ui, scene, &totals, true);
            let is_whole = project.draft().structure.is_none();
            let (word, hint) = match is_whole {
                true => ("Model", "All tensors"),
                false => (
                    "Uncut model",
                    "Layers as they are listed, before heads, neurons, blocks or tokens go",
                ),
            };
            ui.label(RichText::new(word).color(scene.look.colours.weak))
                .on_hover_text(hint);
        });
    });
}

fn selection(ui: &mut Ui, scene: &Scene<'_>, project: &Project) {
    let count = project.selection.len();
    if count == 0 {
        ui.weak("Nothing selected");
        return;
    }
    let hidden = project.selection.hidden(&project.rows.visible);
    let words = match hidden {
        0 => format!("{count} selected"),
        hidden => format!("{count} selected, {hidden} hidden"),
    };
    ui.label(RichText::new(words).color(scene.look.colours.strong));
    sums(ui, scene, &project.selected_totals, false);
}

/// Size, bits per weight, error and time; the other way around where they are laid from the right.
fn sums(ui: &mut Ui, scene: &Scene<'_>, totals: &Totals, from_right: bool) {
    let size = |ui: &mut Ui| {
        let (before, after) = (Bytes(totals.bytes_before), Bytes(totals.bytes_after));
        let hint = match totals.bytes_mark {
            Mark::Exact => format!("{after} will be written in place of {before}"),
            _ => format!("About {after} in place of {before}: weights decide in the run"),
        };
        ui.label(format!("{}{after}", widgets::sign(totals.bytes_mark)))
            .on_hover_text(hint);
    };
    let bits = |ui: &mut Ui| {
        ui.label(format!("{:.2} bpw", totals.bits_per_weight()))
            .on_hover_text("Stored bits for each weight");
    };
    let error = |ui: &mut Ui| {
        if let Some(error) = totals.error.filter(|error| error.value > 0.0) {
            let text = widgets::error_text(error.value);
            widgets::figure(ui, scene.look, error, &format!("{text} error"));
        }
    };
    let latency = |ui: &mut Ui| {
        if let Some(latency) = totals.latency {
            let text = widgets::time_text(latency.value);
            widgets::time_figure(ui, scene.look, latency, &text);
        }
    };
    if from_right {
        latency(ui);
        error(ui);
        bits(ui);
        size(ui);
    } else {
        size(ui);
        bits(ui);
        error(ui);
        latency(ui);
    }
}

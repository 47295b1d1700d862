//! What the last export did, line by line: each line says how it was checked.

use crate::gui::scene::Scene;
use egui::{Color32, RichText, Ui};
use egui_material_icons::icons::{ICON_CHECK_CIRCLE, ICON_ERROR, ICON_WARNING};
use pare_engine::report::ExportReport;
use pare_engine::units::Bytes;

/// Fallbacks listed; more are counted.
const MOST_LISTED: usize = 50;

pub(super) fn show(ui: &mut Ui, scene: &Scene<'_>) {
    let Some(outcome) = &scene.studio.exported else {
        return;
    };
    ui.add_space(8.0);
    ui.separator();
    let colours = &scene.look.colours;
    match outcome {
        Ok(report) => done(ui, scene, report),
        Err(reason) => {
            line(
                ui,
                ICON_ERROR.codepoint,
                colours.error,
                "The export did not work; nothing is left of it",
            );
            ui.label(reason);
        }
    }
}

fn done(ui: &mut Ui, scene: &Scene<'_>, report: &ExportReport) {
    let colours = &scene.look.colours;
    let good = |ui: &mut Ui, text: &str| line(ui, ICON_CHECK_CIRCLE.codepoint, colours.good, text);
    good(
        ui,
        &format!("{} written as {}", Bytes(report.bytes), report.format),
    );
    good(ui, "Reopened from disk");
    good(
        ui,
        &format!(
            "{} tensors compared with the solved layers",
            report.verified.tensors
        ),
    );
    let difference = report.verified.max_abs_difference;
    let text = match difference {
        0.0 => "Largest difference 0: every value is exact".to_owned(),
        difference => {
            format!("Largest difference {difference:.2e}: the rounding of the container's type")
        }
    };
    good(ui, &text);
    if report.fallbacks.is_empty() {
        good(ui, "Every layer is stored as it was solved");
    } else {
        let text = format!(
            "{} layers are stored in another way",
            report.fallbacks.len()
        );
        line(ui, ICON_WARNING.codepoint, colours.warning, &text);
        for layer in report.fallbacks.iter().take(MOST_LISTED) {
            let fallback = &layer.fallback;
            let text = format!(
                "{}: {} to {}: {}",
                layer.name, fallback.from, fallback.to, fallback.reason
            );
            ui.label(RichText::new(text).small().color(colours.weak));
        }
    }
    ui.horizontal(|ui| {
        ui.label(RichText::new(&report.out).color(colours.weak));
        if ui.button("Copy path").clicked() {
            ui.ctx().copy_text(report.out.clone());
        }
    });
}

fn line(ui: &mut Ui, icon: &str, colour: Color32, text: &str) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(icon).color(colour));
        ui.label(text);
    });
}

//! Speed in two figures with their bands and what they rest on; where this machine is not measured, the button for it.

use crate::gui::scene::Scene;
use crate::gui::widgets::{sign, time_text, tokens_text};
use crate::studio::Command;
use crate::studio::action::Action;
use crate::studio::devices::{Entry, Origin};
use crate::studio::latency::{Band, Pass, Speed};
use egui::{ProgressBar, RichText, Ui};

/// One line.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, speed: Option<&Speed>, device: Entry<'_>) {
    ui.horizontal_wrapped(|ui| {
        if let Some(speed) = speed {
            figures(ui, scene, speed);
        }
        if device.origin == Origin::ThisMachine {
            measure(ui, scene, device.profile.is_some());
        }
    });
}

fn figures(ui: &mut Ui, scene: &Scene<'_>, speed: &Speed) {
    let weak = |text: &str| RichText::new(text).color(scene.look.colours.weak);
    let mut figure = |caption: &str, text: String, band: String| {
        ui.label(weak(caption));
        ui.label(RichText::new(format!("{}{text}", sign(speed.mark()))).strong())
            .on_hover_text(format!("{band}; {}", speed.basis()));
        ui.label(
            RichText::new(format!("({band})"))
                .small()
                .color(scene.look.colours.weak),
        );
    };
    if let Some(rate) = speed.tokens_per_second() {
        figure(
            "Decode",
            format!("{} tok/s", tokens_text(rate.value)),
            tokens_band(rate),
        );
    }
    if let Some(prefill) = speed.seconds(Pass::Prefill) {
        figure("Prompt", time_text(prefill.value), time_band(prefill));
    }
    let basis = RichText::new(speed.mark().word())
        .small()
        .color(scene.look.colours.weak);
    ui.label(basis).on_hover_text(speed.basis());
}

/// The ends of a band of rates.
pub(in crate::gui) fn tokens_band(rate: Band) -> String {
    format!("{} – {}", tokens_text(rate.low), tokens_text(rate.high))
}

fn time_band(band: Band) -> String {
    format!("{} – {}", time_text(band.low), time_text(band.high))
}

/// The button, or how measuring goes.
pub(in crate::gui) fn measure(ui: &mut Ui, scene: &mut Scene<'_>, is_measured: bool) {
    if let Some(job) = scene.studio.measuring() {
        let share = job.share.unwrap_or(0.0);
        let bar = ProgressBar::new(share).desired_width(120.0);
        ui.add(bar.text(format!("measuring, {:.0} %", 100.0 * share)));
        if ui.button("Stop measuring").clicked() {
            scene.push(Command::StopGenerating);
        }
        return;
    }
    if !is_measured {
        ui.label(RichText::new("Not measured yet").color(scene.look.colours.weak))
            .on_hover_text("Speed here is told once Pare has measured its own kernels on this machine: a few seconds");
    }
    let label = match is_measured {
        true => "Measure again",
        false => "Measure this machine",
    };
    let availability = Action::MeasureMachine.availability(scene.studio);
    let button = ui.add_enabled(availability.is_ok(), egui::Button::new(label));
    let button = match availability {
        Ok(()) => button
            .on_hover_text("Runs Pare's kernels for a few seconds; best while nothing else works"),
        Err(reason) => button.on_disabled_hover_text(reason),
    };
    if button.clicked() {
        scene.act(Action::MeasureMachine);
    }
}

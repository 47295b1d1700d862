//! The train view: teachers and a student, how it is trained, and what training tells while it goes.
//!
//! ```text
//! head             who is at work; train, pause, stop, continue
//! setup · student · knobs    what the next training will be
//! figures          numbers of the newest step
//! curves · lines   losses and learning rate over steps (drawn; thinned out)
//! samples          texts written on the way
//! ```

mod curves;
mod figures;
mod head;
mod knobs;
mod lines;
mod samples;
mod setup;
mod student;

use crate::gui::scene::Scene;
use crate::gui::widgets::empty;
use crate::studio::action::Action;
use egui::{ScrollArea, Ui, vec2};

/// Panes at least so wide show setup and curves side by side.
const WIDE: f32 = 900.0;
/// Width of the setup beside the curves.
const SETUP_WIDTH: f32 = 430.0;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    setup: setup::Memory,
    curves: curves::Memory,
    /// In a narrow pane: what a person asked to see; `None` = curves where there are any.
    shows_setup: Option<bool>,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let has_training = scene.studio.shown_training().is_some();
    if scene.project().is_none() && !has_training {
        empty(
            ui,
            scene,
            "Open a model to train a smaller one on what it says; curves show up here",
            &[Action::OpenModel, Action::OpenSample],
        );
        return;
    }
    let is_wide = ui.available_width() >= WIDE && scene.project().is_some();
    head::show(ui, scene, (!is_wide).then_some(&mut memory.shows_setup));
    ui.separator();
    if is_wide {
        return both(ui, scene, memory);
    }
    let shows_setup = memory.shows_setup.unwrap_or(!has_training);
    match shows_setup && scene.project().is_some() {
        true => setup(ui, scene, memory),
        false => progress(ui, scene, memory),
    }
}

fn both(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let height = ui.available_height();
    ui.horizontal_top(|ui| {
        ui.allocate_ui(vec2(SETUP_WIDTH, height), |ui| {
            ui.set_width(SETUP_WIDTH);
            // Rows below each other: the place itself lies in a row.
            ui.vertical(|ui| setup(ui, scene, memory));
        });
        ui.separator();
        ui.allocate_ui(vec2(ui.available_width(), height), |ui| {
            ui.vertical(|ui| progress(ui, scene, memory));
        });
    });
}

fn setup(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    ScrollArea::vertical()
        .id_salt("training setup")
        .auto_shrink(false)
        .show(ui, |ui| setup::show(ui, scene, &mut memory.setup));
}

fn progress(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    if scene.studio.shown_training().is_none() {
        return empty(
            ui,
            scene,
            "Losses, learning rate and samples of a training show up here",
            &[Action::StartTraining],
        );
    }
    figures::show(ui, scene);
    let below = samples::height(ui, scene);
    let height = (ui.available_height() - below).max(curves::LOWEST);
    curves::show(ui, scene, &mut memory.curves, height);
    samples::show(ui, scene);
}

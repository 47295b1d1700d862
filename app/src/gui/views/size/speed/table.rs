//! Every device beside the others: memory, speed of writing, time to read the prompt. A click chooses it.
//!
//! One device is asked in each frame while others are left, so that no frame waits for all of them.

use super::summary::tokens_band;
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{sign, time_text, tokens_text};
use crate::studio::devices::{Devices, Entry};
use crate::studio::latency::{Pass, Speed};
use crate::studio::{Command, Project};
use egui::{Align, Grid, Layout, RichText, Ui};

/// What the table remembers between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    made_for: Option<u64>,
    rows: Vec<Row>,
    /// Devices asked so far.
    asked: usize,
}

/// A device and what it comes to.
#[derive(Debug)]
struct Row {
    name: String,
    speed: Option<Speed>,
}

impl Memory {
    /// Asks the next device, if any is left; true while more are.
    fn follow(&mut self, devices: &Devices, project: &Project) -> bool {
        if self.made_for != Some(project.latency.version) {
            self.made_for = Some(project.latency.version);
            self.asked = 0;
        }
        let entries: Vec<Entry<'_>> = devices.all().collect();
        let Some(entry) = entries.get(self.asked) else {
            return false;
        };
        let speed = entry
            .profile
            .and_then(|profile| project.latency.on(project, profile));
        let row = Row {
            name: entry.name.to_owned(),
            speed,
        };
        // What was known before stays in sight until it is known anew.
        match self.rows.get_mut(self.asked) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
        self.asked += 1;
        self.rows.truncate(entries.len());
        self.asked < entries.len()
    }
}

/// The table.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    if memory.follow(&scene.studio.devices, project) {
        ui.ctx().request_repaint();
    }
    let devices = &scene.studio.devices;
    let chosen = devices.find(&scene.studio.preferences.device).name;
    let mut clicked = None;
    Grid::new("devices")
        .num_columns(5)
        .striped(true)
        .spacing([14.0, 4.0])
        .show(ui, |ui| {
            header(ui, scene.look);
            for row in &memory.rows {
                let entry = devices.find(&row.name);
                let label = ui.selectable_label(row.name == chosen, &row.name);
                if label
                    .on_hover_ui(|ui| super::controls::sources(ui, entry))
                    .clicked()
                {
                    clicked = Some(row.name.clone());
                }
                figures(ui, scene.look, entry, row.speed.as_ref());
                ui.end_row();
            }
        });
    if let Some(device) = clicked {
        let mut preferences = scene.studio.preferences.clone();
        preferences.device = device;
        scene.push(Command::Prefer(preferences));
    }
}

fn header(ui: &mut Ui, look: &Look) {
    let weak = |text: &str| RichText::new(text).small().color(look.colours.weak);
    ui.label(weak("Device"));
    ui.label(weak("Basis"));
    right(ui, weak("Decode, tok/s"), None);
    right(ui, weak("Prompt"), None);
    ui.label(weak("Memory"));
    ui.end_row();
}

fn figures(ui: &mut Ui, look: &Look, entry: Entry<'_>, speed: Option<&Speed>) {
    let colours = &look.colours;
    ui.label(RichText::new(entry.basis()).small().color(colours.weak));
    let unknown = || RichText::new("–").color(colours.weak);
    let Some(speed) = speed else {
        right(ui, unknown(), None);
        right(ui, unknown(), None);
        ui.label(unknown());
        return;
    };
    match speed.tokens_per_second() {
        Some(rate) => {
            let text = format!("{}{}", sign(speed.mark()), tokens_text(rate.value));
            right(ui, RichText::new(text), Some(tokens_band(rate)));
        }
        None => right(ui, unknown(), None),
    }
    match speed.seconds(Pass::Prefill) {
        Some(prefill) => {
            let text = format!("{}{}", sign(speed.mark()), time_text(prefill.value));
            let band = format!("{} – {}", time_text(prefill.low), time_text(prefill.high));
            right(ui, RichText::new(text), Some(band));
        }
        None => right(ui, unknown(), None),
    }
    ui.label(match speed.estimate.fits {
        true => RichText::new("fits").color(colours.good),
        false => RichText::new("too small").color(colours.error),
    });
}

fn right(ui: &mut Ui, text: RichText, hint: Option<String>) {
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let label = ui.label(text);
        if let Some(hint) = hint {
            label.on_hover_text(hint);
        }
    });
}

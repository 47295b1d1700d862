//! Memory at a context length, and every device's roofline: upper bounds from data sheets, and said to be that.

use crate::gui::scene::Scene;
use crate::gui::views::settings::device_picker;
use crate::gui::widgets::tokens_text;
use crate::studio::Command;
use crate::studio::devices::{self, Demand, Device};
use egui::{Align, Color32, DragValue, Grid, Layout, Rect, RichText, Sense, Ui, vec2};
use pare_engine::units::{Bytes, Millis};

/// Longest context that can be asked for where the model says none.
const MOST_TOKENS: usize = 1_048_576;

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>) {
    let Some(project) = scene.project() else {
        return;
    };
    let mut preferences = scene.studio.preferences.clone();
    let most = project.inspection.context_length.unwrap_or(MOST_TOKENS);
    let mut tokens = devices::context_tokens(project, preferences.context_tokens);
    ui.horizontal(|ui| {
        ui.label(RichText::new("Memory and latency").strong());
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            device_picker(ui, &mut preferences);
        });
    });
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        let label = ui.label("Context");
        let value = DragValue::new(&mut tokens).range(1..=most).speed(16.0);
        if ui
            .add(value.suffix(" tokens"))
            .labelled_by(label.id)
            .changed()
        {
            preferences.context_tokens = tokens;
        }
        let text = format!("of {most} that the model was made for");
        ui.label(RichText::new(text).small().color(scene.look.colours.weak));
    });
    match devices::demand(project, tokens) {
        Ok(demand) => {
            memory(ui, scene, &demand, devices::device(&preferences.device));
            ui.add_space(8.0);
            table(ui, scene, &demand, &mut preferences.device);
        }
        Err(reason) => {
            ui.add_space(8.0);
            ui.label(RichText::new(reason).color(scene.look.colours.weak));
            ui.label("Bytes by block and role need no network and are exact");
        }
    }
    if preferences != scene.studio.preferences {
        scene.push(Command::Prefer(preferences));
    }
}

/// What memory is made of, against what the device has.
fn memory(ui: &mut Ui, scene: &Scene<'_>, demand: &Demand, device: &Device) {
    let colours = &scene.look.colours;
    let parts = [
        (
            "weights",
            demand.weights_bytes,
            colours.accent,
            "All tensors as they will be written; exact",
        ),
        (
            "cache",
            demand.cache_bytes,
            colours.good,
            "Keys and values: 2 × blocks × key heads × channels × tokens × 2 bytes (f16)",
        ),
        (
            "activations",
            demand.activation_bytes,
            colours.warning,
            "One token at a time: (8 × width + vocabulary) × 4 bytes (f32)",
        ),
    ];
    let total = demand.memory_bytes();
    let room = device.memory_gb.map(|memory| (memory * 1e9) as u64);
    let full = room.unwrap_or(total).max(total).max(1);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 14.0), Sense::hover());
    ui.painter().rect_filled(rect, 3, colours.sunken);
    let mut left = rect.left();
    for (_, bytes, colour, _) in parts {
        let width = rect.width() * bytes as f32 / full as f32;
        let part = Rect::from_min_size(egui::pos2(left, rect.top()), vec2(width, rect.height()));
        ui.painter().rect_filled(part, 2, colour);
        left += width;
    }
    ui.horizontal_wrapped(|ui| {
        for (name, bytes, colour, hint) in parts {
            let text = format!("{name} {}", Bytes(bytes));
            mark(ui, colour);
            ui.label(RichText::new(text).small()).on_hover_text(hint);
        }
    });
    let (text, colour) = match (demand.fits(device), room) {
        (Some(true), Some(room)) => (
            format!("{} of {}: fits {}", Bytes(total), Bytes(room), device.name),
            colours.good,
        ),
        (Some(false), Some(room)) => (
            format!(
                "{} needed, {} there: does not fit {}",
                Bytes(total),
                Bytes(room),
                device.name
            ),
            colours.error,
        ),
        _ => (
            format!(
                "{} needed; the memory of {} is not known",
                Bytes(total),
                device.name
            ),
            colours.weak,
        ),
    };
    ui.colored_label(colour, text);
}

fn mark(ui: &mut Ui, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
    ui.painter().rect_filled(rect, 2, colour);
}

/// Every device: memory, speed of writing, time to read the context. A click chooses it.
fn table(ui: &mut Ui, scene: &Scene<'_>, demand: &Demand, chosen: &mut String) {
    let colours = &scene.look.colours;
    let text = "Data-sheet roofline: an upper bound, not a measurement";
    ui.label(RichText::new(text).small().color(colours.weak))
        .on_hover_text(
            "Writing: bandwidth ÷ bytes read for each token (all weights but the embedding's table, and the cache), and no more than operations allow. Reading: operations ÷ peak operations",
        );
    let current = devices::device(chosen).name.clone();
    Grid::new("devices")
        .num_columns(5)
        .striped(true)
        .spacing([16.0, 4.0])
        .show(ui, |ui| {
            for (title, is_number) in [
                ("Device", false),
                ("GB/s", true),
                ("Memory", false),
                ("Write, tok/s ≤", true),
                ("Read context ≥", true),
            ] {
                cell(
                    ui,
                    is_number,
                    RichText::new(title).small().color(colours.weak),
                );
            }
            ui.end_row();
            for device in devices::devices() {
                let label = ui.selectable_label(device.name == current, &device.name);
                if label.on_hover_text(&device.source).clicked() {
                    chosen.clone_from(&device.name);
                }
                figures(ui, scene, demand, device);
                ui.end_row();
            }
        });
}

fn figures(ui: &mut Ui, scene: &Scene<'_>, demand: &Demand, device: &Device) {
    let colours = &scene.look.colours;
    let unknown = || "–".to_owned();
    let bandwidth = device.bandwidth_gb_per_s;
    let bandwidth =
        bandwidth.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.1}"));
    cell(ui, true, RichText::new(bandwidth));
    let fits = match demand.fits(device) {
        Some(true) => RichText::new("fits").color(colours.good),
        Some(false) => RichText::new("too small").color(colours.error),
        None => RichText::new("not known").color(colours.weak),
    };
    cell(ui, false, fits);
    let speed = demand
        .tokens_per_second(device)
        .map_or_else(unknown, tokens_text);
    cell(ui, true, RichText::new(speed));
    let seconds = demand.context_seconds(device);
    let seconds = seconds.map_or_else(unknown, |seconds| Millis(seconds * 1e3).to_string());
    cell(ui, true, RichText::new(seconds));
}

fn cell(ui: &mut Ui, is_number: bool, text: RichText) {
    match is_number {
        true => {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text))
                .inner
        }
        false => ui.label(text),
    };
}

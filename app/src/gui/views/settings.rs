//! Preferences: looks, how jobs may use the machine, the cache, the device, shortcuts, and what this program is.
//!
//! Every change is a command with the whole of the preferences. Looks at no file.

use crate::gui::scene::Scene;
use crate::gui::shell::dialogs;
use crate::gui::views::size::speed::{device_picker, measure};
use crate::studio::Command;
use crate::studio::preferences::{Preferences, ThemeChoice};
use egui::{DragValue, Grid, RichText, Slider, TextEdit, Ui};
use pare_engine::units::Bytes;
use std::path::PathBuf;

/// Scales that can be chosen.
const SCALES: std::ops::RangeInclusive<f32> = 1.0..=2.0;

/// Bytes of a gigabyte, as disks count.
const GIGABYTE: f64 = 1e9;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    /// The cache folder being typed.
    folder: Option<String>,
    /// The scale being dragged: the window must not grow under the pointer.
    scale: Option<f32>,
    /// Whether the cache's size was asked for.
    asked_cache: bool,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    if !std::mem::replace(&mut memory.asked_cache, true) {
        scene.push(Command::MeasureCache);
    }
    let mut preferences = scene.studio.preferences.clone();
    egui::ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| {
            section(ui, "Looks", |ui| looks(ui, &mut preferences, memory));
            section(ui, "Work", |ui| work(ui, scene, &mut preferences));
            section(ui, "Cache of statistics", |ui| {
                cache(ui, scene, &mut preferences, memory);
            });
            section(ui, "Places", |ui| places(ui, scene));
            egui::CollapsingHeader::new("Keyboard shortcuts").show(ui, dialogs::list);
            ui.add_space(8.0);
            about(ui, scene);
        });
    if preferences != scene.studio.preferences {
        scene.push(Command::Prefer(preferences));
    }
}

fn section(ui: &mut Ui, title: &str, rows: impl FnOnce(&mut Ui)) {
    ui.label(RichText::new(title).strong());
    Grid::new(("settings", title))
        .num_columns(2)
        .min_col_width(112.0)
        .spacing([16.0, 6.0])
        .show(ui, rows);
    ui.add_space(10.0);
}

fn looks(ui: &mut Ui, preferences: &mut Preferences, memory: &mut Memory) {
    ui.label("Theme");
    ui.horizontal(|ui| {
        for (choice, name) in [
            (ThemeChoice::System, "System"),
            (ThemeChoice::Dark, "Dark"),
            (ThemeChoice::Light, "Light"),
        ] {
            ui.selectable_value(&mut preferences.theme, choice, name);
        }
    });
    ui.end_row();
    let label = ui.label("Scale");
    let mut scale = memory.scale.unwrap_or(preferences.scale);
    let slider = Slider::new(&mut scale, SCALES)
        .step_by(0.1)
        .fixed_decimals(1)
        .suffix(" ×");
    let response = ui.add(slider).labelled_by(label.id);
    let is_held = response.dragged() || response.has_focus() && !response.changed();
    if response.dragged() {
        memory.scale = Some(scale);
    } else if response.changed() || memory.scale.is_some() && !is_held {
        preferences.scale = (scale * 10.0).round() / 10.0;
        memory.scale = None;
    }
    ui.end_row();
}

fn work(ui: &mut Ui, scene: &mut Scene<'_>, preferences: &mut Preferences) {
    ui.label("Threads");
    optional(
        ui,
        "Threads",
        "all cores",
        &mut preferences.threads,
        1,
        |ui, threads| ui.add(DragValue::new(threads).range(1..=512)),
    );
    ui.end_row();
    ui.label("Memory limit");
    let mut gigabytes = preferences
        .memory_bytes
        .map(|bytes| bytes as f64 / GIGABYTE);
    optional(
        ui,
        "Memory limit",
        "half of what is free",
        &mut gigabytes,
        4.0,
        |ui, limit| {
            let value = DragValue::new(limit)
                .range(0.1..=4096.0)
                .speed(0.1)
                .suffix(" GB");
            ui.add(value.max_decimals(1))
        },
    );
    preferences.memory_bytes = gigabytes.map(|limit| (limit * GIGABYTE).round() as u64);
    ui.end_row();
    ui.label("Device");
    device_picker(ui, &scene.studio.devices, preferences);
    ui.end_row();
    ui.label("This machine");
    ui.horizontal(|ui| measure(ui, scene, scene.studio.devices.is_measured()));
    ui.end_row();
}

/// A value or its default, with a box that says which.
fn optional<T: Copy>(
    ui: &mut Ui,
    name: &str,
    default: &str,
    value: &mut Option<T>,
    first: T,
    edit: impl FnOnce(&mut Ui, &mut T) -> egui::Response,
) {
    ui.horizontal(|ui| {
        let mut is_default = value.is_none();
        if ui.checkbox(&mut is_default, default).changed() {
            *value = (!is_default).then_some(first);
        }
        if let Some(value) = value {
            ui.name_inputs(name, |ui| edit(ui, value));
        }
    });
}

fn cache(ui: &mut Ui, scene: &mut Scene<'_>, preferences: &mut Preferences, memory: &mut Memory) {
    let label = ui.label("Folder");
    let default = scene.studio.default_cache_folder.display().to_string();
    ui.horizontal(|ui| {
        let kept = preferences.cache_folder.as_ref();
        let kept = kept.map(|folder| folder.display().to_string());
        let text = memory
            .folder
            .get_or_insert_with(|| kept.clone().unwrap_or_default());
        let field = TextEdit::singleline(text)
            .hint_text(default)
            .desired_width(360.0);
        let response = ui.add(field).labelled_by(label.id);
        if response.lost_focus() {
            let folder = PathBuf::from(text.trim());
            preferences.cache_folder = (!folder.as_os_str().is_empty()).then_some(folder);
            memory.asked_cache = false;
        } else if !response.has_focus() {
            memory.folder = None;
        }
    });
    ui.end_row();
    ui.label("Capacity");
    let mut gigabytes = preferences.cache_capacity_bytes as f64 / GIGABYTE;
    let value = DragValue::new(&mut gigabytes)
        .range(0.1..=4096.0)
        .speed(0.1)
        .suffix(" GB");
    ui.name_inputs("Cache capacity", |ui| ui.add(value.max_decimals(1)));
    preferences.cache_capacity_bytes = (gigabytes * GIGABYTE).round() as u64;
    ui.end_row();
    ui.label("Holds");
    ui.horizontal(|ui| {
        let size = scene.studio.cache_bytes;
        ui.label(size.map_or_else(|| "…".to_owned(), |bytes| Bytes(bytes).to_string()));
        let is_empty = size == Some(0);
        let clear = ui
            .add_enabled(!is_empty, egui::Button::new("Clear"))
            .on_hover_text("Statistics are gathered again when they are needed")
            .on_disabled_hover_text("The cache is empty");
        if clear.clicked() {
            scene.push(Command::ClearCache);
        }
    });
    ui.end_row();
}

fn places(ui: &mut Ui, scene: &Scene<'_>) {
    ui.label("Runs");
    match &scene.studio.runs_folder {
        Some(folder) => ui.label(folder.display().to_string()),
        None => ui.label("Nothing is kept: this system names no data folder"),
    };
    ui.end_row();
    ui.label("Store");
    match &scene.studio.store {
        Ok(()) => ui.label("Runs, recent models and preferences are kept between sessions"),
        Err(problem) => ui.colored_label(scene.look.colours.warning, problem),
    };
    ui.end_row();
}

fn about(ui: &mut Ui, scene: &Scene<'_>) {
    let text = format!(
        "Pare {}, {}; built on egui, wgpu, candle and tokenizers; everything stays on this machine",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_LICENSE"),
    );
    ui.label(RichText::new(text).small().color(scene.look.colours.weak));
}

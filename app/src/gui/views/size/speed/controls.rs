//! What is asked: device, what of it computes, threads, context, prompt, and how keys and values are kept.

use crate::gui::scene::Scene;
use crate::gui::widgets::named;
use crate::studio::Command;
use crate::studio::Project;
use crate::studio::devices::{Devices, Entry};
use crate::studio::latency::context_tokens;
use crate::studio::preferences::Preferences;
use egui::{ComboBox, DragValue, Grid, RichText, Ui};
use pare_engine::device::{DeviceProfile, EngineKind, EngineProfile};
use pare_engine::settings::KvCache;

/// Longest context that can be asked for where the model says none.
const MOST_TOKENS: usize = 1_048_576;

/// Two rows, fewer where there is room.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    let mut preferences = scene.studio.preferences.clone();
    ui.horizontal_wrapped(|ui| {
        device_picker(ui, &scene.studio.devices, &mut preferences);
        let entry = scene.studio.devices.find(&preferences.device);
        if let Some(profile) = entry.profile {
            engine(ui, profile, &mut preferences);
        }
        tokens(ui, project, &mut preferences);
        cache(ui, scene, project);
    });
    if preferences != scene.studio.preferences {
        scene.push(Command::Prefer(preferences));
    }
}

/// Which device memory and speed are told for.
pub(in crate::gui) fn device_picker(ui: &mut Ui, devices: &Devices, preferences: &mut Preferences) {
    let chosen = devices.find(&preferences.device);
    ui.name_inputs("Device", |ui| {
        let combo = ComboBox::from_id_salt("device")
            .width(190.0)
            .selected_text(chosen.name);
        let response = combo.show_ui(ui, |ui| device_rows(ui, devices, preferences));
        response.response.on_hover_ui(|ui| sources(ui, chosen));
    });
}

/// A line for each device; true where one was clicked.
pub(in crate::gui) fn device_rows(
    ui: &mut Ui,
    devices: &Devices,
    preferences: &mut Preferences,
) -> bool {
    let chosen = devices.find(&preferences.device).name;
    let mut is_clicked = false;
    for entry in devices.all() {
        let weak = RichText::new(entry.basis()).small().weak();
        let row = ui.horizontal(|ui| {
            let label = ui.selectable_label(entry.name == chosen, entry.name);
            ui.label(weak);
            label
        });
        if row.inner.on_hover_ui(|ui| sources(ui, entry)).clicked() {
            preferences.device = entry.name.to_owned();
            is_clicked = true;
        }
    }
    if let Some(problem) = &devices.problem {
        ui.colored_label(ui.visuals().warn_fg_color, problem);
    }
    is_clicked
}

fn engine(ui: &mut Ui, profile: &DeviceProfile, preferences: &mut Preferences) {
    let chosen = engine_of(profile, &preferences.engine);
    let Some(chosen) = chosen else {
        return;
    };
    if profile.engines.len() > 1 {
        let combo = ComboBox::from_id_salt("engine")
            .width(64.0)
            .selected_text(&chosen.name);
        let combo = combo.show_ui(ui, |ui| {
            for engine in &profile.engines {
                let is_chosen = engine.name == chosen.name;
                let label = ui.selectable_label(is_chosen, &engine.name);
                if label.on_hover_ui(|ui| values(ui, engine)).clicked() {
                    preferences.engine.clone_from(&engine.name);
                }
            }
        });
        named(combo.response, "Engine").on_hover_text("What of the device computes");
    }
    if chosen.kind == EngineKind::Cpu && chosen.threads > 1 {
        threads(ui, chosen, preferences);
    }
}

/// The engine of that name, else the usual one.
pub(in crate::gui) fn engine_of<'a>(
    profile: &'a DeviceProfile,
    name: &str,
) -> Option<&'a EngineProfile> {
    let named = profile.engines.iter().find(|engine| engine.name == name);
    named.or_else(|| profile.engines.first())
}

fn threads(ui: &mut Ui, engine: &EngineProfile, preferences: &mut Preferences) {
    let all = engine.threads;
    let words = |threads: usize| match threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let current = preferences.engine_threads.filter(|threads| *threads < all);
    let combo = ComboBox::from_id_salt("threads")
        .width(78.0)
        .selected_text(words(current.unwrap_or(all)));
    let powers = std::iter::successors(Some(1), |threads| Some(threads * 2));
    ui.name_inputs("Threads that compute", |ui| {
        combo
            .show_ui(ui, |ui| {
                for threads in powers.take_while(|threads| *threads < all) {
                    let is_chosen = current == Some(threads);
                    if ui.selectable_label(is_chosen, words(threads)).clicked() {
                        preferences.engine_threads = Some(threads);
                    }
                }
                let label = ui.selectable_label(current.is_none(), words(all));
                if label.clicked() {
                    preferences.engine_threads = None;
                }
            })
            .response
            .on_hover_text("Threads that compute on the device")
    });
}

fn tokens(ui: &mut Ui, project: &Project, preferences: &mut Preferences) {
    let most = project
        .inspection
        .context_length
        .unwrap_or(MOST_TOKENS)
        .max(1);
    let context = context_tokens(project, preferences.context_tokens);
    let hint = format!("Tokens that keys and values are kept of; the model was made for {most}");
    if let Some(tokens) = count(ui, "Context", context, most, &hint) {
        preferences.context_tokens = tokens;
    }
    let prompt = preferences.prompt_tokens.clamp(1, context);
    let hint = "Tokens that are read at once before the first is written";
    if let Some(tokens) = count(ui, "Prompt", prompt, context, hint) {
        preferences.prompt_tokens = tokens;
    }
}

/// A number of tokens; the new one, where it was changed.
fn count(ui: &mut Ui, name: &str, value: usize, most: usize, hint: &str) -> Option<usize> {
    let mut tokens = value;
    let speed = (value as f64 / 64.0).max(1.0);
    let drag = DragValue::new(&mut tokens).range(1..=most).speed(speed);
    // Its name is inside: name and number never part where the row wraps.
    let drag = drag.prefix(format!("{name} ")).suffix(" tok");
    let response = named(ui.add(drag), name);
    response.on_hover_text(hint).changed().then_some(tokens)
}

/// How keys and values are kept: part of the draft.
fn cache(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    if project.session.is_encoder() {
        return;
    }
    let current = project.draft().kv_cache;
    let combo = ComboBox::from_id_salt("kv cache")
        .width(64.0)
        .selected_text(format!("KV {}", cache_word(current)));
    ui.name_inputs("KV cache", |ui| {
        combo
            .show_ui(ui, |ui| {
                for kept in [KvCache::F32, KvCache::F16, KvCache::Int8] {
                    if ui
                        .selectable_label(current == kept, cache_word(kept))
                        .clicked()
                    {
                        scene.push(Command::SetKvCache(kept));
                    }
                }
            })
            .response
            .on_hover_text("How keys and values of earlier tokens are kept; part of the recipe")
    });
}

fn cache_word(kept: KvCache) -> &'static str {
    match kept {
        KvCache::F32 => "f32",
        KvCache::F16 => "f16",
        KvCache::Int8 => "int8",
    }
}

/// Every number of a device, how it is known and where it comes from.
pub(super) fn sources(ui: &mut Ui, entry: Entry<'_>) {
    let Some(profile) = entry.profile else {
        ui.label("Not measured yet; measuring takes a few seconds");
        return;
    };
    ui.label(RichText::new(&profile.name).strong());
    let memory = &profile.memory_gb;
    ui.label(format!(
        "{:.1} GB of memory, {}: {}",
        memory.value,
        memory.basis.word(),
        memory.source
    ));
    for engine in &profile.engines {
        values(ui, engine);
    }
}

fn values(ui: &mut Ui, engine: &EngineProfile) {
    ui.label(RichText::new(format!("{}, {}", engine.name, engine.instructions)).strong());
    Grid::new(("values", &engine.name))
        .num_columns(4)
        .spacing([12.0, 2.0])
        .show(ui, |ui| {
            for (key, value) in engine.values() {
                let small = |text: String| RichText::new(text).small();
                ui.label(small(value_name(key).to_owned()));
                ui.label(small(format!(
                    "{} ({} – {})",
                    crate::gui::widgets::three_digits(value.value),
                    crate::gui::widgets::three_digits(value.low),
                    crate::gui::widgets::three_digits(value.high)
                )));
                ui.label(small(value.basis.word().to_owned()));
                ui.add(egui::Label::new(small(value.source.clone())).truncate());
                ui.end_row();
            }
        });
}

/// What people call a number of the tables.
fn value_name(key: &str) -> &str {
    match key {
        "f32_gops" => "f32, Gop/s",
        "f16_gops" => "f16, Gop/s",
        "i8_gops" => "int8, Gop/s",
        "i4_gops" => "int4, Gop/s",
        "gemm_fraction" => "sustained share of that",
        "bandwidth_gb_per_s" => "memory, GB/s",
        "one_thread_gb_per_s" => "memory by one thread, GB/s",
        "stream_fraction" => "sustained share of that",
        "cache_mb" => "last cache, MB",
        "cache_gb_per_s" => "last cache, GB/s",
        "launch_us" => "starting an operation, µs",
        "fixed_us" => "each pass besides, µs",
        key => key,
    }
}

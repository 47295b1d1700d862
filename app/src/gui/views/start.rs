//! What a person sees with nothing open: where to drop a model, the sample, recent models, and why the last one failed.
//!
//! Reads the scene and pushes commands; looks at no file.

use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::action::Action;
use crate::studio::state::{Phase, Recent};
use egui::{Align, Button, Frame, Layout, Margin, Rect, RichText, Sense, Shape, Stroke, Ui, vec2};
use egui_material_icons::icons::{
    ICON_CLOSE, ICON_ERROR, ICON_FOLDER_OPEN, ICON_KEEP, ICON_KEEP_OFF,
};
use std::path::Path;
use std::time::Duration;

/// Width of the page.
const WIDTH: f32 = 620.0;

/// Opening that takes longer than this shows that it goes on.
const SPINNER_AFTER_SECONDS: f64 = 0.15;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    /// When the opening was first seen, in seconds of the window's clock.
    opening_since: Option<f64>,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    egui::ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| {
            let width = WIDTH.min(ui.available_width() - 32.0);
            let side = (ui.available_width() - width) / 2.0;
            let top = (ui.available_height() / 2.0 - 300.0).max(24.0);
            ui.add_space(top);
            ui.horizontal_top(|ui| {
                ui.add_space(side);
                ui.vertical(|ui| {
                    ui.set_width(width);
                    page(ui, scene, memory);
                });
            });
        });
}

fn page(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let look = scene.look;
    ui.vertical_centered(|ui| {
        ui.label(
            RichText::new("pare")
                .size(2.0 * look.measures.title)
                .strong()
                .color(look.colours.accent),
        );
        let text = "See what every layer costs, choose its bits, and check the result against the original";
        ui.label(RichText::new(text).color(look.colours.weak));
    });
    ui.add_space(20.0);
    if let Phase::Opening { path, .. } = &scene.studio.phase {
        opening(ui, scene, memory, path);
    } else {
        memory.opening_since = None;
        drop_zone(ui, scene);
        failure(ui, scene);
    }
    ui.add_space(20.0);
    recents(ui, scene);
}

/// Says what is being opened, once that takes long enough to be noticed.
fn opening(ui: &mut Ui, scene: &Scene<'_>, memory: &mut Memory, path: &Path) {
    let now = ui.input(|input| input.time);
    let waited = now - *memory.opening_since.get_or_insert(now);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 148.0), Sense::hover());
    if waited < SPINNER_AFTER_SECONDS {
        let rest = Duration::from_secs_f64(SPINNER_AFTER_SECONDS - waited);
        ui.ctx().request_repaint_after(rest);
        return;
    }
    ui.scope_builder(egui::UiBuilder::new().max_rect(rect), |ui| {
        ui.vertical_centered(|ui| {
            ui.add_space(40.0);
            ui.spinner();
            ui.label("Opening");
            let text = path.display().to_string();
            ui.label(RichText::new(text).color(scene.look.colours.weak));
        });
    });
}

fn drop_zone(ui: &mut Ui, scene: &mut Scene<'_>) {
    let colours = &scene.look.colours;
    let frame = Frame::new()
        .fill(colours.sunken)
        .corner_radius(8)
        .inner_margin(Margin::symmetric(24, 28));
    let response = frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.vertical_centered(|ui| {
            ui.label(
                RichText::new(ICON_FOLDER_OPEN.codepoint)
                    .size(32.0)
                    .color(colours.weak),
            );
            ui.label(RichText::new("Drop a model folder or a .safetensors file here").strong());
            ui.add_space(8.0);
            let button = vec2(168.0, 30.0);
            let gap = ui.spacing().item_spacing.x;
            ui.horizontal(|ui| {
                ui.add_space(((ui.available_width() - 2.0 * button.x - gap) / 2.0).max(0.0));
                let open = Button::new(
                    RichText::new(Action::OpenModel.label()).color(scene.look.colours.strong),
                )
                .fill(scene.look.colours.accent_fill)
                .min_size(button);
                if ui.add(open).on_hover_text("Ctrl+O").clicked() {
                    scene.act(Action::OpenModel);
                }
                let sample = Button::new(Action::OpenSample.label()).min_size(button);
                if ui
                    .add(sample)
                    .on_hover_text("A small language model inside Pare: everything can be tried on it, offline")
                    .clicked()
                {
                    scene.act(Action::OpenSample);
                }
            });
        });
    });
    dashes(ui, response.response.rect, scene.look.colours.weak);
}

fn dashes(ui: &Ui, rect: Rect, colour: egui::Color32) {
    let corners = [
        rect.left_top(),
        rect.right_top(),
        rect.right_bottom(),
        rect.left_bottom(),
        rect.left_top(),
    ];
    let line = Shape::dashed_line(&corners, Stroke::new(1.0, colour), 6.0, 5.0);
    ui.painter().extend(line);
}

/// Why the last opening failed, and what can be done.
fn failure(ui: &mut Ui, scene: &mut Scene<'_>) {
    let Some((path, reason)) = scene.studio.open_failure.clone() else {
        return;
    };
    let colours = scene.look.colours;
    ui.add_space(12.0);
    let frame = Frame::new()
        .fill(colours.raised)
        .stroke((1.0, colours.error))
        .corner_radius(6)
        .inner_margin(Margin::same(12));
    frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal(|ui| {
            ui.label(RichText::new(ICON_ERROR.codepoint).color(colours.error));
            ui.label(RichText::new("The model could not be opened").strong());
        });
        ui.label(&reason);
        if !reason.contains(&*path.to_string_lossy()) {
            ui.label(RichText::new(path.display().to_string()).color(colours.weak));
        }
        ui.add_space(4.0);
        ui.horizontal(|ui| {
            if ui.button("Try again").clicked() {
                scene.push(Command::Open(path.clone()));
            }
            if ui.button("Open another model…").clicked() {
                scene.act(Action::OpenModel);
            }
            if ui.button("Copy error").clicked() {
                ui.ctx().copy_text(format!("{reason}: {}", path.display()));
            }
        });
    });
}

fn recents(ui: &mut Ui, scene: &mut Scene<'_>) {
    let recents = &scene.studio.recents;
    if recents.is_empty() {
        return;
    }
    ui.label(RichText::new("Recent models").strong());
    let mut asked = None;
    for (index, recent) in recents.iter().enumerate() {
        ui.push_id(index, |ui| {
            if let Some(command) = row(ui, scene, index, recent) {
                asked = Some(command);
            }
        });
    }
    if let Some(command) = asked {
        scene.push(command);
    }
}

/// One recent model: a click opens it, the buttons at its end pin and forget it.
fn row(ui: &mut Ui, scene: &Scene<'_>, index: usize, recent: &Recent) -> Option<Command> {
    let colours = &scene.look.colours;
    let name = recent.path.file_name().unwrap_or(recent.path.as_os_str());
    let name = name.to_string_lossy();
    let full = recent.path.display().to_string();
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 40.0), Sense::click());
    let enabled = !recent.is_missing;
    response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Button, enabled, format!("Open {name}"))
    });
    if enabled && response.hovered() {
        ui.painter().rect_filled(rect, 4, colours.hover);
    }
    let mut command = None;
    let inner = rect.shrink2(vec2(8.0, 2.0));
    ui.scope_builder(egui::UiBuilder::new().max_rect(inner), |ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let forget = ui.add(Button::new(ICON_CLOSE.codepoint).frame_when_inactive(false));
            named(&forget, &format!("Forget {name}"));
            if forget.on_hover_text("Forget (its files stay)").clicked() {
                command = Some(Command::ForgetRecent(recent.path.clone()));
            }
            let (icon, verb) = match recent.pinned {
                true => (ICON_KEEP_OFF, "Unpin"),
                false => (ICON_KEEP, "Pin"),
            };
            let pin = Button::new(icon.codepoint)
                .selected(recent.pinned)
                .frame_when_inactive(recent.pinned);
            let pin = ui.add(pin);
            named(&pin, &format!("{verb} {name}"));
            if pin.on_hover_text(verb).clicked() {
                command = Some(Command::PinRecent(recent.path.clone()));
            }
            if index < 9 {
                let keys = format!("Ctrl+{}", index + 1);
                ui.label(RichText::new(keys).small().color(colours.weak));
            }
            ui.with_layout(Layout::top_down(Align::LEFT), |ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                let colour = if enabled {
                    colours.strong
                } else {
                    colours.weak
                };
                quiet(ui, RichText::new(name.as_ref()).color(colour));
                let below = match (enabled, recent.summary.is_empty()) {
                    (false, _) => format!("gone: {full}"),
                    (true, true) => full.clone(),
                    (true, false) => format!("{} · {full}", recent.summary),
                };
                quiet(ui, RichText::new(below).small().color(colours.weak));
            });
        });
    });
    let response = match enabled {
        true => response.on_hover_text(full),
        false => response.on_hover_text("Nothing lies there any more; put it back or forget it"),
    };
    if command.is_none() && enabled && response.clicked() {
        command = Some(Command::Open(recent.path.clone()));
    }
    command
}

/// Text that lets clicks through and ends in "…" where it is too long.
fn quiet(ui: &mut Ui, text: RichText) {
    ui.add(egui::Label::new(text).selectable(false).truncate());
}

fn named(response: &egui::Response, name: &str) {
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, name));
}

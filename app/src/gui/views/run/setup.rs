//! What the next run will be: texts, container, folder; and the button.

use super::structure;
use crate::gui::scene::Scene;
use crate::gui::widgets::Typed;
use crate::studio::Command;
use crate::studio::action::Action;
use crate::studio::effect::Purpose;
use crate::studio::places::absolute;
use egui::{Align, ComboBox, DragValue, Layout, RichText, Ui};
use pare_engine::formats::Format;
use pare_engine::recipe::CalibrationSettings;
use std::path::Path;

/// Width of the words before fields.
const LABEL_WIDTH: f32 = 112.0;

/// Texts being typed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    calibration: Typed,
    evaluation: Typed,
    folder: Typed,
    structure: structure::Memory,
    /// The calibration as a drag has it so far.
    dragged: Option<CalibrationSettings>,
    /// Fields are shown although a run is at work.
    is_open: bool,
}

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let working = scene.studio.is_working();
    let title = if working { "Next run" } else { "New run" };
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).strong());
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            scene.action_button(ui, Action::CopyCommandLine);
            scene.action_button(ui, Action::StartRun);
            if working {
                ui.toggle_value(&mut memory.is_open, "Change…")
                    .on_hover_text("Texts, folder and format of the next run");
            }
            let reason = Action::StartRun.availability(scene.studio).err();
            if let Some(reason) = reason {
                ui.add(
                    egui::Label::new(RichText::new(reason).color(scene.look.colours.warning))
                        .truncate(),
                );
            }
        });
    });
    if working && !memory.is_open {
        return;
    }
    calibration(ui, scene, memory);
    evaluation(ui, scene, memory);
    structure::show(ui, scene, &mut memory.structure);
    destination(ui, scene, memory);
    ui.add_space(scene.look.measures.grid);
}

/// A row: its word in a column of its own, then `fields`, buttons at the right end.
pub(in crate::gui::views) fn row(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    word: &str,
    right: impl FnOnce(&mut Ui, &mut Scene<'_>),
    field: impl FnOnce(&mut Ui, &mut Scene<'_>, f32),
) {
    ui.horizontal(|ui| {
        let height = scene.look.measures.row_height;
        let size = egui::vec2(LABEL_WIDTH, height);
        ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_width(LABEL_WIDTH);
            ui.label(RichText::new(word).color(scene.look.colours.weak));
        });
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            right(ui, scene);
            let width = ui.available_width() - 8.0;
            field(ui, scene, width.max(60.0));
        });
    });
}

fn calibration(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.project() else {
        return;
    };
    let settings = project.draft().calibration.clone();
    let current = settings.corpus.clone().unwrap_or_default();
    let mut changed = memory.dragged.take().unwrap_or_else(|| settings.clone());
    let mut is_held = false;
    let mut chosen = None;
    row(
        ui,
        scene,
        "Calibration text",
        |ui, scene| {
            choose(ui, scene, "calibration text", Purpose::CalibrationText);
        },
        |ui, _, width| {
            let hint = "a text file, or a .safetensors file of token ids";
            let (_, text) = memory
                .calibration
                .show(ui, "Calibration text", &current, hint, width);
            chosen = text;
        },
    );
    row(
        ui,
        scene,
        "Draw",
        |_, _| {},
        |ui, scene, _| {
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add_space(8.0);
                let context = scene.project().and_then(|p| p.inspection.context_length);
                let mut held = number(ui, "sequences", &mut changed.sequences, 1..=65_536);
                let longest = context.unwrap_or(1 << 20);
                held |= number(ui, "tokens each", &mut changed.length, 1..=longest);
                let seed = DragValue::new(&mut changed.seed).prefix("seed ");
                let seed = ui.add(seed.update_while_editing(false));
                held |= seed.dragged();
                seed.on_hover_text("Seed of the draw of sequences");
                is_held = held;
            });
        },
    );
    if let Some(text) = chosen {
        changed.corpus = (!text.is_empty()).then_some(text);
    }
    // A drag is one step, and one calibration, at its end.
    memory.dragged = is_held.then(|| changed.clone());
    if changed != settings && !is_held {
        scene.push(Command::SetCalibration(changed));
    }
}

/// A number to drag or type; whether it is being dragged.
fn number(
    ui: &mut Ui,
    unit: &str,
    value: &mut usize,
    range: std::ops::RangeInclusive<usize>,
) -> bool {
    let field = DragValue::new(value)
        .range(range)
        .update_while_editing(false)
        .suffix(format!(" {unit}"));
    let response = ui.add(field);
    let is_dragged = response.dragged();
    response.on_hover_text(format!("Calibration: {unit}"));
    is_dragged
}

fn evaluation(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.project() else {
        return;
    };
    let text = project.draft().evaluation.clone();
    let current = text.map_or(String::new(), |text| text.display().to_string());
    row(
        ui,
        scene,
        "Evaluation text",
        |ui, scene| {
            choose(ui, scene, "evaluation text", Purpose::EvaluationText);
            let clear = ui.add_enabled(!current.is_empty(), egui::Button::new("Clear"));
            let clear = clear.on_hover_text("Clear evaluation text: the run is not measured");
            if clear.clicked() {
                scene.push(Command::SetEvaluation(None));
            }
        },
        |ui, scene, width| {
            let hint = "none: the run is not measured";
            let (_, text) = memory
                .evaluation
                .show(ui, "Evaluation text", &current, hint, width);
            if let Some(text) = text {
                let text = (!text.is_empty()).then(|| absolute(Path::new(&text)));
                scene.push(Command::SetEvaluation(text));
            }
        },
    );
}

fn choose(ui: &mut Ui, scene: &mut Scene<'_>, what: &str, purpose: Purpose) {
    let button = ui.button("Choose…").on_hover_text(format!("Choose {what}"));
    if button.clicked() {
        scene.push(Command::Choose(purpose));
    }
}

fn destination(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.project() else {
        return;
    };
    let format = project.draft().format;
    let folder = scene.studio.next_out();
    let current = folder.display().to_string();
    row(
        ui,
        scene,
        "Folder and format",
        |ui, scene| {
            let mut chosen = format;
            ComboBox::from_id_salt("run format")
                .selected_text(format.word())
                .width(72.0)
                .show_ui(ui, |ui| {
                    for format in Format::ALL {
                        ui.selectable_value(&mut chosen, format, format.word());
                    }
                })
                .response
                .on_hover_text("Format that the run writes");
            if chosen != format {
                scene.push(Command::SetFormat(chosen));
            }
        },
        |ui, scene, width| {
            let hint = "in the data folder, under the run's name";
            let (_, text) = memory
                .folder
                .show(ui, "Folder of the run", &current, hint, width);
            if let Some(text) = text {
                let path = (!text.is_empty()).then(|| absolute(Path::new(&text)));
                scene.push(Command::SetDestination(path.clone()));
                scene.commands.extend(path.map(Command::CheckPlace));
            }
        },
    );
    let place = scene.studio.place.as_ref();
    let problem = place
        .filter(|place| place.path == folder)
        .and_then(|place| {
            let taken = "Something lies in this folder already; choose another or empty it";
            let problem = place.problem.clone();
            problem.or_else(|| place.is_taken.then(|| taken.to_owned()))
        });
    if let (Some(problem), Some(_)) = (problem, &scene.studio.destination) {
        ui.label(RichText::new(problem).color(scene.look.colours.warning));
    }
}

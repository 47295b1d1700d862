//! What the next training will be: teachers, student, what is trained, texts, folder; and the memory that it takes.

use super::{knobs, student};
use crate::gui::scene::Scene;
use crate::gui::views::run::row;
use crate::gui::widgets::{Typed, elided, figure, named, sign_button};
use crate::studio::effect::Purpose;
use crate::studio::figure::{Figure, short_count};
use crate::studio::places::absolute;
use crate::studio::train::{
    MODES, Prompt, StudentChoice, TrainDraft, mode_name, mode_sentence, student_runs,
};
use crate::studio::{Command, Project};
use egui::{Align, DragValue, Layout, RichText, Ui};
use egui_material_icons::icons::ICON_CLOSE;
use pare_engine::recipe::TrainMode;
use pare_engine::units::Bytes;
use std::path::Path;

/// Texts being typed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    text: Typed,
    evaluation: Typed,
    student: student::Memory,
    folder: Typed,
    prompt: Typed,
    knobs: knobs::Memory,
}

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let studio = scene.studio;
    let Some(project) = studio.project() else {
        return;
    };
    let mut draft = project.train.clone();
    teachers(ui, scene, project, &mut draft);
    student::show(ui, scene, &mut draft, &mut memory.student);
    mode(ui, scene, &mut draft);
    memory_line(ui, scene, project);
    text(ui, scene, project, &mut draft, memory);
    evaluation(ui, scene, project, memory);
    knobs::show(ui, scene, &mut draft, &mut memory.knobs);
    samples(ui, scene, &mut draft, memory);
    folder(ui, scene, &mut draft, memory);
    ui.add_space(scene.look.measures.grid);
    if draft != project.train {
        scene.push(Command::SetTraining(Box::new(draft)));
    }
}

/// Fields from left to right, after the word of their row.
pub(super) fn fields(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    word: &str,
    add: impl FnOnce(&mut Ui, &mut Scene<'_>),
) {
    row(
        ui,
        scene,
        word,
        |_, _| {},
        |ui, scene, _| {
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add_space(8.0);
                add(ui, scene);
            });
        },
    );
}

pub(super) fn choose(ui: &mut Ui, scene: &mut Scene<'_>, what: &str, purpose: Purpose) {
    let button = ui.button("Choose…").on_hover_text(format!("Choose {what}"));
    if button.clicked() {
        scene.push(Command::Choose(purpose));
    }
}

fn teachers(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, draft: &mut TrainDraft) {
    let several = !draft.others.is_empty();
    row(
        ui,
        scene,
        "Teachers",
        |ui, scene| {
            let add = ui.button("Add teacher…");
            if add
                .on_hover_text("Another model with the same tokenizer")
                .clicked()
            {
                scene.push(Command::Choose(Purpose::Teacher));
            }
            if several {
                weight(ui, &project.name, &mut draft.weight);
            }
        },
        |ui, _, width| {
            name(
                ui,
                &project.name,
                width,
                "The open model is the first teacher",
            )
        },
    );
    let mut gone = None;
    for (index, other) in draft.others.iter_mut().enumerate() {
        let file = other.path.file_name().unwrap_or(other.path.as_os_str());
        let short = file.to_string_lossy().into_owned();
        row(
            ui,
            scene,
            "",
            |ui, _| {
                let remove = ui.button(ICON_CLOSE.codepoint);
                if sign_button(remove, &format!("Remove teacher {short}")).clicked() {
                    gone = Some(index);
                }
                weight(ui, &short, &mut other.weight);
            },
            |ui, _, width| name(ui, &short, width, &other.path.display().to_string()),
        );
    }
    if let Some(index) = gone {
        draft.others.remove(index);
    }
}

fn name(ui: &mut Ui, text: &str, width: f32, hint: &str) {
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.add_space(8.0);
        let shown = elided(ui, text, width - 8.0);
        ui.label(shown).on_hover_text(hint);
    });
}

fn weight(ui: &mut Ui, teacher: &str, value: &mut f64) {
    let field = DragValue::new(value)
        .range(0.01..=100.0)
        .speed(0.01)
        .max_decimals(2)
        .prefix("weight ");
    named(ui.add(field), &format!("Weight of {teacher}"))
        .on_hover_text("Weight of this teacher in the average");
}

fn mode(ui: &mut Ui, scene: &mut Scene<'_>, draft: &mut TrainDraft) {
    let before = draft.settings.mode;
    let settings = &mut draft.settings;
    fields(ui, scene, "What is trained", |ui, _| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for mode in MODES {
            let is_now = settings.mode == mode;
            let button = egui::Button::selectable(is_now, mode_name(mode));
            let response = ui.add(button).on_hover_text(mode_sentence(mode));
            if response.clicked() {
                *settings = settings.clone().in_mode(mode);
            }
        }
    });
    let mode = settings.mode;
    if mode != before {
        // What learns on codes begins with a run; without one, with the open model, compressed as drafted.
        let newest = student_runs(scene.studio.runs_of_model()).find(|run| run.has_layers());
        draft.student = match (mode, newest) {
            (TrainMode::Weights, _) => TrainDraft::default().student,
            (_, Some(run)) => StudentChoice::Run(Some(run.id)),
            (_, None) => StudentChoice::Open,
        };
    }
    let sentence = mode_sentence(mode);
    fields(ui, scene, "", |ui, scene| {
        let text = RichText::new(sentence).small();
        ui.add(egui::Label::new(text.color(scene.look.colours.weak)).truncate());
    });
}

fn text(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    draft: &mut TrainDraft,
    memory: &mut Memory,
) {
    let own = draft.corpus.as_ref();
    let current = own.map_or(String::new(), |path| path.display().to_string());
    let hint = match &project.draft().calibration.corpus {
        Some(_) => "the calibration text",
        None => "a text file, or a .safetensors file of token ids",
    };
    row(
        ui,
        scene,
        "Training text",
        |ui, scene| choose(ui, scene, "training text", Purpose::TrainingText),
        |ui, _, width| {
            let (_, text) = memory.text.show(ui, "Training text", &current, hint, width);
            if let Some(text) = text {
                draft.corpus = (!text.is_empty()).then(|| absolute(Path::new(&text)));
            }
        },
    );
}

fn evaluation(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let text = project.draft().evaluation.clone();
    let current = text.map_or(String::new(), |text| text.display().to_string());
    row(
        ui,
        scene,
        "Evaluation text",
        |ui, scene| choose(ui, scene, "evaluation text", Purpose::EvaluationText),
        |ui, scene, width| {
            let hint = "none: the student is not measured";
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

/// Texts that the student writes on its way.
fn samples(ui: &mut Ui, scene: &mut Scene<'_>, draft: &mut TrainDraft, memory: &mut Memory) {
    let Prompt {
        text: current,
        every,
    } = &mut draft.prompt;
    let mut typed = None;
    row(
        ui,
        scene,
        "Samples",
        |ui, _| {
            let field = DragValue::new(every)
                .range(0..=10_000_000)
                .speed(0.25)
                .prefix("every ")
                .suffix(" steps");
            named(ui.add(field), "Steps between samples")
                .on_hover_text("Steps between texts of the student; 0 = only before and after");
        },
        |ui, _, width| {
            let hint = "a prompt; empty: no samples";
            let (_, text) = memory.prompt.show(ui, "Prompt", current, hint, width);
            typed = text;
        },
    );
    if let Some(text) = typed {
        draft.prompt.text = text;
    }
}

fn folder(ui: &mut Ui, scene: &mut Scene<'_>, draft: &mut TrainDraft, memory: &mut Memory) {
    let current = scene.studio.next_student_out().display().to_string();
    row(
        ui,
        scene,
        "Folder",
        |_, _| {},
        |ui, _, width| {
            let hint = "in the data folder, under the run's name";
            let (_, text) = memory
                .folder
                .show(ui, "Folder of the student", &current, hint, width);
            if let Some(text) = text {
                draft.out = (!text.is_empty()).then(|| absolute(Path::new(&text)));
            }
        },
    );
}

/// What the engine foresees.
fn memory_line(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    let foresight = &project.foresight;
    fields(ui, scene, "Memory", |ui, scene| {
        let colours = &scene.look.colours;
        match &foresight.answer {
            None => {
                ui.label(RichText::new("–").color(colours.weak));
            }
            Some(Err(reason)) => {
                let text = RichText::new(reason).color(colours.warning);
                ui.add(egui::Label::new(text).truncate())
                    .on_hover_text(reason);
            }
            Some(Ok(foreseen)) => {
                let value = Figure::estimated(foreseen.bytes as f64);
                let text = Bytes(foreseen.bytes).to_string();
                figure(ui, scene.look, value, &text).on_hover_text(
                    "Estimated from shapes: weights, gradients, means, states, teachers",
                );
                let allowed = Bytes(foreseen.allowed_bytes);
                let (words, colour) = match foreseen.bytes <= foreseen.allowed_bytes {
                    true => (format!("of {allowed} that may be used"), colours.weak),
                    false => (
                        format!("but only {allowed} may be used; take a smaller batch or length"),
                        colours.warning,
                    ),
                };
                let student = format!("student of {} weights", short_count(foreseen.parameters));
                let words = RichText::new(format!("{words} · {student}")).color(colour);
                ui.add(egui::Label::new(words).truncate());
            }
        }
    });
}

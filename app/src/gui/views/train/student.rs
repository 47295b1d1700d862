//! Who is trained: a part of the teacher, a fresh network, another model, or what a run wrote.

use super::setup::{choose, fields};
use crate::gui::scene::Scene;
use crate::gui::views::run::row;
use crate::gui::widgets::{Typed, named};
use crate::studio::effect::Purpose;
use crate::studio::places::absolute;
use crate::studio::runs::RunId;
use crate::studio::train::{StudentChoice, TrainDraft, student_runs};
use egui::{Checkbox, ComboBox, DragValue, Ui};
use std::path::{Path, PathBuf};

/// Texts being typed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    config: Typed,
    student: Typed,
}

/// Kinds of students, and what each begins with.
fn kinds(newest: Option<RunId>) -> [(&'static str, &'static str, StudentChoice); 6] {
    [
        (
            "fewer blocks",
            "The teacher with a share of its blocks",
            StudentChoice::Depth {
                share: 0.5,
                evenly: false,
            },
        ),
        (
            "narrower blocks",
            "The teacher with a share of its heads and neurons",
            StudentChoice::Width { share: 0.5 },
        ),
        (
            "fresh, of a config",
            "A network of a config.json, its weights drawn anew",
            StudentChoice::Config(None),
        ),
        (
            "the open model",
            "The open model itself; where codes learn, compressed as the layers view says",
            StudentChoice::Open,
        ),
        (
            "another model",
            "A model as it lies",
            StudentChoice::Model(None),
        ),
        (
            "a run of this model",
            "What a run of the open model wrote",
            StudentChoice::Run(newest),
        ),
    ]
}

pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    draft: &mut TrainDraft,
    memory: &mut Memory,
) {
    let studio = scene.studio;
    let newest = student_runs(studio.runs_of_model())
        .next()
        .map(|run| run.id);
    let kinds = kinds(newest);
    let is_kind = |choice: &StudentChoice, draft: &TrainDraft| {
        std::mem::discriminant(choice) == std::mem::discriminant(&draft.student)
    };
    let now = kinds.iter().find(|(.., choice)| is_kind(choice, draft));
    let title = now.map_or("", |(title, ..)| *title);
    fields(ui, scene, "Student", |ui, scene| {
        let combo = ComboBox::from_id_salt("student")
            .selected_text(title)
            .width(140.0)
            .show_ui(ui, |ui| {
                for (title, hint, choice) in &kinds {
                    let is_now = is_kind(choice, draft);
                    let label = ui.selectable_label(is_now, *title).on_hover_text(*hint);
                    if label.clicked() && !is_now {
                        draft.student = choice.clone();
                    }
                }
            });
        named(combo.response, "Student").on_hover_text("Who is trained");
        match &mut draft.student {
            StudentChoice::Depth { share, evenly } => {
                percent(ui, "Share of blocks that stays", "stay ", share);
                ui.add(Checkbox::new(evenly, "evenly")).on_hover_text(
                    "Blocks at even distances stay, instead of those that change their input most",
                );
            }
            StudentChoice::Width { share } => {
                percent(ui, "Share of heads and neurons that stays", "stay ", share);
            }
            StudentChoice::Run(chosen) => runs(ui, scene, chosen),
            StudentChoice::Open | StudentChoice::Config(_) | StudentChoice::Model(_) => {}
        }
    });
    match &mut draft.student {
        StudentChoice::Config(path) => {
            let what = ("Config of the student", "the config.json", "config.json");
            path_row(
                ui,
                scene,
                &mut memory.config,
                what,
                path,
                Purpose::StudentConfig,
            );
        }
        StudentChoice::Model(path) => {
            let what = ("Folder of the student", "the student", "a model's folder");
            path_row(ui, scene, &mut memory.student, what, path, Purpose::Student);
        }
        _ => {}
    }
}

/// A share as per cent.
pub(super) fn percent(ui: &mut Ui, name: &str, prefix: &str, share: &mut f64) {
    let mut value = 100.0 * *share;
    let field = DragValue::new(&mut value)
        .range(5.0..=95.0)
        .speed(0.5)
        .max_decimals(0)
        .prefix(prefix)
        .suffix(" %");
    if named(ui.add(field), name).on_hover_text(name).changed() {
        *share = value / 100.0;
    }
}

fn runs(ui: &mut Ui, scene: &Scene<'_>, chosen: &mut Option<RunId>) {
    let studio = scene.studio;
    let now = chosen.and_then(|id| studio.run(id));
    let text = now.map_or("none yet", |run| run.name.as_str());
    let combo = ComboBox::from_id_salt("student run")
        .selected_text(text)
        .width(120.0)
        .show_ui(ui, |ui| {
            for run in student_runs(studio.runs_of_model()) {
                ui.selectable_value(chosen, Some(run.id), &run.name);
            }
        });
    named(combo.response, "Run that is trained").on_hover_text("Finished runs of this model");
}

/// A path that a person types or chooses. `what`: its name, what is chosen, what stands in the empty field.
fn path_row(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    typed: &mut Typed,
    (name, what, hint): (&str, &str, &str),
    path: &mut Option<PathBuf>,
    purpose: Purpose,
) {
    let current = path
        .as_ref()
        .map_or(String::new(), |path| path.display().to_string());
    row(
        ui,
        scene,
        "",
        |ui, scene| choose(ui, scene, what, purpose),
        |ui, _, width| {
            let (_, text) = typed.show(ui, name, &current, hint, width);
            if let Some(text) = text {
                *path = (!text.is_empty()).then(|| absolute(Path::new(&text)));
            }
        },
    );
}

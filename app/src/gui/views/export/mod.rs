//! A finished run in another container: which, where, what will be written, and the checklist of what was.
//!
//! What the container cannot hold is settled when the choice changes (`choice`); `checklist` shows the outcome.

mod before;
mod checklist;
mod choice;
mod programs;

use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::action::Action;
use crate::studio::draft::Draft;
use crate::studio::effect::Purpose;
use crate::studio::places::absolute;
use crate::studio::runs::{Run, RunId, RunStatus};
use choice::{Outlook, outlooks, outlooks_of_draft};
use egui::{Button, ComboBox, Grid, RichText, TextEdit, Ui};
use pare_engine::formats::Format;
use pare_engine::units::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    run: Option<RunId>,
    format: Option<Format>,
    place: String,
    /// The place that was looked at last.
    looked: Option<PathBuf>,
    /// Whether a folder is being chosen elsewhere.
    is_choosing: bool,
    /// What each container makes of the run, and for which run and model.
    outlooks: Option<(RunId, PathBuf, Vec<Outlook>)>,
    /// What each container would make of this draft.
    drafted: Option<(Arc<Draft>, Vec<Outlook>)>,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    // A trained student is an ordinary model already: opened, it can be compressed into any format.
    let is_done = |run: &&Run| run.status == RunStatus::Done && run.has_layers();
    let runs: Vec<Run> = scene.studio.runs.iter().filter(is_done).cloned().collect();
    let chosen = memory
        .run
        .and_then(|id| runs.iter().find(|run| run.id == id));
    let newest = scene.studio.exportable();
    let newest = newest.and_then(|id| runs.iter().find(|run| run.id == id));
    let Some(run) = chosen.or(newest).cloned() else {
        without_run(ui, scene, memory);
        return;
    };
    memory.settle(&run, scene);
    egui::ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| {
            Grid::new("export")
                .num_columns(2)
                .min_col_width(64.0)
                .spacing([16.0, 8.0])
                .show(ui, |ui| {
                    run_row(ui, &runs, &run, memory);
                    format_row(ui, scene, memory);
                    place_row(ui, scene, run.id, memory);
                    written_row(ui, scene, &run, memory);
                });
            ui.add_space(4.0);
            buttons(ui, scene, &run, memory);
            checklist::show(ui, scene);
            of_draft(ui, scene, memory);
            programs::show(ui, scene, Some(memory.format()));
        });
}

/// Nothing can be exported yet: what would be possible of the recipe as it stands.
fn without_run(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    egui::ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| {
            let sentence = "A finished run can be exported from here to other programs' formats";
            ui.horizontal(|ui| {
                scene.action_button(ui, Action::StartRun);
                ui.label(RichText::new(sentence).color(scene.look.colours.weak));
            });
            of_draft(ui, scene, memory);
            programs::show(ui, scene, None);
        });
}

/// What each container holds of the draft; asked again when the draft changes.
fn of_draft(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.project() else {
        memory.drafted = None;
        return;
    };
    let known = memory.drafted.as_ref();
    if !known.is_some_and(|(draft, _)| Arc::ptr_eq(draft, project.draft())) {
        memory.drafted = Some((project.draft().clone(), outlooks_of_draft(project)));
    }
    if let Some((_, outlooks)) = &memory.drafted {
        before::show(ui, scene, outlooks);
    }
}

impl Memory {
    /// Brings what depends on the run up to date, and looks at the place where it changed.
    fn settle(&mut self, run: &Run, scene: &mut Scene<'_>) {
        let model = scene.project().map(|project| project.path.clone());
        let model = model.unwrap_or_default();
        let is_known = self
            .outlooks
            .as_ref()
            .is_some_and(|(id, path, _)| *id == run.id && *path == model);
        if !is_known {
            if self.run.is_none() || self.outlooks.is_none() {
                self.place.clear();
            }
            self.outlooks = Some((run.id, model, outlooks(run, scene.project())));
        }
        self.take_chosen(scene);
        if self.place.is_empty() {
            let default = default_place(&run.out, self.format());
            self.place = default.display().to_string();
        }
        let path = absolute(Path::new(self.place.trim()));
        if self.looked.as_ref() != Some(&path) {
            self.looked = Some(path.clone());
            scene.push(Command::CheckPlace(path));
        }
    }

    /// A folder that was chosen in the meantime.
    fn take_chosen(&mut self, scene: &Scene<'_>) {
        let Some(place) = scene.studio.place.as_ref().filter(|_| self.is_choosing) else {
            return;
        };
        if Some(&place.path) != self.looked.as_ref() {
            self.is_choosing = false;
            self.looked = Some(place.path.clone());
            self.place = place.path.display().to_string();
        }
    }

    fn format(&self) -> Format {
        self.format.unwrap_or(Format::Dense)
    }

    fn outlook(&self, format: Format) -> Option<&Outlook> {
        let (_, _, outlooks) = self.outlooks.as_ref()?;
        outlooks.iter().find(|outlook| outlook.format == format)
    }
}

/// Beside the run, named after the format.
fn default_place(run: &Path, format: Format) -> PathBuf {
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    run.with_file_name(format!("{name}-{}", format.word()))
}

fn run_row(ui: &mut Ui, runs: &[Run], run: &Run, memory: &mut Memory) {
    ui.label("Run");
    ui.name_inputs("Run", |ui| {
        ComboBox::from_id_salt("run")
            .width(280.0)
            .selected_text(&run.name)
            .show_ui(ui, |ui| {
                for other in runs {
                    let text = format!("{} · {}", other.name, other.format);
                    if ui.selectable_label(other.id == run.id, text).clicked() {
                        memory.run = Some(other.id);
                        memory.place.clear();
                    }
                }
            });
    });
    ui.end_row();
}

fn format_row(ui: &mut Ui, scene: &Scene<'_>, memory: &mut Memory) {
    ui.label("Format");
    ui.vertical(|ui| {
        ui.horizontal_wrapped(|ui| {
            for format in Format::ALL {
                let changes = memory.outlook(format).and_then(Outlook::changes);
                let is_chosen = memory.format() == format;
                let text = match changes {
                    Some(_) => RichText::new(format.word()).color(scene.look.colours.weak),
                    None => RichText::new(format.word()),
                };
                let response = ui.add(Button::new(text).selected(is_chosen));
                let hint =
                    changes.unwrap_or_else(|| "holds every layer as it was solved".to_owned());
                if response.on_hover_text(hint).clicked() && !is_chosen {
                    memory.format = Some(format);
                    memory.place.clear();
                }
            }
        });
        let text = format!("Loads in {}", memory.format().direct_programs());
        ui.label(RichText::new(text).small().color(scene.look.colours.weak));
    });
    ui.end_row();
}

fn place_row(ui: &mut Ui, scene: &mut Scene<'_>, run: RunId, memory: &mut Memory) {
    let label = ui.label("To");
    ui.vertical(|ui| {
        ui.horizontal(|ui| {
            let width = (ui.available_width() - 90.0).clamp(120.0, 520.0);
            let field = TextEdit::singleline(&mut memory.place)
                .hint_text("A folder that does not exist yet")
                .desired_width(width);
            if ui.add(field).labelled_by(label.id).changed() {
                // What is typed belongs to this run, even where a newer one ends meanwhile.
                memory.run = Some(run);
                memory.is_choosing = false;
            }
            if ui.button("Choose…").clicked() {
                memory.is_choosing = true;
                scene.push(Command::Choose(Purpose::ExportFolder));
            }
        });
        let place = scene.studio.place.as_ref();
        let place = place.filter(|place| Some(&place.path) == memory.looked.as_ref());
        let colours = &scene.look.colours;
        let (text, colour) = match place {
            None => (String::new(), colours.weak),
            Some(place) if place.is_taken => (
                "Something lies there already, and nothing is overwritten; choose another name"
                    .to_owned(),
                colours.error,
            ),
            Some(place) => match (&place.problem, place.free_bytes) {
                (Some(problem), _) => (problem.clone(), colours.error),
                (None, Some(free)) => (format!("{} free on its disk", Bytes(free)), colours.weak),
                (None, None) => (
                    "The system does not tell how much is free there".to_owned(),
                    colours.weak,
                ),
            },
        };
        // The line keeps its place while the answer is on its way.
        ui.label(
            RichText::new(if text.is_empty() { " " } else { &text })
                .small()
                .color(colour),
        );
    });
    ui.end_row();
}

fn written_row(ui: &mut Ui, scene: &mut Scene<'_>, run: &Run, memory: &Memory) {
    let Some(outlook) = memory.outlook(memory.format()) else {
        return;
    };
    ui.label("Writes");
    ui.vertical(|ui| {
        match outlook.bytes {
            Some(bytes) => ui.label(format!(
                "≈{} of tensors, and the files beside them",
                Bytes(bytes)
            )),
            None => ui.label("How much is told once the run's model is open"),
        };
        if let Some(changes) = outlook.changes() {
            let text = format!("{} {changes}", outlook.format.word());
            let header = RichText::new(text).color(scene.look.colours.warning);
            egui::CollapsingHeader::new(header)
                .id_salt("fallbacks")
                .show(ui, |ui| {
                    ui.label(RichText::new(before::listed(outlook)).small());
                });
            fit_run(ui, scene, run, outlook.format);
        }
    });
    ui.end_row();
}

/// A run is never changed: one click drafts another that the container holds.
fn fit_run(ui: &mut Ui, scene: &mut Scene<'_>, run: &Run, format: Format) {
    let is_open = scene
        .project()
        .is_some_and(|project| project.path == run.model);
    let button = Button::new(format!("Draft a run that fits {}", format.word()));
    let response = ui
        .add_enabled(is_open, button)
        .on_hover_text("Takes this run's recipe with the nearest choices that the format holds")
        .on_disabled_hover_text("Open the run's model first");
    if response.clicked() {
        scene.push(Command::CloneFitted(run.id, format));
    }
}

/// Why the export cannot begin, if it cannot.
fn refusal(scene: &Scene<'_>, memory: &Memory) -> Option<String> {
    if let Some(job) = &scene.studio.side_job {
        return Some(format!("{} is at work", job.name));
    }
    let outlook = memory.outlook(memory.format());
    if let Some(reason) = outlook.and_then(|outlook| outlook.refusal.clone()) {
        return Some(reason);
    }
    if memory.place.trim().is_empty() {
        return Some("No folder is named".to_owned());
    }
    let place = scene.studio.place.as_ref();
    let place = place.filter(|place| Some(&place.path) == memory.looked.as_ref())?;
    if place.is_taken {
        return Some("Something lies there already; choose another name".to_owned());
    }
    let needed = outlook.and_then(|outlook| outlook.bytes);
    match (&place.problem, needed, place.free_bytes) {
        (Some(problem), ..) => Some(problem.clone()),
        (None, Some(needed), Some(free)) if needed > free => Some(format!(
            "{} are needed, {} are free there; choose another disk",
            Bytes(needed),
            Bytes(free)
        )),
        _ => None,
    }
}

fn buttons(ui: &mut Ui, scene: &mut Scene<'_>, run: &Run, memory: &Memory) {
    let refusal = refusal(scene, memory);
    let (format, out) = (memory.format(), absolute(Path::new(memory.place.trim())));
    ui.horizontal(|ui| {
        let label = format!("Export as {}", format.word());
        let button = Button::new(label).fill(scene.look.colours.accent_fill);
        let response = ui.add_enabled(refusal.is_none(), button);
        let response = match &refusal {
            Some(reason) => response.on_disabled_hover_text(reason),
            None => response,
        };
        if response.clicked() {
            scene.push(Command::Export {
                run: run.id,
                format,
                out: out.clone(),
            });
        }
        if ui.button("Copy as command").clicked() {
            scene.push(Command::CopyExport {
                run: run.id,
                format,
                out,
            });
        }
        if let Some(job) = &scene.studio.side_job {
            ui.spinner();
            ui.label(&job.name);
            if ui.button("Stop").clicked() {
                scene.push(Command::StopGenerating);
            }
        } else if let Some(reason) = refusal {
            ui.label(RichText::new(reason).small().color(scene.look.colours.weak));
        }
    });
}

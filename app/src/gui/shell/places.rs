//! Choosing files and folders: a field for a path, always, and the desktop's dialog beside it where there is one.
//!
//! The dialog is a future that is polled between frames, so that it never holds one up. It tells a refusal and a failure
//! alike, so the field stays open in both. Reads no file.

use super::Shell;
use crate::gui::scene::Scene;
use crate::studio::effect::Purpose;
use crate::studio::places::absolute;
use egui::{Align2, Context, Key, Modifiers, RichText, TextEdit, Ui, ViewportCommand, vec2};
use rfd::{AsyncFileDialog, FileHandle};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

type Pending = Pin<Box<dyn Future<Output = Option<FileHandle>>>>;

/// The question that is open, and answers not yet taken.
#[derive(Default)]
pub(super) struct Places {
    question: Option<Question>,
    answers: Vec<(Purpose, Option<PathBuf>)>,
}

struct Question {
    purpose: Purpose,
    text: String,
    is_fresh: bool,
    dialog: Option<Pending>,
    /// The dialog came back with nothing.
    came_back_empty: bool,
}

impl std::fmt::Debug for Places {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let purpose = self.question.as_ref().map(|question| &question.purpose);
        formatter
            .debug_struct("Places")
            .field("purpose", &purpose)
            .field("answers", &self.answers)
            .finish_non_exhaustive()
    }
}

/// Wakes the window when a dialog is answered.
struct Repaint(Context);

impl Wake for Repaint {
    fn wake(self: Arc<Self>) {
        self.0.request_repaint();
    }
}

impl Places {
    pub(super) fn chosen(&mut self) -> Option<(Purpose, Option<PathBuf>)> {
        self.answers.pop()
    }

    pub(super) fn is_open(&self) -> bool {
        self.question.is_some()
    }

    pub(super) fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let Some(question) = &mut self.question else {
            return;
        };
        let mut answer = question.poll(ui.ctx()).map(Some);
        let area = egui::Modal::default_area(egui::Id::unique("places"))
            .anchor(Align2::CENTER_TOP, vec2(0.0, 96.0));
        let modal = egui::Modal::new(egui::Id::unique("places"))
            .frame(egui::Frame::window(ui.style()))
            .area(area)
            .backdrop_color(egui::Color32::from_black_alpha(60))
            .show(ui.ctx(), |ui| question.content(ui, scene));
        if let Some(inner) = modal.inner {
            answer = Some(inner);
        } else if modal.should_close() {
            answer = Some(None);
        }
        if let Some(path) = answer {
            let purpose = question.purpose.clone();
            self.question = None;
            self.answers.push((purpose, path));
            // The answer is taken after a frame; there may be no other reason for one.
            ui.ctx().request_repaint();
        }
    }
}

impl Question {
    /// Looks whether the desktop's dialog has an answer.
    fn poll(&mut self, context: &Context) -> Option<PathBuf> {
        let waker = Waker::from(Arc::new(Repaint(context.clone())));
        let mut task = std::task::Context::from_waker(&waker);
        let Poll::Ready(answer) = self.dialog.as_mut()?.as_mut().poll(&mut task) else {
            return None;
        };
        self.dialog = None;
        self.came_back_empty = answer.is_none();
        answer.map(|file| file.path().to_owned())
    }

    /// Draws the question. `Some(None)` = changed their mind.
    fn content(&mut self, ui: &mut Ui, scene: &Scene<'_>) -> Option<Option<PathBuf>> {
        let words = words(&self.purpose);
        ui.set_width(520.0);
        ui.heading(words.title);
        ui.label(RichText::new(words.hint).color(scene.look.colours.weak));
        ui.add_space(8.0);
        let width = ui.available_width();
        let field = TextEdit::singleline(&mut self.text)
            .hint_text("Path")
            .margin(egui::Margin::symmetric(8, 6))
            .desired_width(width);
        let response = ui.add(field);
        if std::mem::take(&mut self.is_fresh) {
            response.request_focus();
        }
        let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        if self.came_back_empty {
            let text = "The desktop's dialog was closed without an answer, or could not be opened here; type or paste the path";
            ui.label(RichText::new(text).small().color(scene.look.colours.weak));
        }
        ui.add_space(8.0);
        let path = absolute(Path::new(self.text.trim()));
        let is_empty = path.as_os_str().is_empty();
        let mut answer = (entered && !is_empty).then(|| Some(path.clone()));
        ui.horizontal(|ui| {
            if ui.button("Paste").clicked() {
                response.request_focus();
                ui.ctx().send_viewport_cmd(ViewportCommand::RequestPaste);
            }
            for (label, kind) in words.dialogs {
                let is_free = self.dialog.is_none();
                if ui.add_enabled(is_free, egui::Button::new(*label)).clicked() {
                    self.ask_desktop(*kind);
                    ui.ctx().request_repaint();
                }
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                let accept = ui
                    .add_enabled(!is_empty, egui::Button::new(words.accept))
                    .on_disabled_hover_text("Type or paste a path first");
                if accept.clicked() {
                    answer = Some(Some(path));
                }
                if ui.button("Cancel").clicked() {
                    answer = Some(None);
                }
            });
        });
        if ui.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Escape)) {
            answer = Some(None);
        }
        answer
    }

    fn ask_desktop(&mut self, kind: Kind) {
        let title = words(&self.purpose).title;
        let dialog = AsyncFileDialog::new().set_title(title);
        self.came_back_empty = false;
        self.dialog = Some(match kind {
            Kind::Folder => Box::pin(dialog.pick_folder()),
            Kind::File => Box::pin(dialog.pick_file()),
            Kind::NewFile(name) => Box::pin(dialog.set_file_name(name).save_file()),
        });
    }
}

/// Which of the desktop's dialogs.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Folder,
    File,
    /// The name that it begins with.
    NewFile(&'static str),
}

struct Words {
    title: &'static str,
    hint: &'static str,
    accept: &'static str,
    dialogs: &'static [(&'static str, Kind)],
}

fn words(purpose: &Purpose) -> Words {
    const FILE: &[(&str, Kind)] = &[("Browse…", Kind::File)];
    match purpose {
        Purpose::Model => Words {
            title: "Open model",
            hint: "A folder with config.json and safetensors, one .safetensors file, or what Pare wrote",
            accept: "Open",
            dialogs: &[
                ("Browse folders…", Kind::Folder),
                ("Browse files…", Kind::File),
            ],
        },
        Purpose::Recipe => Words {
            title: "Open recipe",
            hint: "A .toml file; it becomes the draft as one step that can be undone",
            accept: "Open",
            dialogs: FILE,
        },
        Purpose::SaveRecipe => Words {
            title: "Save recipe",
            hint: "A .toml file; pare compress --recipe reads it too",
            accept: "Save",
            dialogs: &[("Browse…", Kind::NewFile("recipe.toml"))],
        },
        Purpose::CalibrationText => Words {
            title: "Calibration text",
            hint: "A .txt or .jsonl file, or token ids as .safetensors, like what the model will read",
            accept: "Choose",
            dialogs: FILE,
        },
        Purpose::EvaluationText => Words {
            title: "Evaluation text",
            hint: "A .txt or .jsonl file that calibration does not see: quality is measured on it",
            accept: "Choose",
            dialogs: FILE,
        },
        Purpose::Teacher => Words {
            title: "Add teacher",
            hint: "A model with the tokenizer of the open one: what all teachers say is averaged",
            accept: "Add",
            dialogs: &[
                ("Browse folders…", Kind::Folder),
                ("Browse files…", Kind::File),
            ],
        },
        Purpose::Student => Words {
            title: "Student",
            hint: "The folder of the model that is trained",
            accept: "Choose",
            dialogs: &[("Browse folders…", Kind::Folder)],
        },
        Purpose::StudentConfig => Words {
            title: "Config of the student",
            hint: "A config.json with the teacher's vocabulary; weights are drawn anew",
            accept: "Choose",
            dialogs: FILE,
        },
        Purpose::TrainingText => Words {
            title: "Training text",
            hint: "A .txt or .jsonl file, or token ids as .safetensors; all of it is used",
            accept: "Choose",
            dialogs: FILE,
        },
        Purpose::SaveReport(_) => Words {
            title: "Save report",
            hint: "An .html file that every browser shows and prints; what lies there is replaced",
            accept: "Save",
            dialogs: &[("Browse…", Kind::NewFile("report.html"))],
        },
        Purpose::ExportFolder => Words {
            title: "Export to",
            hint: "A folder that does not exist yet: it will be made, and nothing is overwritten",
            accept: "Choose",
            dialogs: &[("Browse folders…", Kind::Folder)],
        },
    }
}

/// Asks for a file or folder.
pub fn ask(shell: &mut Shell, purpose: Purpose, context: &Context) {
    shell.places.question = Some(Question {
        purpose,
        text: String::new(),
        is_fresh: true,
        dialog: None,
        came_back_empty: false,
    });
    context.request_repaint();
}

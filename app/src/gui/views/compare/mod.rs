//! The compare view: two runs, or a run and the original: metrics, recipes, layers, histograms, texts.

mod histograms;
mod layers;
mod metrics;
mod playground;

use crate::gui::scene::Scene;
use crate::gui::views::runs::{recipe_changes, save_report};
use crate::gui::widgets::{empty, sign_button};
use crate::studio::Command;
use crate::studio::action::{Action, View};
use crate::studio::comparison::Comparison;
use crate::studio::runs::{RunId, RunStatus};
use egui::{ComboBox, RichText, ScrollArea, Ui};
use egui_material_icons::icons::ICON_SWAP_HORIZ;

/// Panes at least this wide show two columns.
const TWO_COLUMNS: f32 = 760.0;

/// What was compared: both sides and how often each was measured.
type Pair = [(Option<RunId>, usize); 2];

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    made_for: Option<Pair>,
    comparison: Comparison,
    playground: playground::Memory,
}

impl Memory {
    /// Compares anew where another pair is chosen or one was measured again.
    fn follow(&mut self, scene: &Scene<'_>) {
        let (left, right) = scene.studio.compared;
        let sides = [left, right].map(|id| id.and_then(|id| scene.studio.run(id)));
        let measured = |side: usize| {
            let run = sides[side];
            let count = run.map_or(0, |run| {
                run.evaluations.len() + usize::from(run.bytes().is_some())
            });
            (run.map(|run| run.id), count)
        };
        let pair = [measured(0), measured(1)];
        if self.made_for != Some(pair) {
            self.made_for = Some(pair);
            self.comparison = Comparison::of(sides[0], sides[1]);
        }
    }
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let done = |status: &RunStatus| *status == RunStatus::Done;
    if !scene.studio.runs.iter().any(|run| done(&run.status)) {
        let sentence = "A finished run can be compared with the original and with other runs";
        empty(ui, scene, sentence, &[Action::StartRun]);
        return;
    }
    memory.follow(scene);
    sides(ui, scene);
    let (left, right) = scene.studio.compared;
    if left == right {
        let sentence = match left {
            None => "Choose a run on one side",
            Some(_) => "Both sides are the same run; choose another on one side",
        };
        empty(ui, scene, sentence, &[Action::Show(View::Runs)]);
        return;
    }
    let names = [left, right].map(|id| name(scene, id));
    ScrollArea::vertical()
        .id_salt("compare")
        .auto_shrink(false)
        .show(ui, |ui| {
            if ui.available_width() >= TWO_COLUMNS {
                ui.columns(2, |columns| {
                    numbers(&mut columns[0], scene, memory, &names);
                    details(&mut columns[1], scene, memory, &names);
                });
            } else {
                numbers(ui, scene, memory, &names);
                details(ui, scene, memory, &names);
            }
            heading(ui, "Playground");
            playground::show(ui, scene, &mut memory.playground, &names);
        });
}

fn numbers(ui: &mut Ui, scene: &mut Scene<'_>, memory: &Memory, names: &[String; 2]) {
    metrics::show(ui, scene, &memory.comparison.metrics, names);
    if scene.studio.compared.0.is_some() && scene.studio.compared.1.is_some() {
        heading(ui, "Recipe, A to B");
        let height = 4.0 * scene.look.measures.row_height;
        ui.allocate_ui(egui::vec2(ui.available_width(), height), |ui| {
            recipe_changes(ui, scene, &memory.comparison.changes);
        });
    }
}

fn details(ui: &mut Ui, scene: &mut Scene<'_>, memory: &Memory, names: &[String; 2]) {
    heading(ui, "Layers, farthest apart first");
    layers::show(ui, scene, &memory.comparison.layers);
    heading(ui, "Weights of the selected layer");
    histograms::show(ui, scene, names);
}

fn heading(ui: &mut Ui, text: &str) {
    ui.add_space(4.0);
    ui.label(RichText::new(text).strong());
}

fn name(scene: &Scene<'_>, id: Option<RunId>) -> String {
    let run = id.and_then(|id| scene.studio.run(id));
    run.map_or("original".to_owned(), |run| run.name.clone())
}

fn sides(ui: &mut Ui, scene: &mut Scene<'_>) {
    let (mut left, mut right) = scene.studio.compared;
    ui.horizontal(|ui| {
        let width = (ui.available_width() / 3.0).clamp(90.0, 240.0);
        side(ui, scene, "A", &mut left, width);
        let swap = ui.button(ICON_SWAP_HORIZ.codepoint);
        if sign_button(swap, "Swap sides").clicked() {
            std::mem::swap(&mut left, &mut right);
        }
        side(ui, scene, "B", &mut right, width);
        save_report(ui, scene, right.or(left));
    });
    if (left, right) != scene.studio.compared {
        scene.push(Command::Compare(left, right));
    }
}

fn side(ui: &mut Ui, scene: &Scene<'_>, letter: &str, chosen: &mut Option<RunId>, width: f32) {
    ui.label(RichText::new(letter).strong());
    let combo = ComboBox::from_id_salt(letter)
        .selected_text(name(scene, *chosen))
        .width(width)
        .show_ui(ui, |ui| {
            ui.selectable_value(chosen, None, "original");
            let done = scene.studio.runs.iter();
            for run in done.filter(|run| run.status == RunStatus::Done) {
                ui.selectable_value(chosen, Some(run.id), &run.name);
            }
        });
    combo.response.on_hover_text(format!("Side {letter}"));
}

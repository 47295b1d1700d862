//! The runs view: every run, newest first, the baseline on top; what differs between two of them.

mod changes;
mod menu;
mod rows;
mod table;

pub(super) use changes::recipe_changes;

use crate::gui::scene::Scene;
use crate::gui::widgets::empty;
use crate::studio::Command;
use crate::studio::action::{Action, View};
use crate::studio::comparison::{self, RecipeChange};
use crate::studio::effect::Purpose;
use crate::studio::runs::{RunId, RunStatus};
use egui::{RichText, Ui};
use rows::{Column, Rows};

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    rows: Rows,
    sort: Option<(Column, bool)>,
    selected: Vec<RunId>,
    /// Metrics as differences to the baseline.
    differences: bool,
    renaming: Option<(RunId, String)>,
    /// The run that a person is asked about before it is forgotten.
    forgetting: Option<RunId>,
    changes: Option<((RunId, RunId), Vec<RecipeChange>)>,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    if scene.studio.runs.is_empty() {
        let sentence = match &scene.studio.store {
            Ok(()) => "Every run is kept here with its recipe and its measurements".to_owned(),
            Err(problem) => problem.clone(),
        };
        empty(ui, scene, &sentence, &[Action::StartRun]);
        return;
    }
    memory.selected.retain(|&id| scene.studio.run(id).is_some());
    memory
        .rows
        .follow(scene.studio, memory.sort, memory.differences);
    bar(ui, scene, memory);
    forgetting(ui, scene, memory);
    let two = match memory.selected[..] {
        [left, right] => Some((left, right)),
        _ => None,
    };
    let row = scene.look.measures.row_height;
    let below = if two.is_some() { 5.0 * row } else { 0.0 };
    let height = (ui.available_height() - below).max(4.0 * row);
    ui.allocate_ui(egui::vec2(ui.available_width(), height), |ui| {
        ui.set_min_height(height);
        table::show(ui, scene, memory);
    });
    if let Some(two) = two {
        differences(ui, scene, memory, two);
    }
}

fn bar(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    ui.horizontal(|ui| {
        let count = scene.studio.runs.len();
        let text = match (count, memory.selected.len()) {
            (1, 0) => "1 run".to_owned(),
            (count, 0) => format!("{count} runs"),
            (count, selected) => format!("{selected} of {count} selected"),
        };
        ui.label(RichText::new(text).color(scene.look.colours.weak));
        let chosen = match memory.selected[..] {
            [one] => Some((None, Some(one))),
            [one, two] => Some((Some(one), Some(two))),
            _ => None,
        };
        let words = match memory.selected.len() {
            2 => "Compare both",
            _ => "Compare with the original",
        };
        let compare = ui.add_enabled(chosen.is_some(), egui::Button::new(words));
        let compare = compare.on_disabled_hover_text("Select one run, or two with Ctrl");
        if let (true, Some((left, right))) = (compare.clicked(), chosen) {
            scene.push(Command::Compare(left, right));
            scene.push(Command::Show(View::Compare));
        }
        let reported = match memory.selected[..] {
            [one] => Some(one),
            _ => None,
        };
        save_report(ui, scene, reported);
        let pinned = scene.studio.runs.iter().any(|run| run.pinned);
        let toggle = egui::Checkbox::new(&mut memory.differences, "Differences to the baseline");
        ui.add_enabled(pinned, toggle)
            .on_disabled_hover_text("Pin a run as the baseline first");
    });
}

/// The button that writes the page of a finished run.
pub(in crate::gui::views) fn save_report(ui: &mut Ui, scene: &mut Scene<'_>, id: Option<RunId>) {
    let run = id.and_then(|id| scene.studio.run(id));
    let run = run.filter(|run| run.status == RunStatus::Done);
    let id = run.map(|run| run.id);
    let button = ui.add_enabled(id.is_some(), egui::Button::new("Save report…"));
    let button = button
        .on_hover_text("One page with the recipe, every layer, pictures and hashes")
        .on_disabled_hover_text("Select one finished run");
    if let (true, Some(id)) = (button.clicked(), id) {
        scene.push(Command::Choose(Purpose::SaveReport(id)));
    }
}

/// Forgetting cannot be taken back, so it asks: where the eye is, without a window.
fn forgetting(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(run) = memory.forgetting.and_then(|id| scene.studio.run(id)) else {
        return;
    };
    let (id, text) = (
        run.id,
        format!("Forget {}? Its folder stays on the disk", run.name),
    );
    ui.horizontal(|ui| {
        ui.label(RichText::new(text).color(scene.look.colours.warning));
        if ui.button("Forget it").clicked() {
            scene.push(Command::Forget(id));
            memory.forgetting = None;
        }
        if ui.button("Keep it").clicked() {
            memory.forgetting = None;
        }
    });
}

fn differences(ui: &mut Ui, scene: &Scene<'_>, memory: &mut Memory, two: (RunId, RunId)) {
    let is_known = |(of, _): &((RunId, RunId), Vec<RecipeChange>)| *of == two;
    if !memory.changes.as_ref().is_some_and(is_known) {
        let sides = (scene.studio.run(two.0), scene.studio.run(two.1));
        let (Some(left), Some(right)) = sides else {
            return;
        };
        memory.changes = Some((two, comparison::recipe_changes(left, right)));
    }
    ui.separator();
    if let Some((_, changes)) = &memory.changes {
        recipe_changes(ui, scene, changes);
    }
}

//! The inspector: what the settings chosen do to the selected layers, before a run and after one.
//!
//! `controls` edits the selection; `model` turns previews and reports into pictures, once for each answer; `charts`, `options`
//! and `facts` draw one layer, `several` draws small multiples.

mod charts;
mod controls;
mod facts;
mod model;
mod options;
mod several;

use super::zeros;
use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::Project;
use crate::studio::action::Action;
use crate::studio::project::{Inputs, Stage};
use crate::studio::sparse;
use egui::{RichText, ScrollArea, Ui};
use model::Pictures;
use pare_engine::recipe::LayerSettings;
use pare_engine::solved::Method;
use std::time::Duration;

/// Work shorter than this shows no spinner.
const PATIENCE_SECONDS: f64 = 0.15;

/// Panes at least so wide show two columns.
const TWO_COLUMNS: f32 = 400.0;

/// What the view remembers between frames.
#[derive(Debug)]
pub struct Memory {
    pictures: Pictures,
    is_log: bool,
    zeros: zeros::Memory,
    /// The question at work and when it was first seen.
    waiting: Option<(u64, f64)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            pictures: Pictures::default(),
            is_log: true,
            zeros: zeros::Memory::default(),
            waiting: None,
        }
    }
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.studio.project() else {
        return widgets::empty(
            ui,
            scene,
            "Open a model to look into its layers",
            &[Action::OpenModel, Action::OpenSample],
        );
    };
    let mut layers = project.selection.layers();
    layers.retain(|&layer| project.layers[layer].compressible);
    let Some(&first) = layers.first() else {
        return widgets::empty(
            ui,
            scene,
            "Select a layer to see its weights, its error and its channels",
            &[Action::SelectAll],
        );
    };
    header(ui, scene, memory, project, &layers);
    controls::show(ui, scene, project, &layers);
    zeros::show(ui, scene, project, &layers, &mut memory.zeros);
    inputs(ui, scene, project);
    ui.separator();
    ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| match layers.len() {
            1 => one(ui, scene, memory, project, first),
            _ => several::show(ui, scene, memory, project),
        });
}

fn header(
    ui: &mut Ui,
    scene: &Scene<'_>,
    memory: &mut Memory,
    project: &Project,
    layers: &[usize],
) {
    ui.horizontal(|ui| {
        let name = match layers {
            [layer] => project.layers[*layer].name.clone(),
            layers => format!("{} layers", layers.len()),
        };
        let shown = widgets::elided(ui, &name, ui.available_width() - 190.0);
        ui.label(RichText::new(shown).strong()).on_hover_text(name);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let words = match layers {
                [layer] => state_words(project, *layer),
                _ => String::new(),
            };
            ui.label(RichText::new(words).small().color(scene.look.colours.weak));
            if is_late(ui, memory, project) {
                ui.add(egui::Spinner::new().size(12.0));
            }
        });
    });
}

/// Whether an answer takes so long that a person should see it.
fn is_late(ui: &Ui, memory: &mut Memory, project: &Project) -> bool {
    if !project.preview.busy {
        memory.waiting = None;
        return false;
    }
    let now = ui.input(|input| input.time);
    let question = project.preview.question;
    let (_, since) = *memory.waiting.get_or_insert((question, now));
    let left = PATIENCE_SECONDS - (now - since);
    if left > 0.0 {
        ui.ctx()
            .request_repaint_after(Duration::from_secs_f64(left));
    }
    left <= 0.0
}

/// How the figures shown are known.
fn state_words(project: &Project, layer: usize) -> String {
    if project.measured_now(layer).is_some() {
        return "measured by a run".to_owned();
    }
    let Some((answer, is_fresh)) = project.answer(layer) else {
        return "computing…".to_owned();
    };
    if !is_fresh {
        return "of older settings; new figures are on their way".to_owned();
    }
    let Ok(preview) = &answer.result else {
        return String::new();
    };
    let stands_in = match preview.exact || answer.settings.method == Method::None {
        true => "",
        false => ", RTN stands in",
    };
    match answer.stage {
        Stage::Sampled => format!(
            "{} of {} rows{stands_in}",
            preview.sampled_rows, preview.rows
        ),
        Stage::Whole => format!("whole layer{stands_in}"),
        Stage::Exact => exact_words(&answer.settings),
    }
}

/// How the last stage solved the whole layer.
fn exact_words(settings: &LayerSettings) -> String {
    let name = sparse::exact_name(settings).unwrap_or("method");
    format!("whole layer, exact {name}")
}

/// A line where errors are of weights alone.
fn inputs(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    let words = match &project.inputs {
        Inputs::Ready(_) => return,
        Inputs::None => "Errors are of weights alone; calibrate to see output errors".to_owned(),
        Inputs::Gathering(_) => {
            "Gathering inputs; errors are of weights alone until then".to_owned()
        }
        Inputs::Failed(reason) => format!("Errors are of weights alone: {reason}"),
    };
    ui.horizontal(|ui| {
        if !matches!(project.inputs, Inputs::Gathering(_)) {
            scene.action_button(ui, Action::Calibrate);
        }
        let text = RichText::new(words).color(scene.look.colours.weak);
        ui.add(egui::Label::new(text).truncate());
    });
}

fn one(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, project: &Project, layer: usize) {
    let answer = project.answer(layer);
    if let Some((answer, _)) = answer
        && let Err(reason) = &answer.result
    {
        ui.label(RichText::new(reason.as_str()).color(scene.look.colours.error));
    }
    let is_stale =
        answer.is_some_and(|(_, is_fresh)| !is_fresh) && project.measured_now(layer).is_none();
    let Memory {
        pictures, is_log, ..
    } = memory;
    let picture = pictures.of(project, layer, *is_log);
    let mut left = |ui: &mut Ui, scene: &mut Scene<'_>| {
        charts::weights(ui, scene.look, picture, is_stale, is_log);
        charts::error(ui, scene.look, picture, is_stale);
        options::show(ui, scene, project, layer);
    };
    let right = |ui: &mut Ui, scene: &mut Scene<'_>| {
        charts::channels(ui, scene.look, picture, is_stale);
        facts::show(ui, scene.look, picture, is_stale);
    };
    if ui.available_width() < TWO_COLUMNS {
        left(ui, scene);
        right(ui, scene);
        return;
    }
    ui.columns(2, |columns| {
        left(&mut columns[0], scene);
        right(&mut columns[1], scene);
    });
}

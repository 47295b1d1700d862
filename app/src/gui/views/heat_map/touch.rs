//! Edits that clicks, drags, keys and buttons ask for: which layers they mean, what they leave alone.

use super::Memory;
use super::grid::Line;
use crate::gui::scene::Scene;
use crate::studio::history::Gesture;
use crate::studio::{Command, Project};
use pare_engine::settings::LayerOption;
use std::collections::BTreeMap;

/// Edits of `layer` are edits of the selection where it is part of it.
pub(super) fn touched(project: &Project, layer: usize) -> Vec<usize> {
    match project.selection.contains(layer) {
        true => project.selection.layers(),
        false => vec![layer],
    }
}

/// Gives `option` to `layer`, or to the selection that it is part of. A layer that is locked takes nothing, and the
/// studio says so.
pub(super) fn set(
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    layer: usize,
    option: LayerOption,
) {
    if memory.refusals.reason(project, layer, option).is_some() {
        return;
    }
    let mut layers = touched(project, layer);
    layers.retain(|&layer| memory.refusals.reason(project, layer, option).is_none());
    scene.push(Command::PaintOption {
        layers,
        option,
        gesture: None,
    });
}

/// Gives `option` to those of `layers` that can take it.
pub(super) fn paint(
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    mut layers: Vec<usize>,
    option: LayerOption,
    gesture: Gesture,
) {
    let draft = project.draft();
    layers.retain(|&layer| {
        let is_free = !draft.locked[layer];
        is_free && memory.refusals.reason(project, layer, option).is_none()
    });
    if !layers.is_empty() {
        scene.push(Command::PaintOption {
            layers,
            option,
            gesture: Some(gesture),
        });
    }
}

/// A row's option of the fewest bytes whose loss is below the limit, where one is asked for.
pub(super) fn cheapest(project: &Project, memory: &mut Memory, line: Line) -> Option<LayerOption> {
    let quantity = memory.shown();
    let limit = memory.cheapest.limit(quantity)?;
    let entry = line.entry?;
    let errors = &project.sensitivity.table.layers[entry].errors;
    let mut best: Option<(u64, LayerOption)> = None;
    for column in &memory.grid.columns {
        let figure = memory.values.get(quantity, entry, column.place);
        let Some(bytes) = errors[column.place].map(|error| error.bytes) else {
            continue;
        };
        let fits = figure.is_some_and(|figure| figure.value <= limit);
        let is_better = best.is_none_or(|(fewest, _)| bytes < fewest);
        if fits
            && is_better
            && memory
                .refusals
                .reason(project, line.layer, column.option)
                .is_none()
        {
            best = Some((bytes, column.option));
        }
    }
    best.map(|(_, option)| option)
}

/// Rows that the button for the cheapest means: those shown, or of them the selected ones where any is.
pub(super) fn meant(project: &Project, memory: &Memory) -> Vec<Line> {
    let lines = &memory.grid.lines;
    let chosen: Vec<Line> = lines
        .iter()
        .copied()
        .filter(|line| project.selection.contains(line.layer))
        .collect();
    match chosen.is_empty() {
        true => lines.clone(),
        false => chosen,
    }
}

/// Gives each row its cheapest option below the limit, as one step of undo.
pub(super) fn take_cheapest(scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let mut by_option: BTreeMap<LayerOption, Vec<usize>> = BTreeMap::new();
    for line in meant(project, memory) {
        if let Some(option) = cheapest(project, memory, line) {
            by_option.entry(option).or_default().push(line.layer);
        }
    }
    let gesture = memory.begin_gesture();
    for (option, layers) in by_option {
        paint(scene, project, memory, layers, option, gesture);
    }
    scene.push(Command::EndGesture);
}

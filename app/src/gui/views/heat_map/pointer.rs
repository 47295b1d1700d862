//! What the pointer does: clicks on names select, drags over cells paint along a column or a row.

use super::grid::Grid;
use super::places::Places;
use super::{Memory, touch};
use crate::gui::scene::Scene;
use crate::studio::action::View;
use crate::studio::selection::Join;
use crate::studio::{Command, Project};
use egui::{Response, Ui, vec2};

/// A drag that paints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drag {
    /// The layer it began on.
    layer: usize,
    /// The column it began on.
    column: usize,
    way: Option<Way>,
}

/// Where a drag goes: settled by the first cell that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Over rows: each gets the option that the drag began on. The layer reached last.
    Down(usize),
    /// Over options: the row follows. The column reached last.
    Along(usize),
}

/// A click on a name joins the selection as in the table of layers.
pub(super) fn on_name(
    ui: &Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    grid: &Grid,
    line: usize,
    response: &Response,
) {
    if response.double_clicked() {
        scene.push(Command::Show(View::Inspector));
    }
    if !response.clicked() {
        return;
    }
    let layer = grid.lines[line].layer;
    let modifiers = ui.input(|input| input.modifiers);
    let anchor = project.selection.cursor();
    let anchor = anchor.and_then(|layer| grid.line_of(layer));
    scene.push(match (modifiers.shift, modifiers.command, anchor) {
        // Rows may stand in another order than in the table: what lies between is this view's to say.
        (true, add, Some(anchor)) => {
            let mut layers = grid.between(anchor, line);
            if add {
                layers.extend(project.selection.layers());
            }
            Command::SelectLayers(layers)
        }
        (_, true, _) => Command::Select(layer, Join::Toggle),
        _ => Command::Select(layer, Join::Replace),
    });
}

/// A drag over cells: all of it is one step of undo.
pub(super) fn drag(
    ui: &Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    places: &Places,
    paper: &Response,
) {
    if paper.drag_started() {
        let origin = ui.input(|input| input.pointer.press_origin());
        let cell = origin.and_then(|at| Some((places.line_at(at.y)?, places.column_at(at.x)?)));
        if let Some((line, column)) = cell {
            memory.begin_gesture();
            let layer = memory.grid.lines[line].layer;
            memory.drag = Some(Drag {
                layer,
                column,
                way: None,
            });
            let layers = touch::touched(project, layer);
            paint(scene, project, memory, layers, column);
        }
    }
    if let (Some(drag), Some(at)) = (memory.drag, paper.interact_pointer_pos()) {
        let reached = places.line_at(at.y).zip(places.column_at(at.x));
        if let Some(reached) = reached {
            let way = follow(scene, project, memory, drag, reached);
            memory.drag = Some(Drag { way, ..drag });
        }
        let over = at.y - at.y.clamp(places.sight.top(), places.sight.bottom());
        if over != 0.0 {
            ui.scroll_with_delta(vec2(0.0, -over.clamp(-24.0, 24.0)));
            ui.request_repaint();
        }
    }
    if paper.drag_stopped() || (memory.drag.is_some() && !paper.dragged()) {
        memory.drag = None;
        scene.push(Command::EndGesture);
    }
}

/// Paints what lies between the cell reached before and the one reached now.
fn follow(
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    drag: Drag,
    (line, column): (usize, usize),
) -> Option<Way> {
    let begun = memory.grid.line_of(drag.layer)?;
    let layer = memory.grid.lines[line].layer;
    let way = drag.way.or(match (line == begun, column == drag.column) {
        (true, true) => None,
        (true, false) => Some(Way::Along(drag.column)),
        (false, _) => Some(Way::Down(drag.layer)),
    })?;
    match way {
        Way::Down(last) if last != layer => {
            let from = memory.grid.line_of(last).unwrap_or(line);
            let layers = memory.grid.between(from, line);
            paint(scene, project, memory, layers, drag.column);
            Some(Way::Down(layer))
        }
        Way::Along(last) if last != column => {
            let layers = touch::touched(project, drag.layer);
            paint(scene, project, memory, layers, column);
            Some(Way::Along(column))
        }
        way => Some(way),
    }
}

fn paint(
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    layers: Vec<usize>,
    column: usize,
) {
    let gesture = memory.gesture();
    if let Some(option) = memory.grid.columns.get(column).map(|column| column.option) {
        touch::paint(scene, project, memory, layers, option, gesture);
    }
}

/// Tells all views which layer is under the pointer.
pub(super) fn point(
    ui: &Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    pointed: Option<usize>,
) {
    if pointed == memory.hovering {
        return;
    }
    let before = std::mem::replace(&mut memory.hovering, pointed);
    match pointed {
        Some(_) => scene.push(Command::Hover(pointed)),
        // Another view may have said in this frame what is under the pointer now: it has the last word.
        None if project.hovered == before => scene.commands.insert(0, Command::Hover(None)),
        None => {}
    }
    ui.request_repaint();
}

//! The table itself: what is drawn over a whole row, clicks on rows, drags over rows, the pointer.
//!
//! Clicks become commands; the selection's own rules (anchor, reach) are the studio's.

use super::cells::{self, Line};
use super::columns::{self, Placed, Unit};
use super::{Memory, groups};
use crate::gui::scene::Scene;
use crate::studio::action::View;
use crate::studio::rows::{Row, SortKey};
use crate::studio::selection::Join;
use crate::studio::{Command, Project};
use egui::{Id, Modifiers, Rect, Response, Role, Sense, Ui, WidgetInfo};
use egui_table::{CellInfo, HeaderCellInfo, HeaderRow, PrefetchInfo, Table, TableDelegate};

/// A drag over rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drag {
    /// The layer reached last.
    reached: usize,
    join: Join,
}

/// One frame of the table.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let (measures, colours) = (scene.look.measures, scene.look.colours);
    let room = ui.available_rect_before_wrap();
    let placed = columns::layout(room.width(), project.rows.has_zeros);
    let header = Rect::from_min_size(room.min, egui::vec2(room.width(), measures.row_height));
    let painter = ui.painter();
    painter.rect_filled(room, 0, colours.sunken);
    painter.rect_filled(header, 0, colours.raised);
    painter.hline(
        room.x_range(),
        header.bottom(),
        egui::Stroke::new(1.0, colours.line),
    );
    let mut table = Table::new()
        .id_salt("layers")
        .num_sticky_cols(1)
        .headers([HeaderRow::new(measures.row_height)])
        .columns(placed.iter().map(column).collect::<Vec<_>>())
        .num_rows(project.rows.rows.len() as u64);
    if let Some(row) = row_to_show(project, memory) {
        table = table.scroll_to_row(row, None);
    }
    let mut grid = Grid {
        scene,
        memory,
        project,
        placed: &placed,
        unit: Unit::of_most(project.rows.most_bytes),
        row_height: measures.row_height,
        is_left: false,
        last_row: None,
        pointed: None,
        first_line: None,
    };
    ui.scope(|ui| {
        // No lines between columns: numerals that end below each other are lines enough.
        ui.visuals_mut().widgets.noninteractive.bg_stroke = egui::Stroke::NONE;
        table.show(ui, &mut grid);
    });
    grid.drag(ui);
    grid.point(ui);
}

fn column(placed: &Placed) -> egui_table::Column {
    egui_table::Column::new(placed.width)
        .range(placed.width..=placed.width)
        .resizable(false)
}

/// The cursor's row, where it moved since the last frame.
fn row_to_show(project: &Project, memory: &mut Memory) -> Option<u64> {
    let cursor = project.selection.cursor();
    if cursor == memory.cursor {
        return None;
    }
    memory.cursor = cursor;
    let wanted = Row::Layer(cursor?);
    let row = project.rows.rows.iter().position(|row| *row == wanted);
    row.map(|row| row as u64)
}

struct Grid<'a, 'b> {
    scene: &'a mut Scene<'b>,
    memory: &'a mut Memory,
    project: &'a Project,
    placed: &'a [Placed],
    unit: Unit,
    row_height: f32,
    /// Rows come twice: first their right part, then the name.
    is_left: bool,
    last_row: Option<u64>,
    /// The layer under the pointer.
    pointed: Option<usize>,
    /// A row's number and its top: all others follow.
    first_line: Option<(u64, f32)>,
}

impl TableDelegate for Grid<'_, '_> {
    fn prepare(&mut self, info: &PrefetchInfo) {
        let shown = info.visible_rows.end - info.visible_rows.start;
        // The last one is cut off, mostly.
        self.memory.page_rows = (shown as usize).saturating_sub(2).max(1);
    }

    fn default_row_height(&self) -> f32 {
        self.row_height
    }

    fn header_cell_ui(&mut self, ui: &mut Ui, cell: &HeaderCellInfo) {
        let placed = self.placed[cell.col_range.start];
        columns::header(ui, self.scene, placed, self.project.sort, self.unit);
    }

    fn row_ui(&mut self, ui: &mut Ui, row_nr: u64) {
        self.is_left |= self.last_row.is_some_and(|last| row_nr <= last);
        self.last_row = Some(row_nr);
        let rect = ui.max_rect();
        self.first_line.get_or_insert((row_nr, rect.top()));
        let place = Rect::from_x_y_ranges(ui.clip_rect().x_range(), rect.y_range());
        let id = Id::unique(("layers row", row_nr, self.is_left));
        let response = ui.interact(place, id, Sense::CLICK | Sense::DRAG);
        match self.project.rows.rows[row_nr as usize] {
            Row::Layer(layer) => self.layer_row(ui, row_nr, layer, response),
            Row::Group(group) => self.group_row(ui, place, group, &response),
        }
    }

    fn cell_ui(&mut self, ui: &mut Ui, cell: &CellInfo) {
        let column = self.placed[cell.col_nr].column;
        match self.project.rows.rows[cell.row_nr as usize] {
            Row::Group(number) => {
                let group = (&self.project.rows.groups[number], number);
                groups::show(ui, self.scene, self.project, group, (column, self.unit));
            }
            Row::Layer(layer) => {
                let line = Line {
                    project: self.project,
                    layer,
                    unit: self.unit,
                    grouped: self.project.sort.key == SortKey::Model,
                    hovered: self.project.hovered == Some(layer),
                };
                let shown = cells::show(ui, self.scene, self.memory, column, line);
                if let Some(response) = shown.filter(Response::secondary_clicked) {
                    self.ask_menu(&response, layer);
                }
            }
        }
    }
}

impl Grid<'_, '_> {
    fn layer_row(&mut self, ui: &Ui, row_nr: u64, layer: usize, response: Response) {
        let project = self.project;
        self.paint_layer(ui, row_nr, layer, response.rect);
        if response.contains_pointer() {
            self.pointed = Some(layer);
        }
        if response.clicked() {
            self.scene.push(Command::Select(layer, join(ui)));
        }
        if response.double_clicked() {
            self.scene.push(Command::Show(View::Inspector));
        }
        if response.secondary_clicked() {
            self.ask_menu(&response, layer);
        }
        if response.drag_started() {
            self.begin_drag(ui, layer);
        }
        if !self.is_left {
            return;
        }
        let info = &project.layers[layer];
        let selected = project.selection.contains(layer);
        response.widget_info(|| WidgetInfo::selected(Role::Row, true, selected, &info.name));
        response.on_hover_text_at_pointer(format!(
            "{}\n{}, {} × {}, {}",
            info.name, info.role, info.rows, info.columns, info.dtype
        ));
    }

    fn paint_layer(&self, ui: &Ui, row_nr: u64, layer: usize, place: Rect) {
        let colours = &self.scene.look.colours;
        let selection = &self.project.selection;
        let painter = ui.painter();
        let hovered = self.project.hovered == Some(layer);
        let fill = match (selection.contains(layer), hovered) {
            (true, _) => Some(colours.accent_fill),
            (false, true) => Some(colours.hover),
            (false, false) => (row_nr % 2 == 1).then_some(colours.stripe),
        };
        if let Some(fill) = fill {
            painter.rect_filled(place, 0, fill);
        }
        if hovered && selection.contains(layer) {
            let line = egui::Stroke::new(1.0, colours.accent.gamma_multiply(0.5));
            painter.hline(place.x_range(), place.top() + 0.5, line);
            painter.hline(place.x_range(), place.bottom() - 0.5, line);
        }
        if self.is_left && selection.cursor() == Some(layer) {
            let mark = Rect::from_min_size(place.min, egui::vec2(2.0, place.height()));
            painter.rect_filled(mark, 0, colours.accent);
        }
    }

    fn group_row(&mut self, ui: &Ui, place: Rect, number: usize, response: &Response) {
        let project = self.project;
        let group = &project.rows.groups[number];
        let colours = &self.scene.look.colours;
        let selected = group
            .layers
            .iter()
            .all(|&layer| project.selection.contains(layer));
        let fill = match (selected, response.hovered()) {
            (true, _) => colours.accent_fill,
            (false, true) => colours.hover,
            (false, false) => colours.raised.gamma_multiply(0.6),
        };
        ui.painter().rect_filled(place, 0, fill);
        if self.is_left {
            let title = groups::title(project, group);
            response.widget_info(|| WidgetInfo::selected(Role::Row, true, selected, &title));
        }
        if response.clicked() {
            let layers = group.layers.clone();
            self.scene.push(match join(ui) {
                Join::Replace => Command::SelectLayers(layers),
                Join::Toggle => Command::ToggleLayers(layers),
                join => Command::Select(layers[layers.len() - 1], join),
            });
        }
        if response.double_clicked() {
            self.scene.push(Command::Fold(group.block));
        }
        if response.drag_started() {
            self.begin_drag(ui, group.layers[0]);
        }
        if response.secondary_clicked() {
            if !selected {
                self.scene.push(Command::SelectLayers(group.layers.clone()));
            }
            self.memory.context_at = response.interact_pointer_pos();
        }
    }

    /// A layer that is not selected is, before its menu opens.
    fn ask_menu(&mut self, response: &Response, layer: usize) {
        if !self.project.selection.contains(layer) {
            self.scene.push(Command::Select(layer, Join::Replace));
        }
        self.memory.context_at = response.interact_pointer_pos();
    }

    fn begin_drag(&mut self, ui: &Ui, layer: usize) {
        let keeps = ui.input(|input| input.modifiers.command);
        let (first, join) = match keeps {
            true => (Join::Toggle, Join::AddReach),
            false => (Join::Replace, Join::Reach),
        };
        self.scene.push(Command::Select(layer, first));
        self.memory.drag = Some(Drag {
            reached: layer,
            join,
        });
    }

    /// The selection follows a drag, and rows beyond the edge come into sight.
    fn drag(&mut self, ui: &Ui) {
        let Some(drag) = self.memory.drag else {
            return;
        };
        let (down, at) =
            ui.input(|input| (input.pointer.primary_down(), input.pointer.interact_pos()));
        if !down {
            self.memory.drag = None;
            return;
        }
        if let Some(layer) = at.and_then(|at| self.layer_at(at.y))
            && layer != drag.reached
        {
            self.scene.push(Command::Select(layer, drag.join));
            self.memory.drag = Some(Drag {
                reached: layer,
                ..drag
            });
            ui.request_repaint();
        }
    }

    /// The layer whose row is at a height, or the one after a block's header.
    fn layer_at(&self, y: f32) -> Option<usize> {
        let rows = &self.project.rows.rows;
        let (number, top) = self.first_line?;
        let steps = ((y - top) / self.row_height).floor() as i64;
        let last = rows.len().checked_sub(1)? as i64;
        let row = (number as i64 + steps).clamp(0, last) as usize;
        let after = rows[row..].iter().find_map(layer_of);
        after.or_else(|| rows[..row].iter().rev().find_map(layer_of))
    }

    /// Tells all views which layer is under the pointer.
    fn point(&mut self, ui: &Ui) {
        if self.pointed != self.memory.hovering {
            self.memory.hovering = self.pointed;
            self.scene.push(Command::Hover(self.pointed));
            ui.request_repaint();
        }
    }
}

fn layer_of(row: &Row) -> Option<usize> {
    match row {
        Row::Layer(layer) => Some(*layer),
        Row::Group(_) => None,
    }
}

/// How a click joins the selection.
fn join(ui: &Ui) -> Join {
    let Modifiers { command, shift, .. } = ui.input(|input| input.modifiers);
    match (command, shift) {
        (false, false) => Join::Replace,
        (true, false) => Join::Toggle,
        (false, true) => Join::Reach,
        (true, true) => Join::AddReach,
    }
}

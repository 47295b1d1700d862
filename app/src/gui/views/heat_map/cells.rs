//! One frame of cells and names: what is in sight is drawn, and told to whoever reads the screen aloud.

use super::grid::{Column, Line};
use super::paint::{self, Borders, Brush, Fill};
use super::places::{Places, Sizes};
use super::{Memory, pointer, touch, words};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::Project;
use egui::{
    Align2, CursorIcon, FontId, Id, Rect, Response, Role, ScrollArea, Sense, Stroke, Ui, UiBuilder,
    WidgetInfo, pos2, vec2,
};
use egui_material_icons::icons::ICON_LOCK;
use pare_engine::settings::LayerOption;

const HEADER: f32 = 36.0;
const PADDING: f32 = 6.0;

/// Cells, names and headers.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let look = scene.look;
    let room = ui.available_rect_before_wrap();
    let counts = (memory.grid.lines.len(), memory.grid.columns.len());
    let bar_width = ui.spacing().scroll.bar_width + ui.spacing().scroll.bar_inner_margin;
    let sizes = Sizes::fit(room.width() - bar_width, counts.1, look.measures.row_height);
    ui.painter().rect_filled(room, 0, look.colours.sunken);
    let (header, below) = room.split_top_bottom_at_y(room.top() + HEADER);
    let drawn = ui.scope_builder(UiBuilder::new().max_rect(below), |ui| {
        ScrollArea::both()
            .id_salt("heat map")
            .auto_shrink(false)
            .show_viewport(ui, |ui, viewport| {
                ui.set_min_size(sizes.whole(counts.0, counts.1));
                let origin = ui.max_rect().min;
                let places = Places {
                    sizes,
                    sight: Rect::from_min_size(origin + viewport.min.to_vec2(), viewport.size()),
                    origin,
                    lines: counts.0,
                    columns: counts.1,
                };
                frame(ui, scene, project, memory, &places);
                places
            })
    });
    let places = drawn.inner.inner;
    paint::header(ui.painter(), look, header, &places, &memory.grid.columns);
}

fn frame(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    places: &Places,
) {
    memory.page_rows = (places.sight.height() / places.sizes.cell.y) as usize;
    let mut inner = ui.new_child(UiBuilder::new().max_rect(places.cells()));
    inner.shrink_clip_rect(places.cells());
    let paper = inner.interact(places.cells(), Id::unique("heat map paper"), Sense::DRAG);
    pointer::drag(&inner, scene, project, memory, places, &paper);
    let mut brush = Brush::new(
        scene.look,
        inner.painter().clone(),
        places.sizes.has_numbers(),
    );
    let mut pointed = None;
    for index in places.lines_in_sight() {
        let line = memory.grid.lines[index];
        let response = name(ui, scene.look, project, line, places.name(index));
        if response.contains_pointer() {
            pointed = Some(line.layer);
        }
        pointer::on_name(ui, scene, project, &memory.grid, index, &response);
        let row = Row::of(project, memory, line);
        for place in places.columns_in_sight() {
            let column = memory.grid.columns[place];
            let rect = places.cell(index, place);
            let fill = row.fill(project, memory, column);
            brush.cell(rect, fill, row.borders(memory, column));
            let response = cell(&inner, project, &row, column, rect, fill);
            if response.contains_pointer() {
                pointed = Some(line.layer);
            }
            if response.clicked() {
                memory.cursor = Some((line.layer, place));
                touch::set(scene, project, memory, line.layer, column.option);
            }
            if response.hovered() && memory.drag.is_none() {
                ui.ctx()
                    .set_cursor_icon(match row.is_locked || fill == Fill::Refused {
                        true => CursorIcon::NotAllowed,
                        false => CursorIcon::PointingHand,
                    });
                words::tell(scene, project, memory, line, column, &response);
            }
        }
    }
    brush.finish();
    rules(&inner, scene.look, project, memory, places);
    pointer::point(ui, scene, project, memory, pointed);
    reveal(ui, project, memory, places);
}

/// What the cells of a row share.
#[derive(Debug, Clone, Copy)]
struct Row {
    line: Line,
    is_locked: bool,
    chosen: Option<LayerOption>,
    proposed: Option<LayerOption>,
    /// The column of the fewest bytes below the limit.
    cheapest: Option<LayerOption>,
    /// The chosen option has a column.
    has_chosen: bool,
}

impl Row {
    fn of(project: &Project, memory: &mut Memory, line: Line) -> Self {
        let draft = project.draft();
        let chosen = LayerOption::of(&draft.settings[line.layer]);
        let proposal = project.proposal.as_ref();
        let proposed =
            proposal.and_then(|proposal| LayerOption::of(&proposal.settings[line.layer]));
        Self {
            line,
            is_locked: draft.locked[line.layer],
            chosen,
            proposed,
            cheapest: touch::cheapest(project, memory, line),
            has_chosen: chosen.is_some_and(|option| memory.grid.column_of(option).is_some()),
        }
    }

    fn fill(&self, project: &Project, memory: &mut Memory, column: Column) -> Fill {
        let refusal = memory
            .refusals
            .reason(project, self.line.layer, column.option);
        if refusal.is_some() {
            return Fill::Refused;
        }
        let quantity = memory.shown();
        let figure = self
            .line
            .entry
            .and_then(|entry| memory.values.get(quantity, entry, column.place));
        match (figure, memory.values.span(quantity)) {
            (Some(figure), Some(span)) => Fill::Number(figure.value, span.share(figure.value)),
            _ => Fill::Unmeasured,
        }
    }

    fn borders(&self, memory: &Memory, column: Column) -> Borders {
        let option = Some(column.option);
        let is_at = |(layer, place): (usize, usize)| {
            let at = memory.grid.columns.get(place);
            layer == self.line.layer && at.is_some_and(|at| at.option == column.option)
        };
        Borders {
            is_chosen: self.chosen == option,
            is_chosen_bits: !self.has_chosen
                && self.chosen.and_then(LayerOption::bits) == column.option.bits()
                && self.chosen.is_some()
                && column.begins_bits,
            is_proposed: self.proposed == option && self.proposed != self.chosen,
            is_cheapest: self.cheapest == option,
            is_cursor: memory.has_keys && memory.cursor.is_some_and(is_at),
        }
    }
}

/// A cell for the pointer and for readers of the screen.
fn cell(
    ui: &Ui,
    project: &Project,
    row: &Row,
    column: Column,
    place: Rect,
    fill: Fill,
) -> Response {
    let layer = row.line.layer;
    let id = Id::unique(("heat map cell", layer, column.option));
    let response = ui.interact(place, id, Sense::CLICK);
    response.widget_info(|| {
        let label = format!("{} {}", project.layers[layer].name, column.option);
        let is_chosen = row.chosen == Some(column.option);
        let enabled = !row.is_locked && fill != Fill::Refused;
        let mut info = WidgetInfo::selected(Role::GridCell, enabled, is_chosen, label);
        if let Fill::Number(value, _) = fill {
            info.value = Some(value);
        }
        info
    });
    response
}

fn name(ui: &Ui, look: &Look, project: &Project, line: Line, place: Rect) -> Response {
    let (colours, measures) = (&look.colours, &look.measures);
    let info = &project.layers[line.layer];
    let selected = project.selection.contains(line.layer);
    let id = Id::unique(("heat map row", line.layer));
    let response = ui.interact(place, id, Sense::CLICK);
    response.widget_info(|| WidgetInfo::selected(Role::RowHeader, true, selected, &info.name));
    let painter = ui.painter();
    let fill = match (selected, project.hovered == Some(line.layer)) {
        (true, _) => colours.accent_fill,
        (false, true) => colours.hover,
        (false, false) => colours.sunken,
    };
    painter.rect_filled(place, 0, fill);
    if project.selection.cursor() == Some(line.layer) {
        let mark = Rect::from_min_size(place.min, vec2(2.0, place.height()));
        painter.rect_filled(mark, 0, colours.accent);
    }
    let mut inner = place.shrink2(vec2(PADDING, 0.0));
    let font = FontId::proportional(measures.text);
    if project.draft().locked[line.layer] {
        let at = pos2(inner.right(), inner.center().y);
        let icon = ICON_LOCK.codepoint;
        painter.text(at, Align2::RIGHT_CENTER, icon, font.clone(), colours.text);
        inner.max.x -= 18.0;
    }
    let (_, text) = widgets::shortened(ui, &info.name, inner.width(), false);
    let at = pos2(inner.left(), inner.center().y);
    painter
        .with_clip_rect(inner.intersect(ui.clip_rect()))
        .text(at, Align2::LEFT_CENTER, text, font, colours.text);
    response.on_hover_text(info.name.as_str())
}

/// Thin lines between blocks, and around the rows that are selected or under the pointer.
fn rules(ui: &Ui, look: &Look, project: &Project, memory: &Memory, places: &Places) {
    let colours = &look.colours;
    let painter = ui.painter();
    for index in places.lines_in_sight() {
        let line = memory.grid.lines[index];
        let whole = Rect::from_x_y_ranges(places.cells().x_range(), places.name(index).y_range());
        if line.begins_block && index > 0 {
            let stroke = Stroke::new(1.0, colours.weak);
            painter.hline(whole.x_range(), whole.top(), stroke);
        }
        let colour = match project.selection.contains(line.layer) {
            true => colours.accent,
            false if project.hovered == Some(line.layer) => colours.weak,
            false => continue,
        };
        for y in [whole.top() + 0.5, whole.bottom() - 0.5] {
            painter.hline(whole.x_range(), y, Stroke::new(1.0, colour));
        }
    }
}

/// Scrolls to what keys reached, or to what was selected elsewhere.
fn reveal(ui: &Ui, project: &Project, memory: &mut Memory, places: &Places) {
    let selected = project.selection.cursor();
    let moved = selected != memory.selected;
    memory.selected = selected;
    let line_of = |layer: usize| memory.grid.line_of(layer);
    if std::mem::take(&mut memory.reveal)
        && let Some((layer, column)) = memory.cursor
        && let Some(line) = line_of(layer)
    {
        // Names lie over the left edge.
        let mut rect = places.cell(line, column);
        rect.min.x -= places.sizes.name;
        ui.scroll_to_rect(rect, None);
    } else if moved && let Some(line) = selected.and_then(line_of) {
        let mut rect = places.name(line);
        rect.max.x = rect.min.x;
        ui.scroll_to_rect(rect, None);
    }
}

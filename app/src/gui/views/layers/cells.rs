//! One cell of a layer's row.
//!
//! Numerals are painted, not laid out: a screen of rows costs little. What can be changed is in `choices`.

use super::choices::{self, Choice};
use super::columns::{Column, PADDING, Unit};
use super::{Memory, touched};
use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::draft::settings_in_words;
use crate::studio::figure::{Figure, Mark};
use crate::studio::{Command, Project};
use egui::text::{LayoutJob, TextFormat};
use egui::{
    Align, Align2, Color32, FontId, Id, Layout, Rect, Response, RichText, Role, Sense, Stroke, Ui,
    WidgetInfo, pos2, vec2,
};
use egui_material_icons::icons::{ICON_HISTORY, ICON_LOCK, ICON_LOCK_OPEN, ICON_WARNING};
use pare_engine::units::Bytes;
use std::ops::Range;

/// How far the names of a block's layers stand in.
pub(super) const INDENT: f32 = 16.0;

/// What the cells of a row share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) project: &'a Project,
    pub(super) layer: usize,
    pub(super) unit: Unit,
    /// Rows stand in blocks: their names go without the block's.
    pub(super) grouped: bool,
    pub(super) hovered: bool,
}

/// Draws a cell. Returns what of it takes clicks, if anything.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    memory: &mut Memory,
    column: Column,
    line: Line<'_>,
) -> Option<Response> {
    let project = line.project;
    let (info, figures) = (&project.layers[line.layer], &project.figures[line.layer]);
    let (text_colour, weak) = (scene.look.colours.text, scene.look.colours.weak);
    let choice = match column {
        Column::Method => Choice::Method,
        Column::Bits => Choice::Bits,
        Column::Group => Choice::Group,
        Column::Zeros => Choice::Zeros,
        column => {
            match column {
                Column::Name => name(ui, scene, line),
                Column::Role => text(ui, scene, column, info.role.as_str(), weak),
                Column::Shape => {
                    let shape = format!("{} × {}", info.rows, info.columns);
                    text(ui, scene, column, &shape, weak);
                }
                Column::BitsPerWeight => {
                    let bits = format!("{:.2}", figures.bits_per_weight);
                    text(ui, scene, column, &bits, text_colour);
                }
                Column::Before => text(
                    ui,
                    scene,
                    column,
                    &line.unit.text(figures.bytes_before),
                    weak,
                ),
                Column::After => text(
                    ui,
                    scene,
                    column,
                    &with_sign(figures.bytes_mark, &line.unit.text(figures.bytes_after)),
                    text_colour,
                ),
                Column::Share => share(ui, scene, line),
                Column::Error => error(ui, scene, line),
                Column::Latency => latency(ui, scene, figures.latency),
                _ => return Some(state(ui, scene, line)),
            }
            return None;
        }
    };
    Some(choices::cell(
        ui,
        scene,
        project,
        memory,
        (line.layer, choice),
    ))
}

/// Paints `text` where its column has it.
pub(super) fn text(ui: &Ui, scene: &Scene<'_>, column: Column, text: &str, colour: Color32) {
    let inner = ui.max_rect().shrink2(vec2(PADDING, 0.0));
    let font = FontId::proportional(scene.look.measures.text);
    let y = inner.center().y;
    let (at, anchor) = match column.align() {
        Align::LEFT => (pos2(inner.left(), y), Align2::LEFT_CENTER),
        _ => (pos2(inner.right(), y), Align2::RIGHT_CENTER),
    };
    ui.painter().text(at, anchor, text, font, colour);
}

fn name(ui: &Ui, scene: &Scene<'_>, line: Line<'_>) {
    let info = &line.project.layers[line.layer];
    let inner = ui.max_rect().shrink2(vec2(PADDING, 0.0));
    let (after_block, indent) = match line.grouped {
        true => (info.block.is_some(), INDENT),
        false => (false, 0.0),
    };
    let (skipped, drawn) = widgets::shortened(ui, &info.name, inner.width() - indent, after_block);
    let hits = line.project.filter.hits(&info.name);
    let hits = hits.into_iter().filter(|hit| hit.end > skipped);
    let hits = hits.map(|hit| hit.start.saturating_sub(skipped)..hit.end - skipped);
    let hits = in_elided(&info.name[skipped..], &drawn, hits);
    let job = marked(scene, &drawn, &hits);
    let galley = ui.painter().layout_job(job);
    let at = pos2(
        inner.left() + indent,
        inner.center().y - galley.size().y / 2.0,
    );
    ui.painter().galley(at, galley, scene.look.colours.text);
}

/// Ranges of `whole` as ranges of `drawn`, which may lack the middle; what lies in the middle is dropped.
fn in_elided(
    whole: &str,
    drawn: &str,
    hits: impl Iterator<Item = Range<usize>>,
) -> Vec<Range<usize>> {
    let Some((head, tail)) = drawn.split_once('…').filter(|_| drawn != whole) else {
        return hits.collect();
    };
    let tail_begins = whole.len() - tail.len();
    let shift = |at: usize| at - tail_begins + drawn.len() - tail.len();
    let mut found = Vec::new();
    for hit in hits {
        if hit.start < head.len() {
            found.push(hit.start..hit.end.min(head.len()));
        }
        if hit.end > tail_begins {
            found.push(shift(hit.start.max(tail_begins))..shift(hit.end));
        }
    }
    found
}

fn marked(scene: &Scene<'_>, name: &str, hits: &[Range<usize>]) -> LayoutJob {
    let colours = &scene.look.colours;
    let font = FontId::proportional(scene.look.measures.text);
    let plain = TextFormat::simple(font.clone(), colours.text);
    let hit_format = TextFormat {
        background: colours.accent.gamma_multiply(0.3),
        underline: Stroke::new(1.0, colours.accent),
        ..TextFormat::simple(font, colours.strong)
    };
    let mut job = LayoutJob::default();
    let mut done = 0;
    for hit in hits {
        let start = hit.start.max(done);
        if start >= hit.end {
            continue;
        }
        job.append(&name[done..start], 0.0, plain.clone());
        job.append(&name[start..hit.end], 0.0, hit_format.clone());
        done = hit.end;
    }
    job.append(&name[done..], 0.0, plain);
    job
}

fn share(ui: &mut Ui, scene: &Scene<'_>, line: Line<'_>) {
    let figures = &line.project.figures[line.layer];
    let most = line.project.rows.most_bytes.max(1) as f32;
    let size = vec2(
        ui.max_rect().width() - 2.0 * PADDING,
        scene.look.measures.row_height,
    );
    ui.add_space(PADDING);
    let (before, after) = (figures.bytes_before, figures.bytes_after);
    let bar = widgets::share_bar(
        ui,
        scene.look,
        size,
        before as f32 / most,
        after as f32 / most,
    );
    let after = with_sign(figures.bytes_mark, &Bytes(after).to_string());
    bar.on_hover_text(format!("{} before, {after} after", Bytes(before)));
}

fn with_sign(mark: Mark, text: &str) -> String {
    format!("{}{text}", widgets::sign(mark))
}

fn error(ui: &mut Ui, scene: &Scene<'_>, line: Line<'_>) {
    let (project, weak) = (line.project, scene.look.colours.weak);
    let Some(figure) = project.figures[line.layer].error else {
        let settings = &project.draft().settings[line.layer];
        let Some(Err(reason)) = project.estimates.get(line.layer, settings) else {
            return text(ui, scene, Column::Error, "…", weak);
        };
        text(ui, scene, Column::Error, "–", weak);
        let id = Id::unique(("layers error", line.layer));
        let hover = ui.interact(ui.max_rect(), id, Sense::HOVER);
        hover.on_hover_text(reason);
        return;
    };
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.add_space(PADDING);
        if figure.value == 0.0 {
            ui.weak("–").on_hover_text("Dense layers have no error");
        } else {
            widgets::figure(ui, scene.look, figure, &widgets::error_text(figure.value));
        }
    });
}

/// Microseconds of each token.
pub(super) fn latency(ui: &mut Ui, scene: &Scene<'_>, figure: Option<Figure>) {
    let Some(figure) = figure else {
        return text(ui, scene, Column::Latency, "–", scene.look.colours.weak);
    };
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.add_space(PADDING);
        widgets::time_figure(
            ui,
            scene.look,
            figure,
            &widgets::three_digits(figure.value * 1e6),
        );
    });
}

/// What the last run made of it, and the lock.
fn state(ui: &mut Ui, scene: &mut Scene<'_>, line: Line<'_>) -> Response {
    let rect = ui.max_rect();
    let half = rect.width() / 2.0;
    let [left, right] = [rect.left(), rect.left() + half]
        .map(|left| Rect::from_min_size(pos2(left, rect.top()), vec2(half, rect.height())));
    measured(ui, scene, line, left);
    lock(ui, scene, line, right)
}

fn measured(ui: &Ui, scene: &Scene<'_>, line: Line<'_>, rect: Rect) {
    let Some((settings, report)) = line.project.measured.get(&line.layer) else {
        return;
    };
    let colours = &scene.look.colours;
    let is_current = *settings == line.project.draft().settings[line.layer];
    match (&report.fallback, is_current) {
        (Some(_), _) => glyph(ui, scene, rect, ICON_WARNING.codepoint, colours.warning),
        (None, false) => glyph(ui, scene, rect, ICON_HISTORY.codepoint, colours.weak),
        // The mark beside the error says that it was measured.
        (None, true) => {}
    }
    let id = Id::unique(("layers state", line.layer));
    let hover = ui.interact(rect, id, Sense::HOVER);
    hover.on_hover_ui(|ui| {
        let which = match is_current {
            true => "The last run measured these settings",
            false => "The last run measured other settings",
        };
        ui.label(which);
        ui.label(settings_in_words(settings));
        if let Some(error) = report.relative_output_error {
            ui.label(format!("Error {}", widgets::error_text(error)));
        }
        if let Some(fallback) = &report.fallback {
            let words = format!(
                "{} could not be held, {} was used: {}",
                fallback.from, fallback.to, fallback.reason
            );
            ui.label(RichText::new(words).color(colours.warning));
        }
    });
}

fn lock(ui: &Ui, scene: &mut Scene<'_>, line: Line<'_>, rect: Rect) -> Response {
    let project = line.project;
    let locked = project.draft().locked[line.layer];
    let response = ui.interact(rect, Id::unique(("layers lock", line.layer)), Sense::CLICK);
    let word = if locked { "Unlock" } else { "Lock" };
    let name = &project.layers[line.layer].name;
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{word} {name}")));
    let colours = &scene.look.colours;
    match (locked, response.hovered(), line.hovered) {
        (true, ..) => glyph(ui, scene, rect, ICON_LOCK.codepoint, colours.text),
        (false, true, _) => glyph(ui, scene, rect, ICON_LOCK_OPEN.codepoint, colours.strong),
        (false, false, true) => glyph(ui, scene, rect, ICON_LOCK_OPEN.codepoint, colours.weak),
        _ => {}
    }
    if response.clicked() {
        let layers = touched(project, line.layer);
        let layers = layers.unwrap_or_else(|| project.selection.layers());
        scene.push(Command::Lock(layers, !locked));
    }
    response
}

fn glyph(ui: &Ui, scene: &Scene<'_>, rect: Rect, icon: &str, colour: Color32) {
    let font = FontId::proportional(scene.look.measures.text);
    ui.painter()
        .text(rect.center(), Align2::CENTER_CENTER, icon, font, colour);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_move_with_the_ends_and_vanish_with_the_middle() {
        type Ends<'a> = &'a [(usize, usize)];
        let cases: [(&str, Ends<'_>, Ends<'_>); 3] = [
            ("abcdefghij", &[(2, 4)], &[(2, 4)]),
            ("ab…ij", &[(0, 1), (4, 6), (8, 10)], &[(0, 1), (5, 7)]),
            ("ab…ij", &[(1, 9)], &[(1, 2), (5, 6)]),
        ];
        for (drawn, hits, expected) in cases {
            let hits = hits.iter().map(|&(start, end)| start..end);
            let found = in_elided("abcdefghij", drawn, hits);
            let found: Vec<_> = found.iter().map(|hit| (hit.start, hit.end)).collect();
            assert_eq!(found, expected, "{drawn}");
        }
    }
}

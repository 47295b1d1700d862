//! One cell of a block's header: its name, what its layers share, their sums.

use super::cells;
use super::choices::{self, group_text, mixed};
use super::columns::{Column, PADDING, Unit};
use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::draft::method_name;
use crate::studio::rows::Group;
use crate::studio::sparse;
use crate::studio::{Command, Project};
use egui::{Align2, FontId, Id, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use egui_material_icons::icons::{ICON_KEYBOARD_ARROW_DOWN, ICON_KEYBOARD_ARROW_RIGHT};
use pare_engine::model::LayerKind;

/// Draws a cell.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    (group, number): (&Group, usize),
    (column, unit): (Column, Unit),
) {
    let (colour, weak) = (scene.look.colours.text, scene.look.colours.weak);
    match column {
        Column::Name => name(ui, scene, project, group, number),
        Column::Method => {
            let shared = group.method.map(|method| method_name(method).to_owned());
            let (text, colour) = mixed(shared, scene.look);
            choices::paint_method(ui, scene, group.method, &text, colour);
        }
        Column::Bits if has_codes(project, group) => {
            let (text, colour) = mixed(group.bits.map(|bits| bits.to_string()), scene.look);
            cells::text(ui, scene, column, &text, colour);
        }
        Column::Group if has_codes(project, group) => {
            let (text, colour) = mixed(group.group.map(group_text), scene.look);
            cells::text(ui, scene, column, &text, colour);
        }
        Column::Zeros => {
            let zeros = group.zeros.clone().map(|zeros| match zeros.is_empty() {
                true => "–".to_owned(),
                false => zeros,
            });
            let (text, colour) = mixed(zeros, scene.look);
            cells::text(ui, scene, column, &text, colour);
        }
        Column::BitsPerWeight => {
            let text = format!("{:.2}", group.bits_per_weight);
            cells::text(ui, scene, column, &text, colour);
        }
        Column::Before => cells::text(ui, scene, column, &unit.text(group.bytes_before), weak),
        Column::After => cells::text(ui, scene, column, &unit.text(group.bytes_after), colour),
        Column::Share => spread(ui, scene, group),
        Column::Error => median(ui, scene, group),
        Column::Latency => cells::latency(ui, scene, group.latency),
        _ => {}
    }
}

/// What a person calls the block.
pub(super) fn title(project: &Project, group: &Group) -> String {
    if let Some(block) = group.block {
        return format!("Block {block}");
    }
    let kind = |kind| {
        let mut layers = group.layers.iter();
        layers.all(|&layer| project.layers[layer].kind == kind)
    };
    match () {
        () if group.layers.len() == project.rows.total => "All layers".to_owned(),
        () if kind(LayerKind::Embedding) => "Embedding".to_owned(),
        () if kind(LayerKind::Head) => "Output head".to_owned(),
        () => "Outside blocks".to_owned(),
    }
}

fn has_codes(project: &Project, group: &Group) -> bool {
    let draft = project.draft();
    let is_coded = |layer: &usize| sparse::has_codes(&draft.settings[*layer]);
    group.layers.iter().any(is_coded)
}

fn name(ui: &Ui, scene: &mut Scene<'_>, project: &Project, group: &Group, number: usize) {
    let rect = ui.max_rect();
    let colours = &scene.look.colours;
    let title = title(project, group);
    let fold = Rect::from_min_size(rect.min, vec2(PADDING + cells::INDENT, rect.height()));
    let response = ui.interact(fold, Id::unique(("layers fold", number)), Sense::CLICK);
    let word = if group.folded { "Unfold" } else { "Fold" };
    response.widget_info(|| {
        WidgetInfo::labeled(Role::DisclosureTriangle, true, format!("{word} {title}"))
    });
    let icon = match group.folded {
        true => ICON_KEYBOARD_ARROW_RIGHT.codepoint,
        false => ICON_KEYBOARD_ARROW_DOWN.codepoint,
    };
    let colour = match response.hovered() {
        true => colours.strong,
        false => colours.weak,
    };
    let font = FontId::proportional(scene.look.measures.text);
    let small = FontId::proportional(scene.look.measures.small);
    let painter = ui.painter();
    let y = rect.center().y;
    painter.text(
        pos2(rect.left() + PADDING + 5.0, y),
        Align2::CENTER_CENTER,
        icon,
        font.clone(),
        colour,
    );
    let at = pos2(rect.left() + PADDING + cells::INDENT, y);
    let drawn = painter.text(at, Align2::LEFT_CENTER, &title, font, colours.strong);
    let count = match group.layers.len() {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    let count = painter.layout_no_wrap(count, small, colours.weak);
    let at = pos2(drawn.right() + 8.0, y - count.size().y / 2.0);
    if at.x + count.size().x <= rect.right() {
        painter.galley(at, count, colours.weak);
    }
    if response.clicked() {
        scene.push(Command::Fold(group.block));
    }
}

/// Smallest to largest error, in short, beside the median.
fn spread(ui: &Ui, scene: &Scene<'_>, group: &Group) {
    let Some([least, _, most]) = group.errors.filter(|errors| errors[2].value > 0.0) else {
        return;
    };
    if group.layers.len() < 2 {
        return;
    }
    let short = |value: f64| {
        let digits = if most.value < 0.01 { 4 } else { 3 };
        let text = format!("{value:.digits$}");
        text.strip_prefix('0').map(str::to_owned).unwrap_or(text)
    };
    let text = format!("{} – {}", short(least.value), short(most.value));
    let rect = ui.max_rect();
    let at = pos2(rect.right() - PADDING, rect.center().y);
    let small = FontId::proportional(scene.look.measures.small);
    let weak = scene.look.colours.weak;
    ui.painter()
        .text(at, Align2::RIGHT_CENTER, text, small, weak);
}

/// The median error; all three are on hover.
fn median(ui: &mut Ui, scene: &Scene<'_>, group: &Group) {
    let Some(errors) = group.errors else {
        return;
    };
    if errors[2].value == 0.0 {
        return cells::text(ui, scene, Column::Error, "–", scene.look.colours.weak);
    }
    let [least, median, most] = errors.map(|error| widgets::error_text(error.value));
    let shown = format!("{}{median}", widgets::sign(errors[1].mark));
    cells::text(ui, scene, Column::Error, &shown, scene.look.colours.text);
    let id = Id::unique(("layers errors", group.layers[0]));
    let hover = ui.interact(ui.max_rect(), id, Sense::HOVER);
    hover.on_hover_text(format!(
        "Median error {median}, from {least} to {most}; {}",
        errors[1].mark.word()
    ));
}

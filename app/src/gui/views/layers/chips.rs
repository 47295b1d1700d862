//! The filter: its field, what is wrong with it, its words as chips, and how many layers pass.
//!
//! The text lives in the studio; here it is only typed. Knows no rows but their count.

use super::Memory;
use crate::gui::scene::Scene;
use crate::studio::rows::Row;
use crate::studio::{Command, Project};
use egui::{Key, Response, RichText, TextEdit, Ui};
use egui_material_icons::icons::{ICON_CLOSE, ICON_SEARCH};

/// The language in short, for the hover over the field.
const LANGUAGE: &str = "\
Words must all hold:
down_proj            part of a name
re:mlp\\.(up|down)    a regular expression, to the end
role:mlp  method:gptq  block:3-7
bits<4  group=64  bpw>4.5  size>1MB
error>1e-2  params>1M
locked  selected  dense
-word                the layers without it";

/// Draws the filter. Returns whether it had the caret at the beginning of the frame: then keys were meant for it.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
) -> bool {
    let typing = ui
        .horizontal(|ui| {
            let typing = field(ui, scene, project, memory);
            count(ui, scene, project);
            typing
        })
        .inner;
    if let Some(problem) = &project.filter_problem {
        ui.label(RichText::new(problem).color(scene.look.colours.error));
    }
    if !project.filter.is_empty() {
        ui.horizontal_wrapped(|ui| words(ui, scene, project));
    }
    ui.add_space(scene.look.measures.grid / 2.0);
    typing
}

fn field(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) -> bool {
    let weak = scene.look.colours.weak;
    ui.label(RichText::new(ICON_SEARCH.codepoint).color(weak));
    let mut text = project.filter_text.clone();
    // The count and the button beside the field need so much.
    let width = (ui.available_width() - 210.0).clamp(120.0, 420.0);
    let edit = TextEdit::singleline(&mut text)
        .id(egui::Id::unique("layers filter"))
        .desired_width(width)
        .hint_text("Filter by name, re:…, bits<4, role:mlp");
    let response = ui
        .add(edit)
        .on_hover_text(RichText::new(LANGUAGE).monospace());
    response.widget_info(|| {
        let mut info = egui::WidgetInfo::text_edit(true, &project.filter_text, &text, "");
        info.label = Some("Filter layers".to_owned());
        info
    });
    if std::mem::take(&mut memory.focus_filter) {
        response.request_focus();
    }
    if text != project.filter_text {
        scene.push(Command::Filter(text));
    }
    leave(ui, scene, &response, project, memory);
    response.has_focus() || response.lost_focus()
}

/// Escape empties the field, then leaves it; Enter and Down go on in the table.
fn leave(
    ui: &Ui,
    scene: &mut Scene<'_>,
    response: &Response,
    project: &Project,
    memory: &mut Memory,
) {
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    if response.lost_focus() {
        if pressed(Key::Escape) && !project.filter_text.is_empty() {
            scene.push(Command::Filter(String::new()));
            response.request_focus();
        }
        memory.has_keys = true;
    } else if response.has_focus() && pressed(Key::ArrowDown) {
        response.surrender_focus();
        memory.has_keys = true;
        if project.selection.cursor().is_none() {
            scene.push(Command::Step(1, false));
        }
    }
}

fn count(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    let rows = &project.rows;
    if project.filter.is_empty() {
        ui.weak(format!("{} layers", rows.total));
        return;
    }
    ui.weak(format!("{} of {}", rows.matching, rows.total));
    let button = ui.add_enabled(rows.matching > 0, egui::Button::new("Select all matches"));
    if button.clicked() {
        scene.push(Command::SelectLayers(matches(project)));
    }
}

/// Every layer that passes, folded ones too.
fn matches(project: &Project) -> Vec<usize> {
    let rows = &project.rows;
    let layers_of = |row: &Row| match *row {
        Row::Group(group) => rows.groups[group].layers.clone(),
        Row::Layer(layer) => vec![layer],
    };
    rows.rows.iter().flat_map(layers_of).collect()
}

fn words(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    for (index, word) in project.filter.chips().enumerate() {
        let text = format!("{word} {}", ICON_CLOSE.codepoint);
        let chip = ui.add(egui::Button::new(RichText::new(text).small()).corner_radius(9));
        chip.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Remove filter {word}"))
        });
        if chip
            .on_hover_text("Take this word out of the filter")
            .clicked()
        {
            scene.push(Command::Filter(project.filter.without(index)));
        }
    }
}

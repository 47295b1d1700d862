//! Lists of bits, groups and methods to choose from, and the cells of the table that open them.
//!
//! A list answers with an edit or with nothing; who owns it decides which layers are meant. Dragging over bits changes
//! them as one gesture.

use super::columns::PADDING;
use super::{Memory, touched};
use crate::gui::scene::Scene;
use crate::studio::draft::{
    GROUPS, LayerEdit, MAX_BITS, MIN_BITS, activations_name, method_name, methods_of,
    settings_in_words,
};
use crate::studio::sparse;
use crate::studio::{Command, Project};
use egui::{
    Align2, Button, Color32, CursorIcon, FontId, Id, Popup, Response, Role, Sense, Ui, WidgetInfo,
    pos2,
};
use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::{LayerSettings, PruneMethod};
use pare_engine::settings::Activations;
use pare_engine::solved::Method;

/// A drag of so many points is one bit.
const POINTS_PER_BIT: f32 = 14.0;

/// What a cell lets a person choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Method,
    Bits,
    Group,
    Zeros,
}

/// A cell that opens a list; `align` as its column. Returns the cell's response for the row under it.
pub(super) fn cell(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    (layer, choice): (usize, Choice),
) -> Response {
    let settings = project.draft().settings[layer];
    let rect = ui.max_rect();
    let sense = match choice {
        Choice::Bits => Sense::CLICK | Sense::DRAG,
        _ => Sense::CLICK,
    };
    let id = Id::unique(("layers choice", choice as u8, layer));
    let response = ui.interact(rect, id, sense);
    let text = text_of(choice, &settings);
    let name = format!("{} of {}", word_of(choice), project.layers[layer].name);
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ComboBox, true, &name);
        info.current_text_value = Some(text.clone());
        info
    });
    paint(ui, scene, &response, choice, (&settings, &text));
    let response = response.on_hover_text(settings_in_words(&settings));
    let edit = Popup::menu(&response).show(|ui| match choice {
        Choice::Method => methods(
            ui,
            methods_of(&project.layers[layer]),
            Some(settings.method),
        ),
        Choice::Bits => bits(ui, bits_of(&settings)),
        Choice::Group => groups(ui, group_of(&settings)),
        Choice::Zeros => zeros(ui, Some(&settings)),
    });
    if let Some(edit) = edit.and_then(|shown| shown.inner) {
        push(scene, edit, touched(project, layer), None);
    }
    if choice == Choice::Bits {
        drag(ui, scene, project, memory, (layer, &response));
    }
    response
}

fn push(
    scene: &mut Scene<'_>,
    edit: LayerEdit,
    layers: Option<Vec<usize>>,
    gesture: Option<crate::studio::history::Gesture>,
) {
    scene.push(Command::Edit {
        edit,
        layers,
        gesture,
    });
}

/// Bits follow the pointer: right is more. The whole drag is one step of undo.
fn drag(
    ui: &Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    (layer, response): (usize, &Response),
) {
    let start_id = response.id.with("start");
    if response.drag_started() {
        memory.gestures.begin();
        let start = project.draft().settings[layer].bits;
        ui.data_mut(|data| data.insert_temp(start_id, start));
    }
    if response.dragged()
        && let Some(start) = ui.data(|data| data.get_temp::<u8>(start_id))
    {
        ui.set_cursor_icon(CursorIcon::ResizeHorizontal);
        let moved = response.total_drag_delta().map_or(0.0, |delta| delta.x);
        let steps = (moved / POINTS_PER_BIT).round() as i16;
        let wanted = (i16::from(start) + steps).clamp(MIN_BITS.into(), MAX_BITS.into()) as u8;
        let settings = &project.draft().settings[layer];
        if bits_of(settings) != Some(wanted) && (steps != 0 || settings.method != Method::None) {
            let edit = LayerEdit::Bits(wanted);
            push(
                scene,
                edit,
                touched(project, layer),
                Some(memory.gestures.current()),
            );
        }
    }
    if response.drag_stopped() {
        scene.push(Command::EndGesture);
    }
}

fn paint(
    ui: &Ui,
    scene: &Scene<'_>,
    response: &Response,
    choice: Choice,
    (settings, text): (&LayerSettings, &str),
) {
    let (look, rect) = (scene.look, response.rect);
    let is_open = Popup::is_id_open(ui.ctx(), Popup::default_response_id(response));
    let painter = ui.painter();
    if response.hovered() || is_open || response.dragged() {
        let inner = rect.shrink2(egui::vec2(2.0, 2.0));
        let line = egui::Stroke::new(1.0, look.colours.weak);
        painter.rect(
            inner,
            look.measures.corner,
            look.colours.hover,
            line,
            egui::StrokeKind::Inside,
        );
        ui.set_cursor_icon(CursorIcon::PointingHand);
    }
    let colour = match settings.method {
        Method::None => look.colours.weak,
        _ => look.colours.text,
    };
    if choice == Choice::Method {
        paint_method(ui, scene, Some(settings.method), text, colour);
    } else {
        let font = FontId::proportional(look.measures.text);
        let at = pos2(rect.right() - PADDING, rect.center().y);
        painter.text(at, Align2::RIGHT_CENTER, text, font, colour);
    }
}

/// A method's name beside a dot of its hue.
pub(super) fn paint_method(
    ui: &Ui,
    scene: &Scene<'_>,
    method: Option<Method>,
    text: &str,
    colour: Color32,
) {
    let rect = ui.max_rect();
    let dot = pos2(rect.left() + PADDING + 3.0, rect.center().y);
    if let Some(method) = method {
        ui.painter()
            .circle_filled(dot, 3.0, scene.look.method(method));
    }
    let font = FontId::proportional(scene.look.measures.text);
    let at = pos2(dot.x + 8.0, dot.y);
    ui.painter()
        .text(at, Align2::LEFT_CENTER, text, font, colour);
}

fn word_of(choice: Choice) -> &'static str {
    match choice {
        Choice::Method => "Method",
        Choice::Bits => "Bits",
        Choice::Group => "Group",
        Choice::Zeros => "Zeros",
    }
}

fn text_of(choice: Choice, settings: &LayerSettings) -> String {
    let is_coded = sparse::has_codes(settings);
    match choice {
        Choice::Method => method_name(settings.method).to_owned(),
        Choice::Zeros => sparse::zeros_text(settings).unwrap_or_else(|| "–".to_owned()),
        Choice::Bits if is_coded => settings.bits.to_string(),
        Choice::Group if is_coded && settings.method != Method::Palette => {
            group_text(settings.group)
        }
        Choice::Bits | Choice::Group => "–".to_owned(),
    }
}

/// A group as a number, or `row`.
pub(super) fn group_text(group: usize) -> String {
    match group {
        0 => "row".to_owned(),
        group => group.to_string(),
    }
}

fn bits_of(settings: &LayerSettings) -> Option<u8> {
    sparse::has_codes(settings).then_some(settings.bits)
}

fn group_of(settings: &LayerSettings) -> Option<usize> {
    sparse::has_codes(settings).then_some(settings.group)
}

/// All bits, and dense.
pub(super) fn bits(ui: &mut Ui, current: Option<u8>) -> Option<LayerEdit> {
    let mut edit = None;
    for bits in MIN_BITS..=MAX_BITS {
        let is_current = current == Some(bits);
        if item(ui, is_current, format!("{bits} bits"), &bits.to_string()) {
            edit = Some(LayerEdit::Bits(bits));
        }
    }
    if item(ui, false, "Dense".to_owned(), "0") {
        edit = Some(LayerEdit::Method(Method::None));
    }
    edit
}

/// All groups.
pub(super) fn groups(ui: &mut Ui, current: Option<usize>) -> Option<LayerEdit> {
    let mut edit = None;
    for group in GROUPS {
        let text = match group {
            0 => "One scale per row".to_owned(),
            group => format!("Group {group}"),
        };
        if item(ui, current == Some(group), text, "") {
            edit = Some(LayerEdit::Group(group));
        }
    }
    edit
}

/// Methods that can be had.
pub(super) fn methods(
    ui: &mut Ui,
    methods: &[Method],
    current: Option<Method>,
) -> Option<LayerEdit> {
    let mut edit = None;
    for &method in methods {
        let text = match method {
            Method::None => "Dense".to_owned(),
            method => method_name(method).to_owned(),
        };
        if item(ui, current == Some(method), text, "") {
            edit = Some(LayerEdit::Method(method));
        }
    }
    edit
}

/// Usual zeros, by the method in force or by the first one.
pub(super) fn zeros(ui: &mut Ui, current: Option<&LayerSettings>) -> Option<LayerEdit> {
    let now = current.and_then(sparse::zeros_of);
    let mut edit = None;
    let none = LayerEdit::Prune(PruneMethod::None);
    if item(
        ui,
        current.is_some() && now.is_none(),
        "No zeros".to_owned(),
        "",
    ) {
        edit = Some(none);
    }
    for pattern in sparse::PATTERNS {
        let is_current = now.is_some_and(|zeros| zeros.pattern == pattern);
        let text = match pattern {
            SparsityPattern::Unstructured => "Unstructured".to_owned(),
            SparsityPattern::Block { .. } => "Blocks 1x4".to_owned(),
            pattern => pattern.to_string(),
        };
        if item(ui, is_current, text, "") {
            edit = Some(LayerEdit::Pattern(pattern));
        }
    }
    ui.separator();
    for method in PruneMethod::ALL.into_iter().skip(1) {
        let is_current = now.is_some_and(|zeros| zeros.method == method);
        let text = format!("by {}", sparse::prune_name(method));
        if item(ui, is_current, text, "") {
            edit = Some(LayerEdit::Prune(method));
        }
    }
    edit
}

/// Ways to round inputs.
pub(super) fn activations(ui: &mut Ui, current: Option<Activations>) -> Option<LayerEdit> {
    let mut edit = None;
    for mode in Activations::ALL {
        let text = activations_name(mode).to_owned();
        if item(ui, current == Some(mode), text, "") {
            edit = Some(LayerEdit::Activations(mode));
        }
    }
    edit
}

fn item(ui: &mut Ui, is_current: bool, text: String, key: &str) -> bool {
    let button = Button::selectable(is_current, text.as_str()).shortcut_text(key);
    let response = ui.add(button);
    // Without the key: it is no part of the name.
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_current, &text));
    let clicked = response.clicked();
    if clicked {
        ui.close();
    }
    clicked
}

/// The colour of a value: weak where layers differ.
pub(super) fn mixed(text: Option<String>, look: &crate::gui::look::Look) -> (String, Color32) {
    match text {
        Some(text) => (text, look.colours.text),
        None => ("mixed".to_owned(), look.colours.weak),
    }
}

//! The bar that edits every selected layer at once.
//!
//! Shows what the selected layers share. Always there, so that nothing jumps when something is selected.

use super::Memory;
use super::choices::{self, group_text, mixed};
use super::more;
use super::zeros;
use crate::gui::scene::Scene;
use crate::studio::action::Action;
use crate::studio::draft::{LayerEdit, activations_name, method_name};
use crate::studio::sparse;
use crate::studio::{Command, Project};
use egui::{Button, Popup, PopupCloseBehavior, Response, RichText, Ui};
use egui_material_icons::icons::{ICON_ARROW_DROP_DOWN, ICON_LOCK};
use pare_engine::settings::Activations;
use pare_engine::solved::Method;

/// Where the bar is narrower they are among what is changed seldom, so that it stays one line.
const ROOM_FOR_ZEROS: f32 = 290.0;

/// Bits that have a button.
const BITS: [u8; 6] = [2, 3, 4, 5, 6, 8];

/// What the selected layers share; `None` where they differ.
#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    method: Option<Method>,
    bits: Option<u8>,
    group: Option<usize>,
    activations: Option<Activations>,
    locked: Option<bool>,
}

impl Shared {
    fn of(project: &Project) -> Self {
        let draft = project.draft();
        let layers = project.selection.layers();
        let settings = || layers.iter().map(|&layer| draft.settings[layer]);
        let coded = || settings().filter(sparse::has_codes);
        Self {
            method: same(settings().map(|settings| settings.method)),
            bits: same(coded().map(|settings| settings.bits)),
            group: same(coded().map(|settings| settings.group)),
            activations: same(coded().map(|settings| settings.activations)),
            locked: same(layers.iter().map(|&layer| draft.locked[layer])),
        }
    }
}

fn same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// One frame of the bar.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let shared = Shared::of(project);
    let any = !project.selection.is_empty();
    ui.add_space(scene.look.measures.grid);
    ui.horizontal_wrapped(|ui| {
        let edits = ui.add_enabled_ui(any, |ui| {
            let edits = [
                bits(ui, shared),
                list(
                    ui,
                    scene,
                    ("Group", shared.group.map(group_text)),
                    false,
                    |ui| choices::groups(ui, shared.group),
                ),
                list(
                    ui,
                    scene,
                    (
                        "Method",
                        shared.method.map(|method| method_name(method).to_owned()),
                    ),
                    std::mem::take(&mut memory.open_methods),
                    |ui| choices::methods(ui, &Method::ALL, shared.method),
                ),
                activations(ui, scene, shared),
            ];
            if ui.available_size_before_wrap().x >= ROOM_FOR_ZEROS {
                zeros_list(ui, scene, project, memory);
            }
            more::show(ui, scene, project, memory);
            lock(ui, scene, shared);
            edits
        });
        for edit in edits.inner.into_iter().flatten() {
            push(scene, edit);
        }
        uniform(ui, scene);
    });
}

/// Where the bar is narrow they are among what is changed seldom, so that it stays one line.
fn activations(ui: &mut Ui, scene: &Scene<'_>, shared: Shared) -> Option<LayerEdit> {
    const ROOM: f32 = 440.0;
    if ui.available_size_before_wrap().x < ROOM {
        return None;
    }
    let mode = shared.activations;
    let text = mode.map(|mode| activations_name(mode).to_owned());
    list(ui, scene, ("Activations", text), false, |ui| {
        choices::activations(ui, mode)
    })
}

/// Zeros and factors of the selection, behind one button that shows the zeros they share.
fn zeros_list(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let mut layers = project.selection.layers();
    layers.retain(|&layer| project.layers[layer].compressible);
    let draft = project.draft();
    let texts = layers
        .iter()
        .map(|&layer| sparse::zeros_text(&draft.settings[layer]));
    let text = match same(texts) {
        Some(None) | None if layers.is_empty() => "zeros –".to_owned(),
        None => "zeros mixed".to_owned(),
        Some(None) => "no zeros".to_owned(),
        Some(Some(text)) => format!("zeros {text}"),
    };
    let shown = format!("{text} {}", ICON_ARROW_DROP_DOWN.codepoint);
    let response = ui
        .button(shown)
        .on_hover_text("Pruning, pattern, share of zeros, factors, palettes");
    name(&response, "Zeros of the selection", false);
    if layers.is_empty() {
        return;
    }
    Popup::menu(&response)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        // Fields and boxes in it look as they do outside menus.
        .style(egui::style::StyleModifier::default())
        .show(|ui| {
            ui.set_width(340.0);
            zeros::show(ui, scene, project, &layers, &mut memory.zeros);
        });
}

pub(super) fn push(scene: &mut Scene<'_>, edit: LayerEdit) {
    scene.push(Command::Edit {
        edit,
        layers: None,
        gesture: None,
    });
}

fn bits(ui: &mut Ui, shared: Shared) -> Option<LayerEdit> {
    let mut edit = None;
    let is_dense = shared.method == Some(Method::None);
    ui.spacing_mut().item_spacing.x = 2.0;
    for bits in BITS {
        let chosen = shared.bits == Some(bits) && !is_dense;
        let button = Button::selectable(chosen, bits.to_string()).min_size(egui::vec2(24.0, 0.0));
        let response = ui.add(button).on_hover_text(format!("Key {bits}"));
        name(&response, &format!("Set {bits} bits"), chosen);
        if response.clicked() {
            edit = Some(LayerEdit::Bits(bits));
        }
    }
    let response = ui
        .add(Button::selectable(is_dense, "dense"))
        .on_hover_text("Key 0");
    name(&response, "Set dense", is_dense);
    if response.clicked() {
        edit = Some(LayerEdit::Method(Method::None));
    }
    ui.spacing_mut().item_spacing.x = 6.0;
    edit
}

pub(super) fn name(response: &Response, label: &str, chosen: bool) {
    let enabled = response.enabled();
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, enabled, chosen, label));
}

/// A button that shows what is shared and opens a list.
fn list(
    ui: &mut Ui,
    scene: &Scene<'_>,
    (title, text): (&str, Option<String>),
    open: bool,
    content: impl FnOnce(&mut Ui) -> Option<LayerEdit>,
) -> Option<LayerEdit> {
    let (text, colour) = match ui.is_enabled() {
        true => mixed(text, scene.look),
        false => ("–".to_owned(), scene.look.colours.weak),
    };
    let text = match (title, text.as_str()) {
        ("Group", "mixed" | "–") => format!("group {text}"),
        ("Group", "row") => "group row".to_owned(),
        ("Group", _) => format!("group {text}"),
        ("Activations", _) => format!("inputs {text}"),
        _ => text,
    };
    let shown = format!("{text} {}", ICON_ARROW_DROP_DOWN.codepoint);
    let response = ui.add(Button::new(RichText::new(shown).color(colour)));
    name(&response, &format!("{title} of the selection"), false);
    if open {
        Popup::open_id(ui.ctx(), Popup::default_response_id(&response));
    }
    let shown = Popup::menu(&response).show(content);
    shown.and_then(|shown| shown.inner)
}

fn lock(ui: &mut Ui, scene: &mut Scene<'_>, shared: Shared) {
    let locked = shared.locked == Some(true);
    let response = ui.add(Button::selectable(locked, ICON_LOCK.codepoint));
    let word = if locked {
        "Unlock the selection"
    } else {
        "Lock the selection"
    };
    name(&response, word, locked);
    if response.on_hover_text(format!("{word}, key L")).clicked() {
        scene.act(Action::ToggleLock);
    }
}

/// Every inner layer at the same bits: the baseline that a mix has to beat.
fn uniform(ui: &mut Ui, scene: &mut Scene<'_>) {
    let text = format!("Uniform {}", ICON_ARROW_DROP_DOWN.codepoint);
    let response = ui
        .button(text)
        .on_hover_text("Every layer of every block at the same bits");
    name(&response, "Uniform baseline", false);
    Popup::menu(&response).show(|ui| {
        for bits in BITS {
            if ui.button(format!("{bits} bits everywhere")).clicked() {
                scene.push(Command::Uniform(bits));
            }
        }
    });
}

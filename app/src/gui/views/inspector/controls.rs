//! Buttons and lists that edit the selected layers; what differs among them reads "mixed".

use crate::gui::scene::Scene;
use crate::studio::draft::{
    GROUPS, LayerEdit, SMOOTHING, activations_name, can_be_smoothed, method_name, methods_of,
};
use crate::studio::estimates::OPTION_BITS;
use crate::studio::sparse;
use crate::studio::{Command, Project};
use egui::{Button, ComboBox, Role, Ui, WidgetInfo};
use pare_engine::recipe::{ColumnOrder, LayerSettings};
use pare_engine::settings::Activations;
use pare_engine::solved::Method;

/// Exponents of smoothing that people use; the bar of the table takes any.
const EXPONENTS: [f64; 5] = [0.0, 0.5, 0.65, 0.8, 0.9];

/// One row of controls for `layers`, of which there is at least one.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, layers: &[usize]) {
    let draft = project.draft();
    let all = || layers.iter().map(|&layer| draft.settings[layer]);
    let bits = shared(all().map(|settings| match sparse::has_codes(&settings) {
        false => None,
        true => Some(settings.bits),
    }));
    let is_dense = all().all(|settings| settings.method == Method::None);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for option in OPTION_BITS {
            let name = format!("{option} bits for the selection");
            if choice(ui, &option.to_string(), &name, bits == Some(Some(option))) {
                push(scene, LayerEdit::Bits(option));
            }
        }
        if choice(ui, "dense", "Dense for the selection", is_dense) {
            push(scene, LayerEdit::Method(Method::None));
        }
        ui.add_space(6.0);
        ui.spacing_mut().item_spacing.x = 6.0;
        group(ui, scene, shared(all().map(|settings| settings.group)));
        method(
            ui,
            scene,
            project,
            layers,
            shared(all().map(|settings| settings.method)),
        );
        if all().any(|settings| settings.method == Method::Gptq) {
            order(ui, scene, shared(all().map(|settings| settings.order)));
        }
        if all().any(|settings| settings.method != Method::None) {
            activations(
                ui,
                scene,
                shared(all().map(|settings| settings.activations)),
            );
        }
        let is_rounded = |settings: &LayerSettings| settings.activations != Activations::None;
        if all().any(|settings| is_rounded(&settings) && can_be_smoothed(&settings)) {
            smoothing(ui, scene, shared(all().map(|settings| settings.smooth)));
        }
        let mut locked = layers.iter().all(|&layer| draft.locked[layer]);
        if ui
            .checkbox(&mut locked, "lock")
            .on_hover_text("Edits leave locked layers as they are")
            .changed()
        {
            scene.push(Command::Lock(layers.to_vec(), locked));
        }
    });
}

/// The value that all share.
fn shared<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

fn push(scene: &mut Scene<'_>, edit: LayerEdit) {
    scene.push(Command::Edit {
        edit,
        layers: None,
        gesture: None,
    });
}

fn choice(ui: &mut Ui, text: &str, name: &str, is_chosen: bool) -> bool {
    let response = ui.add(Button::new(text).selected(is_chosen));
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_chosen, name));
    response.on_hover_text(name).clicked()
}

fn group(ui: &mut Ui, scene: &mut Scene<'_>, value: Option<usize>) {
    let text = |group: usize| match group {
        0 => "group: row".to_owned(),
        group => format!("group {group}"),
    };
    let shown = value.map_or_else(|| "group mixed".to_owned(), text);
    let combo = ComboBox::from_id_salt("inspector group")
        .selected_text(shown)
        .width(88.0);
    let response = combo.show_ui(ui, |ui| {
        for option in GROUPS {
            if ui
                .selectable_label(value == Some(option), text(option))
                .clicked()
            {
                push(scene, LayerEdit::Group(option));
            }
        }
    });
    response
        .response
        .on_hover_text("Weights that share a scale");
}

fn method(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    layers: &[usize],
    value: Option<Method>,
) {
    let shown = value.map_or("method mixed", method_name);
    let combo = ComboBox::from_id_salt("inspector method")
        .selected_text(shown)
        .width(72.0);
    let response = combo.show_ui(ui, |ui| {
        for &option in methods_of(&project.layers[layers[0]]) {
            if ui
                .selectable_label(value == Some(option), method_name(option))
                .clicked()
            {
                push(scene, LayerEdit::Method(option));
            }
        }
    });
    response.response.on_hover_text("Method");
}

fn order(ui: &mut Ui, scene: &mut Scene<'_>, value: Option<ColumnOrder>) {
    let text = |order: ColumnOrder| match order {
        ColumnOrder::None => "order: stored",
        ColumnOrder::Static => "order: static",
        ColumnOrder::Gar => "order: gar",
    };
    let shown = value.map_or("order mixed", text);
    let combo = ComboBox::from_id_salt("inspector order")
        .selected_text(shown)
        .width(96.0);
    let response = combo.show_ui(ui, |ui| {
        for option in [ColumnOrder::None, ColumnOrder::Static, ColumnOrder::Gar] {
            if ui
                .selectable_label(value == Some(option), text(option))
                .clicked()
            {
                push(scene, LayerEdit::Order(option));
            }
        }
    });
    response.response.on_hover_text("Column order of GPTQ");
}

fn activations(ui: &mut Ui, scene: &mut Scene<'_>, value: Option<Activations>) {
    let shown = value.map_or("mixed", activations_name);
    let combo = ComboBox::from_id_salt("inspector activations")
        .selected_text(format!("inputs {shown}"))
        .width(132.0);
    let response = combo.show_ui(ui, |ui| {
        for option in Activations::ALL {
            let text = activations_name(option);
            if ui.selectable_label(value == Some(option), text).clicked() {
                push(scene, LayerEdit::Activations(option));
            }
        }
    });
    response
        .response
        .on_hover_text("Activations: how the layer rounds its inputs when it runs");
}

fn smoothing(ui: &mut Ui, scene: &mut Scene<'_>, value: Option<f64>) {
    let text = |exponent: f64| match exponent {
        0.0 => "not smoothed".to_owned(),
        exponent => format!("smooth {exponent:.2}"),
    };
    let shown = value.map_or_else(|| "smooth mixed".to_owned(), text);
    let combo = ComboBox::from_id_salt("inspector smoothing")
        .selected_text(shown)
        .width(100.0);
    let response = combo.show_ui(ui, |ui| {
        for option in EXPONENTS {
            if ui
                .selectable_label(value == Some(option), text(option))
                .clicked()
            {
                push(scene, LayerEdit::Smooth(option));
            }
        }
    });
    response.response.on_hover_text(SMOOTHING);
}

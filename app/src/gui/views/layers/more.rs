//! Settings of the selected layers that are changed seldom, behind one button of the bar.

use super::Memory;
use super::bar::{name, push};
use super::zeros;
use crate::gui::scene::Scene;
use crate::studio::Project;
use crate::studio::draft::{LayerEdit, SMOOTHING, activations_name, can_be_smoothed};
use egui::{DragValue, Popup, PopupCloseBehavior, Ui};
use egui_material_icons::icons::ICON_MORE_HORIZ;
use pare_engine::recipe::{ColumnOrder, LayerSettings, Refine};
use pare_engine::settings::Activations;

/// A button that opens them for the selected layers, as the first of them has them.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let response = ui.button(ICON_MORE_HORIZ.codepoint).on_hover_text(
        "Symmetry, column order, refinement, clip search, damping, activations, zeros, factors",
    );
    name(&response, "More settings of the selection", false);
    let first = project
        .selection
        .cursor()
        .or(project.selection.layers().first().copied());
    let Some(settings) = first.map(|layer| project.draft().settings[layer]) else {
        return;
    };
    Popup::menu(&response)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        // Fields and boxes in it look as they do outside menus.
        .style(egui::style::StyleModifier::default())
        .show(|ui| {
            ui.set_min_width(230.0);
            egui::Grid::new("more settings")
                .num_columns(2)
                .show(ui, |ui| {
                    symmetry(ui, scene, &settings);
                    order(ui, scene, &settings);
                    refinement(ui, scene, &settings);
                    numbers(ui, scene, &settings, memory);
                    let mut double = settings.double_quant;
                    ui.label("NF4");
                    if ui.checkbox(&mut double, "Double quantization").changed() {
                        push(scene, LayerEdit::DoubleQuant(double));
                    }
                    ui.end_row();
                    activations(ui, scene, &settings);
                    smoothing(ui, scene, &settings, memory);
                });
            let mut layers = project.selection.layers();
            layers.retain(|&layer| project.layers[layer].compressible);
            if !layers.is_empty() {
                ui.separator();
                ui.set_max_width(340.0);
                zeros::show(ui, scene, project, &layers, &mut memory.zeros);
            }
        });
}

fn symmetry(ui: &mut Ui, scene: &mut Scene<'_>, settings: &LayerSettings) {
    ui.label("Zero");
    let words = [(false, "Asymmetric"), (true, "Symmetric")];
    pick(ui, scene, settings.symmetric, &words, LayerEdit::Symmetric);
}

fn order(ui: &mut Ui, scene: &mut Scene<'_>, settings: &LayerSettings) {
    ui.label("Column order");
    let words = [
        (ColumnOrder::None, "As stored"),
        (ColumnOrder::Static, "Static"),
        (ColumnOrder::Gar, "GAR"),
    ];
    pick(ui, scene, settings.order, &words, LayerEdit::Order);
}

fn refinement(ui: &mut Ui, scene: &mut Scene<'_>, settings: &LayerSettings) {
    ui.label("Refinement");
    let words = [
        (Refine::Auto, "Auto"),
        (Refine::Off, "Off"),
        (Refine::On, "On"),
    ];
    pick(ui, scene, settings.refine, &words, LayerEdit::Refine);
}

/// How inputs are rounded when the layer runs.
fn activations(ui: &mut Ui, scene: &mut Scene<'_>, settings: &LayerSettings) {
    ui.label("Activations");
    let words = Activations::ALL.map(|mode| (mode, activations_name(mode)));
    pick(
        ui,
        scene,
        settings.activations,
        &words,
        LayerEdit::Activations,
    );
    if settings.activations == Activations::Dynamic8 {
        ui.label("Scale for");
        let words = [(0, "a token"), (128, "128 inputs"), (32, "32 inputs")];
        let edit = LayerEdit::ActivationBlock;
        pick(ui, scene, settings.activation_block, &words, edit);
    }
}

/// Where scales can be folded.
fn smoothing(ui: &mut Ui, scene: &mut Scene<'_>, settings: &LayerSettings, memory: &mut Memory) {
    if !can_be_smoothed(settings) {
        return;
    }
    let mut exponent = settings.smooth;
    let title = ui.label("Smoothing").on_hover_text(SMOOTHING);
    let field = DragValue::new(&mut exponent)
        .range(0.0..=1.0)
        .speed(0.005)
        .max_decimals(2)
        .custom_formatter(|value, _| match value {
            0.0 => "off".to_owned(),
            value => format!("{value:.2}"),
        });
    let response = ui.add(field).labelled_by(title.id);
    memory
        .gestures
        .edit(scene, &response, LayerEdit::Smooth(exponent));
    ui.end_row();
}

fn pick<T: PartialEq + Copy>(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    current: T,
    words: &[(T, &str)],
    edit: fn(T) -> LayerEdit,
) {
    ui.horizontal(|ui| {
        for &(value, word) in words {
            if ui.selectable_label(value == current, word).clicked() {
                push(scene, edit(value));
            }
        }
    });
    ui.end_row();
}

fn numbers(ui: &mut Ui, scene: &mut Scene<'_>, settings: &LayerSettings, memory: &mut Memory) {
    let mut steps = settings.clip_search;
    let title = ui.label("Clip search");
    let field = DragValue::new(&mut steps).range(0..=200).suffix(" steps");
    let response = ui.add(field).labelled_by(title.id);
    memory
        .gestures
        .edit(scene, &response, LayerEdit::ClipSearch(steps));
    ui.end_row();
    let mut percent = settings.damping * 100.0;
    let title = ui.label("Damping");
    let field = DragValue::new(&mut percent)
        .range(0.0..=100.0)
        .speed(0.02)
        .suffix(" %");
    let response = ui.add(field).labelled_by(title.id);
    memory
        .gestures
        .edit(scene, &response, LayerEdit::Damping(percent / 100.0));
    ui.end_row();
}

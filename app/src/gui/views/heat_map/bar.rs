//! Order of rows, what colours show, which columns, and the cheapest option of each row below a loss.

use super::grid::Order;
use super::values::Quantity;
use super::{Memory, touch};
use crate::gui::scene::Scene;
use crate::gui::widgets::plot::axis_text;
use crate::studio::Project;
use egui::{Button, DragValue, RichText, Role, Ui, WidgetInfo};

/// Between groups of controls.
const GAP: f32 = 8.0;

/// One frame.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        orders(ui, scene, memory);
        ui.add_space(GAP);
        quantities(ui, project, memory);
        ui.add_space(GAP);
        let groups = Button::selectable(memory.all_groups, "All groups");
        let hint = "A column for every group size, or for the draft's alone";
        if ui.add(groups).on_hover_text(hint).clicked() {
            memory.all_groups = !memory.all_groups;
            memory.cursor = None;
        }
        ui.add_space(GAP);
        cheapest(ui, scene, project, memory);
    });
}

fn orders(ui: &mut Ui, scene: &Scene<'_>, memory: &mut Memory) {
    ui.label(RichText::new("rows by").color(scene.look.colours.weak));
    for (order, word, hint) in [
        (Order::Depth, "Depth", "The model's own order, by block"),
        (
            Order::Sensitivity,
            "Sensitivity",
            "What hurts most at 4 bits first",
        ),
        (Order::Size, "Size", "Most weights first"),
    ] {
        let chosen = memory.order == order;
        let button = ui.add(Button::selectable(chosen, word));
        let label = format!("Rows by {}", word.to_lowercase());
        button.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, &label));
        if button.on_hover_text(hint).clicked() {
            memory.order = order;
        }
    }
}

fn quantities(ui: &mut Ui, project: &Project, memory: &mut Memory) {
    let shown = memory.shown();
    let measure = project.sensitivity.table.measure.name();
    let button = Button::selectable(shown == Quantity::Loss, measure);
    let response = ui.add_enabled(memory.values.has_losses(), button);
    let hint = "Loss of the whole model with one layer alone changed";
    let response = response
        .on_hover_text(hint)
        .on_disabled_hover_text("No loss is predicted or measured yet");
    if response.clicked() {
        memory.quantity = Quantity::Loss;
    }
    let button = Button::selectable(shown == Quantity::Error, "Output error");
    let hint = "Relative error of the layer's output on the inputs that calibrate";
    if ui.add(button).on_hover_text(hint).clicked() {
        memory.quantity = Quantity::Error;
    }
}

fn cheapest(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let button = Button::selectable(memory.cheapest.is_shown, "Cheapest under");
    let hint = "Outlines the option of the fewest bytes whose number is below this, in each row";
    if ui.add(button).on_hover_text(hint).clicked() {
        memory.cheapest.is_shown = !memory.cheapest.is_shown;
    }
    if !memory.cheapest.is_shown {
        return;
    }
    let exponent = match memory.shown() {
        Quantity::Loss => &mut memory.cheapest.loss,
        Quantity::Error => &mut memory.cheapest.error,
    };
    let field = DragValue::new(exponent)
        .range(-9.0..=2.0)
        .speed(0.01)
        .custom_formatter(|exponent, _| axis_text(10_f64.powf(exponent)))
        .custom_parser(|text| {
            let value: f64 = text.trim().parse().ok()?;
            (value > 0.0).then(|| value.log10())
        });
    let response = ui.add(field).on_hover_text("The most of each layer");
    response.widget_info(|| {
        let mut info = WidgetInfo::drag_value(true, 0.0);
        info.label = Some("Most of each layer".to_owned());
        info
    });
    let meant = match project.selection.is_empty() {
        true => "Give each row shown its cheapest option; locked layers stay",
        false => "Give each selected row its cheapest option; locked layers stay",
    };
    let response = ui.button("Apply cheapest").on_hover_text(meant);
    if response.clicked() {
        touch::take_cheapest(scene, project, memory);
    }
}

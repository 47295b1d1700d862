//! The table of metrics: both sides, the difference, and whether it is more than noise.

use crate::gui::scene::Scene;
use crate::gui::widgets::{error_text, interval_text};
use crate::studio::comparison::{Measured, Metric, Unit};
use egui::{Align, Grid, Layout, RichText, Ui, vec2};
use pare_engine::units::Bytes;

pub(super) fn show(ui: &mut Ui, scene: &Scene<'_>, metrics: &[Metric], names: &[String; 2]) {
    if metrics.is_empty() {
        ui.weak("Neither side was measured; choose an evaluation text in the Run view");
        return;
    }
    let weak = scene.look.colours.weak;
    // The name, two sides, the difference.
    let room = ui.available_width() - 32.0;
    let widths = [0.26, 0.24, 0.24, 0.26].map(|share| room * share);
    Grid::new("metrics")
        .striped(true)
        .spacing(vec2(8.0, 2.0))
        .show(ui, |ui| {
            let header = |text: &str| RichText::new(text).color(weak);
            cell(ui, widths[0], Align::Min, header("metric"));
            cell(
                ui,
                widths[1],
                Align::Max,
                header(&format!("A  {}", names[0])),
            );
            cell(
                ui,
                widths[2],
                Align::Max,
                header(&format!("B  {}", names[1])),
            );
            cell(ui, widths[3], Align::Max, header("B − A"));
            ui.end_row();
            for metric in metrics {
                cell(ui, widths[0], Align::Min, metric.name.into());
                for (side, width) in metric.sides.iter().zip([widths[1], widths[2]]) {
                    cell(ui, width, Align::Max, measured(metric.unit, *side).into());
                }
                cell(ui, widths[3], Align::Max, difference(scene, metric));
                ui.end_row();
            }
        });
}

fn cell(ui: &mut Ui, width: f32, align: Align, text: RichText) {
    let layout = match align {
        Align::Max => Layout::right_to_left(Align::Center),
        _ => Layout::left_to_right(Align::Center),
    };
    let size = vec2(width, ui.text_style_height(&egui::TextStyle::Body) + 4.0);
    ui.allocate_ui_with_layout(size, layout, |ui| {
        ui.set_min_width(width);
        ui.add(egui::Label::new(text).truncate());
    });
}

fn measured(unit: Unit, side: Option<Measured>) -> String {
    let Some(side) = side else {
        return "–".to_owned();
    };
    match (side.stderr, unit) {
        (Some(stderr), Unit::Number) => interval_text(side.value, stderr),
        _ => number(unit, side.value),
    }
}

fn difference(scene: &Scene<'_>, metric: &Metric) -> RichText {
    let Some(difference) = metric.difference() else {
        return RichText::new("–").color(scene.look.colours.weak);
    };
    let sign = match difference {
        0.0 => "",
        difference if difference < 0.0 => "−",
        _ => "+",
    };
    let text = format!("{sign}{}", number(metric.unit, difference.abs()));
    match metric.is_within_noise() {
        Some(true) => RichText::new(format!("within noise  {text}")).color(scene.look.colours.weak),
        _ => RichText::new(text),
    }
}

fn number(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => Bytes(value as u64).to_string(),
        Unit::Bits => format!("{value:.2}"),
        Unit::Share => format!("{:.2} %", 100.0 * value),
        Unit::Number if value >= 1.0 => format!("{value:.4}"),
        Unit::Number => error_text(value),
    }
}

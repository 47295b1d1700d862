//! What is told of the cell under the pointer.

use super::Memory;
use super::grid::{Column, Line};
use super::values::Quantity;
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{error_text, sign};
use crate::studio::Project;
use crate::studio::draft::method_name;
use crate::studio::figure::Figure;
use egui::{Grid, Id, PopupAnchor, Response, RichText, Tooltip, Ui};
use pare_engine::report::OptionError;
use pare_engine::settings::LayerOption;
use pare_engine::units::{BitsPerWeight, Bytes};

/// A tooltip at the pointer.
pub(super) fn tell(
    scene: &Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    line: Line,
    column: Column,
    response: &Response,
) {
    let refusal = memory
        .refusals
        .reason(project, line.layer, column.option)
        .map(str::to_owned);
    let id = Id::unique("heat map tooltip");
    let (context, layer) = (response.ctx.clone(), response.layer_id);
    let tooltip = Tooltip::always_open(context, layer, id, PopupAnchor::Pointer);
    tooltip.gap(14.0).show(|ui| {
        title(ui, scene.look, project, line, column);
        facts(ui, project, memory, line, column);
        let weak = scene.look.colours.weak;
        if let Some(reason) = &refusal {
            let format = project.draft().format.word();
            let words = format!("{format} cannot hold it: {reason}");
            ui.label(RichText::new(words).color(scene.look.colours.warning));
        }
        if project.draft().locked[line.layer] {
            ui.label(RichText::new("Locked: takes no other option").color(weak));
        }
    });
}

fn title(ui: &mut Ui, look: &Look, project: &Project, line: Line, column: Column) {
    ui.label(RichText::new(project.layers[line.layer].name.as_str()).strong());
    let of = |settings: &_| LayerOption::of(settings) == Some(column.option);
    let is_chosen = of(&project.draft().settings[line.layer]);
    let proposal = project.proposal.as_ref();
    let is_proposed = proposal.is_some_and(|proposal| of(&proposal.settings[line.layer]));
    let mut words = match column.option {
        LayerOption::Grid { bits, group: 0 } => format!("{bits} bits, one scale per row"),
        LayerOption::Grid { bits, group } => format!("{bits} bits, group {group}"),
        option => option.to_string(),
    };
    if is_chosen {
        words.push_str(" · chosen");
    }
    if is_proposed {
        words.push_str(" · proposed");
    }
    ui.label(RichText::new(words).color(look.colours.weak));
}

fn facts(ui: &mut Ui, project: &Project, memory: &Memory, line: Line, column: Column) {
    let table = &project.sensitivity.table;
    let Some(entry) = line.entry else {
        ui.label("This layer is not judged");
        return;
    };
    let loss = memory.values.get(Quantity::Loss, entry, column.place);
    let error = table.layers[entry].errors[column.place];
    Grid::new("heat map facts").num_columns(2).show(ui, |ui| {
        let mut fact = |name: &str, text: String| {
            ui.weak(name);
            ui.label(text);
            ui.end_row();
        };
        let name = format!("{} with this layer alone", table.measure.name());
        fact(&name, loss.map_or_else(unknown, loss_text));
        if let Some(error) = error {
            judged(&mut fact, error, table.layers[entry].weights);
        } else {
            fact("Output error", unknown());
        }
    });
}

fn judged(fact: &mut impl FnMut(&str, String), error: OptionError, weights: u64) {
    let relative = error.relative_output_error;
    let by = match relative {
        Some(relative) if relative > 0.0 => format!(", {}", method_name(error.method)),
        _ => String::new(),
    };
    let relative = relative.map_or_else(unknown, error_text);
    fact("Relative output error", format!("{relative}{by}"));
    fact("Output error", short(error.output_error));
    let bits = BitsPerWeight::of(Bytes(error.bytes), weights);
    fact("Size", format!("{}, {bits}", Bytes(error.bytes)));
}

fn unknown() -> String {
    "not known yet".to_owned()
}

fn loss_text(loss: Figure) -> String {
    format!(
        "{} {} {}",
        sign(loss.mark),
        short(loss.value),
        loss.mark.word()
    )
    .trim_start()
    .to_owned()
}

/// Three digits, with an exponent where a number is small.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (0.001..1000.0).contains(&size) => error_text(value),
        _ => format!("{value:.2e}"),
    }
}

//! What a proposal comes to: bytes, bits, predicted loss, beside the draft and beside uniform bits of the same bytes.

use super::super::units::{Scale, change_text};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{self, error_text};
use crate::studio::Project;
use crate::studio::figure::Figure;
use crate::studio::proposal::Proposal;
use egui::{Align, Label, Layout, RichText, Ui, vec2};
use pare_engine::units::Bytes;

/// Height of a line.
const HEIGHT: f32 = 18.0;
/// Widths of the columns of bytes and of loss, from the right.
const COLUMNS: [f32; 3] = [60.0, 66.0, 54.0];

/// A line for the proposal, the draft, and uniform bits.
pub(super) fn show(
    ui: &mut Ui,
    scene: &Scene<'_>,
    project: &Project,
    proposal: &Proposal,
    scale: Scale,
    loss: &str,
) {
    ui.spacing_mut().item_spacing.y = 2.0;
    let look = scene.look;
    let weak = |text: &str| RichText::new(text).small().color(look.colours.weak);
    row(ui, weak(""), |ui, column| match column {
        0 => cell(ui, weak(scale.unit.short())),
        1 => cell(ui, weak(loss)),
        _ => {
            ui.label(weak("change"))
                .on_hover_text("How the proposal's predicted loss differs from this one's");
        }
    });
    let predicted = proposal.predicted;
    let line = Numbers {
        bytes: proposal.bytes,
        loss: predicted,
    };
    numbers(ui, look, scale, "Proposal", &line, None);
    let now = Numbers {
        bytes: project.totals.bytes_after,
        loss: project.outlook.now.and_then(|now| now.predicted),
    };
    numbers(ui, look, scale, "Draft now", &now, predicted);
    if let Some(uniform) = &proposal.uniform {
        let name = format!("Uniform {}", uniform.option);
        let line = Numbers {
            bytes: uniform.bytes,
            loss: Some(uniform.predicted),
        };
        numbers(ui, look, scale, &name, &line, predicted);
    }
    if proposal.budget_bytes < proposal.bytes {
        let text = "No choice of bits is as small as the budget";
        ui.label(RichText::new(text).small().color(look.colours.warning));
    }
}

struct Numbers {
    bytes: u64,
    loss: Option<f64>,
}

/// A named line; the last column is how the proposal's loss differs from this one's.
fn numbers(
    ui: &mut Ui,
    look: &Look,
    scale: Scale,
    name: &str,
    line: &Numbers,
    proposed: Option<f64>,
) {
    row(ui, RichText::new(name), |ui, column| match column {
        0 => {
            ui.label(scale.text(line.bytes)).on_hover_text(format!(
                "{}, exactly {} bytes",
                Bytes(line.bytes),
                line.bytes
            ));
        }
        1 => match line.loss {
            Some(value) => {
                widgets::figure(ui, look, Figure::estimated(value), &error_text(value));
            }
            None => cell(ui, RichText::new("–").color(look.colours.weak)),
        },
        _ => {
            let pair = line.loss.zip(proposed);
            let text = pair.map_or_else(String::new, |(own, proposed)| change_text(proposed, own));
            let is_better = pair.is_some_and(|(own, proposed)| proposed < own);
            let colour = match is_better {
                true => look.colours.good,
                false => look.colours.text,
            };
            cell(ui, RichText::new(text).color(colour));
        }
    });
}

/// A name on the left, three columns on the right.
fn row(ui: &mut Ui, name: RichText, mut column: impl FnMut(&mut Ui, usize)) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        let room = (ui.available_width() - COLUMNS.iter().sum::<f32>()).max(40.0);
        ui.allocate_ui_with_layout(
            vec2(room, HEIGHT),
            Layout::left_to_right(Align::Center),
            |ui| {
                ui.set_min_width(room);
                ui.add(Label::new(name).truncate());
            },
        );
        for (index, width) in COLUMNS.into_iter().enumerate() {
            let layout = Layout::right_to_left(Align::Center);
            ui.allocate_ui_with_layout(vec2(width, HEIGHT), layout, |ui| {
                ui.set_min_width(width);
                column(ui, index);
            });
        }
    });
}

fn cell(ui: &mut Ui, text: RichText) {
    ui.label(text);
}

//! What a proposal comes to: bytes, bits, predicted loss, beside the draft and beside uniform bits of the same bytes.

use super::super::units::{Scale, Unit, change_text};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{self, error_text, three_digits};
use crate::studio::Project;
use crate::studio::figure::{Figure, Mark};
use crate::studio::proposal::Proposal;
use egui::{Align, Label, Layout, RichText, Ui, vec2};
use pare_engine::units::Bytes;

/// Height of a line.
const HEIGHT: f32 = 18.0;
/// Widths of the columns: size twice, loss, change.
const COLUMNS: [f32; 4] = [50.0, 40.0, 54.0, 48.0];

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
    let (look, outlook) = (scene.look, &project.outlook);
    let scales = Units {
        scale,
        beside: beside(scale),
        is_of_time: proposal.budget_seconds.is_some(),
    };
    header(ui, look, scales, loss);
    let mark = match outlook.is_stale {
        true => Mark::Stale,
        false => Mark::Estimated,
    };
    let numbers = |name: &str, bytes, seconds, loss: Option<f64>, proposed| Numbers {
        name: name.to_owned(),
        bytes,
        seconds,
        loss: loss.map(|value| Figure { value, mark }),
        proposed,
    };
    let predicted = proposal.predicted;
    let now = outlook.now.and_then(|now| now.predicted);
    let draft_bytes = project.totals.bytes_after;
    let draft_seconds = project
        .latency
        .speed()
        .and_then(|speed| Some(speed.seconds(speed.main_pass())?.value));
    let mut lines = vec![
        numbers(
            "Proposal",
            proposal.bytes,
            proposal.seconds,
            predicted,
            None,
        ),
        numbers("Draft now", draft_bytes, draft_seconds, now, predicted),
    ];
    lines.extend(proposal.uniform.map(|uniform| {
        let name = format!("Uniform {}", uniform.option);
        let loss = Some(uniform.predicted);
        numbers(&name, uniform.bytes, uniform.seconds, loss, predicted)
    }));
    for line in &lines {
        show_numbers(ui, look, scales, line);
    }
    let is_slow = proposal.budget_seconds.zip(proposal.seconds);
    let problem = match is_slow {
        Some((asked, found)) if found > asked * (1.0 + 1e-5) => {
            Some("No choice of bits is as fast as the budget")
        }
        None if proposal.budget_bytes < proposal.bytes => {
            Some("No choice of bits is as small as the budget")
        }
        _ => None,
    };
    if let Some(text) = problem {
        ui.label(RichText::new(text).small().color(look.colours.warning));
    }
}

/// What stands on a line.
struct Numbers {
    name: String,
    bytes: u64,
    seconds: Option<f64>,
    loss: Option<Figure>,
    /// The proposal's loss, to be held against this one's.
    proposed: Option<f64>,
}

/// What the first columns count.
#[derive(Clone, Copy)]
struct Units {
    scale: Scale,
    beside: Scale,
    /// The second column is a time.
    is_of_time: bool,
}

/// The unit of the second column of sizes.
fn beside(scale: Scale) -> Scale {
    let unit = match scale.unit {
        Unit::Bits => Unit::Megabytes,
        _ => Unit::Bits,
    };
    Scale { unit, ..scale }
}

fn header(ui: &mut Ui, look: &Look, units: Units, loss: &str) {
    let weak = |text: &str| RichText::new(text).small().color(look.colours.weak);
    row(ui, weak(""), |ui, column| match column {
        1 if units.is_of_time => {
            ui.label(weak("ms"))
                .on_hover_text("Milliseconds of a token on the chosen device");
        }
        0 | 1 => {
            let scale = [units.scale, units.beside][column];
            ui.label(weak(scale.unit.short()))
                .on_hover_text("Of all layers that can be compressed, dense ones too");
        }
        2 => cell(ui, weak(loss)),
        _ => {
            ui.label(weak("change"))
                .on_hover_text("How the proposal's predicted loss differs from this one's");
        }
    });
}

fn show_numbers(ui: &mut Ui, look: &Look, units: Units, line: &Numbers) {
    row(ui, RichText::new(&line.name), |ui, column| match column {
        1 if units.is_of_time => match line.seconds {
            Some(seconds) => cell(ui, RichText::new(three_digits(1e3 * seconds))),
            None => cell(ui, RichText::new("–").color(look.colours.weak)),
        },
        0 | 1 => {
            let scale = [units.scale, units.beside][column];
            let exact = format!("{}, exactly {} bytes", Bytes(line.bytes), line.bytes);
            ui.label(short(scale, line.bytes)).on_hover_text(exact);
        }
        2 => match line.loss {
            Some(figure) => {
                widgets::figure(ui, look, figure, &error_text(figure.value));
            }
            None => cell(ui, RichText::new("–").color(look.colours.weak)),
        },
        _ => {
            let pair = line.loss.map(|loss| loss.value).zip(line.proposed);
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

/// Two digits of bits are enough to compare.
fn short(scale: Scale, bytes: u64) -> String {
    match scale.unit {
        Unit::Bits => format!("{:.2}", scale.value(bytes)),
        _ => scale.text(bytes),
    }
}

/// A name on the left, columns of numbers on the right.
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

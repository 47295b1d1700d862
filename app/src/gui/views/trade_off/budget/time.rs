//! The budget as a time of each token on the chosen device: a slider between the fastest and the slowest of the front, and
//! a number in milliseconds or tokens per second.
//!
//! Knows no solver and no device: it asks for seconds.

use super::Memory;
use super::slider::{OTHERS_WIDTH, keys};
use crate::gui::scene::Scene;
use crate::gui::widgets::{named, three_digits};
use crate::studio::{Command, Project};
use egui::{ComboBox, RichText, Slider, Ui, Vec2};

/// What the budget is counted in.
pub(super) fn kind(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    ends: [f64; 2],
) {
    let was_of_time = memory.is_of_time;
    let combo = ComboBox::from_id_salt("kind of budget")
        .width(48.0)
        .selected_text(if was_of_time { "time" } else { "size" });
    let combo = combo.show_ui(ui, |ui| {
        ui.selectable_value(&mut memory.is_of_time, false, "size");
        ui.selectable_value(&mut memory.is_of_time, true, "time");
    });
    named(combo.response, "Kind of budget")
        .on_hover_text("Bytes to keep to, or milliseconds of a token on the chosen device");
    let is_of_time = memory.is_of_time;
    if is_of_time == was_of_time || project.proposal.is_none() {
        return;
    }
    // What is proposed stays, told in the other unit.
    scene.push(match is_of_time {
        true => Command::SetLatencyBudget(seconds(project, ends)),
        false => Command::SetBudget(super::slider::budget(project)),
    });
    scene.push(Command::SettleBudget);
}

/// The slider and the number.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    ends: [f64; 2],
) {
    let [low, high] = ends;
    let now = seconds(project, ends);
    let width = (ui.available_width() - OTHERS_WIDTH).clamp(60.0, 420.0);
    ui.spacing_mut().slider_width = width;
    // A value outside would be moved inside, and that would count as asked for.
    let mut milliseconds = (1e3 * now).clamp(1e3 * low, 1e3 * high);
    let slider = Slider::new(&mut milliseconds, 1e3 * low..=1e3 * high).show_value(false);
    let slider = ui.name_inputs("Time budget", |ui| ui.add(slider));
    if slider.changed() {
        memory.problem = None;
        scene.push(Command::SetLatencyBudget(milliseconds / 1e3));
        if !slider.dragged() {
            scene.push(Command::SettleBudget);
        }
    }
    if slider.drag_stopped() {
        scene.push(Command::SettleBudget);
        slider.request_focus();
    }
    keys(ui, scene, project, &slider);
    slider.on_hover_text("Time of a token on the chosen device that proposed bits keep to");
    number(ui, scene, memory, now);
}

/// The time in force: as set, else what the draft takes.
fn seconds(project: &Project, [_, high]: [f64; 2]) -> f64 {
    let proposal = project.proposal.as_ref();
    let set = proposal.and_then(|proposal| proposal.budget_seconds.or(proposal.seconds));
    let draft = || {
        let speed = project.latency.speed()?;
        Some(speed.seconds(speed.main_pass())?.value)
    };
    set.or_else(draft).unwrap_or(high)
}

fn number(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, seconds: f64) {
    let current = three_digits(1e3 * seconds);
    let name = "Time budget as a number";
    let (_, typed) = memory.typed_time.show(ui, name, &current, "ms", 58.0);
    let unit = RichText::new("ms").color(scene.look.colours.weak);
    let size = Vec2::new(26.0, ui.spacing().interact_size.y);
    ui.add_sized(size, egui::Label::new(unit));
    let Some(typed) = typed else {
        return;
    };
    match read(&typed) {
        Some(seconds) => {
            memory.problem = None;
            scene.push(Command::SetLatencyBudget(seconds));
            scene.push(Command::SettleBudget);
        }
        None => {
            memory.problem = Some(format!("{typed:?} is no time; write 5.5 ms or 180 tok/s"));
        }
    }
}

/// Seconds that a person typed: milliseconds, or with a unit.
fn read(text: &str) -> Option<f64> {
    let text = text.trim();
    let is_unit = |letter: char| letter.is_alphabetic() || letter == '/';
    let (number, unit) = text.split_at(text.find(is_unit).unwrap_or(text.len()));
    let value: f64 = number.trim().replace(',', ".").parse().ok()?;
    let seconds = match unit.trim().to_lowercase().as_str() {
        "" | "ms" => value / 1e3,
        "us" | "µs" => value / 1e6,
        "s" => value,
        "tok/s" | "t/s" | "/s" => 1.0 / value,
        _ => return None,
    };
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        for (text, expected) in [
            ("5.5", Some(0.0055)),
            (" 5,5 ms ", Some(0.0055)),
            ("800 us", Some(0.0008)),
            ("800µs", Some(0.0008)),
            ("2 s", Some(2.0)),
            ("200 tok/s", Some(0.005)),
            ("0", None),
            ("-1 ms", None),
            ("0 tok/s", None),
            ("fast", None),
            ("5 MB", None),
        ] {
            let found = read(text);
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => f64::abs(found - expected) < 1e-12,
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(is_near, "{text:?}: {found:?}, expected {expected:?}");
        }
    }
}

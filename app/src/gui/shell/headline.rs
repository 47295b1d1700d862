//! The figures that are always in sight: size, bits, quality, speed, fit. Each has a fixed place, so nothing jumps.
//!
//! Reads the studio, computes nothing but sums that devices define. The least important places go first where the window
//! is narrow.

use crate::gui::scene::Scene;
use crate::gui::views::size::speed::{device_rows, measure, tokens_band};
use crate::gui::widgets::{error_text, mark_hint, sign, time_text, tokens_text};
use crate::studio::action::{Action, View};
use crate::studio::figure::Mark;
use crate::studio::latency::{Pass, Speed};
use crate::studio::project::Project;
use crate::studio::{Command, quality};
use egui::{
    Align2, FontId, Popup, PopupCloseBehavior, Rect, Response, ScrollArea, Sense, Ui, pos2, vec2,
};
use pare_engine::units::Bytes;

/// One place: its words, the figure in it, and how it is known.
struct Place {
    caption: String,
    value: String,
    hint: String,
    width: f32,
    is_alarm: bool,
    is_weak: bool,
    /// A click asks which device it is about.
    opens_devices: bool,
}

/// Height of a place.
const HEIGHT: f32 = 34.0;

/// Draws as many places as fit, right to left, the most important ones always; then the run's progress.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>) {
    let Some(project) = scene.project() else {
        progress(ui, scene);
        return;
    };
    // In the order of importance: what does not fit is left out from the end.
    let places = [
        size(project),
        bits(project),
        loss(scene).unwrap_or_else(|| quality(project)),
        speed(project),
        fit(scene, project),
    ];
    let running = scene.studio.active.is_some() || scene.studio.side_job.is_some();
    let mut room = ui.available_width() - if running { PROGRESS_WIDTH + 8.0 } else { 0.0 };
    let gap = ui.spacing().item_spacing.x;
    let shown = places.iter().take_while(|place| {
        room -= place.width + gap;
        room >= 0.0
    });
    // The bar fills from its right edge.
    let shown: Vec<&Place> = shown.collect();
    for place in shown.iter().rev() {
        draw(ui, scene, place);
    }
    progress(ui, scene);
}

fn draw(ui: &mut Ui, scene: &mut Scene<'_>, place: &Place) {
    let (sense, role) = match place.opens_devices {
        true => (Sense::click(), egui::Role::Button),
        false => (Sense::hover(), egui::Role::Label),
    };
    let (rect, response) = ui.allocate_exact_size(vec2(place.width, HEIGHT), sense);
    let (look, painter) = (scene.look, ui.painter());
    if place.opens_devices && response.hovered() {
        painter.rect_filled(rect, look.measures.corner, look.colours.hover);
    }
    painter.vline(
        rect.left() - 4.0,
        rect.shrink2(vec2(0.0, 6.0)).y_range(),
        (1.0, look.colours.line),
    );
    let left = rect.left() + 4.0;
    let colour = match (place.is_alarm, place.is_weak) {
        (true, _) => look.colours.error,
        (_, true) => look.colours.weak,
        _ => look.colours.strong,
    };
    painter.text(
        pos2(left, rect.top() + 3.0),
        Align2::LEFT_TOP,
        &place.caption,
        FontId::proportional(look.measures.small),
        look.colours.weak,
    );
    painter.text(
        pos2(left, rect.bottom() - 2.0),
        Align2::LEFT_BOTTOM,
        &place.value,
        FontId::proportional(look.measures.text + 1.0),
        colour,
    );
    let text = format!("{} {}", place.caption, place.value);
    response.widget_info(|| egui::WidgetInfo::labeled(role, true, &text));
    let response = response.on_hover_text(&place.hint);
    if place.opens_devices {
        devices(&response, scene);
    }
}

fn size(project: &Project) -> Place {
    let before = project.bytes().0;
    let after = match project.planned_bytes() {
        Some(Ok(after)) => after,
        unknown => return unplanned(unknown.and_then(Result::err)),
    };
    let change = 100.0 * (after as f64 / before.max(1) as f64 - 1.0);
    Place {
        caption: "Size".to_owned(),
        value: format!("{} ({})", Bytes(after), percent(change)),
        hint: format!(
            "{} before, {} after; {}",
            Bytes(before),
            Bytes(after),
            mark_hint(Mark::Exact)
        ),
        width: 114.0,
        is_alarm: false,
        is_weak: false,
        opens_devices: false,
    }
}

/// The size of a smaller network before a dry run has told it, or where there can be none.
fn unplanned(reason: Option<String>) -> Place {
    Place {
        caption: "Size".to_owned(),
        value: "–".to_owned(),
        hint: reason.unwrap_or_else(|| "The smaller network is being planned".to_owned()),
        width: 114.0,
        is_alarm: false,
        is_weak: true,
        opens_devices: false,
    }
}

/// A change as people write it: a true minus sign, no decimals.
fn percent(change: f64) -> String {
    match change.round() {
        change if change < 0.0 => format!("−{} %", -change),
        change if change > 0.0 => format!("+{change} %"),
        _ => "±0 %".to_owned(),
    }
}

fn bits(project: &Project) -> Place {
    Place {
        caption: "Bits / weight".to_owned(),
        value: format!("{:.2} bpw", project.totals.bits_per_weight()),
        hint: "Stored bits for each weight of layers that can be compressed: scales, zeros and padding included"
            .to_owned(),
        width: 74.0,
        is_alarm: false,
        is_weak: false,
        opens_devices: false,
    }
}

/// The loss of what is chosen, once a run made known how large losses are.
fn loss(scene: &Scene<'_>) -> Option<Place> {
    let figure = quality::headline(scene.studio)?;
    let name = quality::loss_name(scene.studio);
    Some(Place {
        caption: format!("{name}, {}", figure.mark.word()),
        value: format!("{}{}", sign(figure.mark), error_text(figure.value)),
        hint: format!("{name} against the original. {}", loss_hint(figure.mark)),
        width: 108.0,
        is_alarm: false,
        is_weak: figure.mark == Mark::Stale,
        opens_devices: false,
    })
}

fn loss_hint(mark: Mark) -> &'static str {
    match mark {
        Mark::Measured => "Measured by a run with exactly this recipe",
        _ => {
            "A rough guide: grows with the squared error of layers, as in the runs measured so far"
        }
    }
}

fn quality(project: &Project) -> Place {
    let error = project.totals.error;
    let (caption, value, hint) = match error {
        Some(error) => (
            format!("Error, {}", error.mark.word()),
            format!("{}{}", sign(error.mark), error_text(error.value)),
            format!(
                "Root of the mean squared relative error of all compressed layers. {}",
                mark_hint(error.mark)
            ),
        ),
        None => (
            "Error".to_owned(),
            "…".to_owned(),
            "Not every layer is estimated yet".to_owned(),
        ),
    };
    Place {
        caption,
        value,
        hint,
        width: 108.0,
        is_alarm: false,
        is_weak: error.is_none_or(|error| error.mark == Mark::Stale),
        opens_devices: false,
    }
}

fn speed(project: &Project) -> Place {
    let answer = project.latency.speed();
    let rate = answer.and_then(|speed| Some((speed, speed.tokens_per_second()?)));
    let prompt = answer.and_then(|speed| Some((speed, speed.seconds(Pass::Prefill)?)));
    let (what, value, hint) = match (rate, prompt) {
        (Some((speed, rate)), _) => (
            speed.mark().word(),
            format!("{}{} tok/s", sign(speed.mark()), tokens_text(rate.value)),
            format!(
                "{} tok/s on {}. {}",
                tokens_band(rate),
                device(speed),
                speed.basis()
            ),
        ),
        (None, Some((speed, prompt))) => (
            speed.mark().word(),
            format!("{}{}", sign(speed.mark()), time_text(prompt.value)),
            format!(
                "{} to {} for {} tokens on {}. {}",
                time_text(prompt.low),
                time_text(prompt.high),
                speed.estimate.prompt,
                device(speed),
                speed.basis()
            ),
        ),
        (None, None) => (
            "not known",
            "–".to_owned(),
            project.latency.reason().unwrap_or("…").to_owned(),
        ),
    };
    let of_what = match project.draft().structure.is_none() {
        true => "",
        false => "\nOf the network before parts are taken out; open the written one for its own",
    };
    Place {
        caption: format!("Speed, {what}"),
        is_weak: answer.is_none(),
        hint: format!("{hint}{of_what}\nClick to choose a device"),
        value,
        width: 110.0,
        is_alarm: false,
        opens_devices: true,
    }
}

fn device(speed: &Speed) -> String {
    let estimate = &speed.estimate;
    match speed.profile.engines.len() {
        1 => estimate.device.clone(),
        _ => format!("{} ({})", estimate.device, estimate.engine),
    }
}

fn fit(scene: &Scene<'_>, project: &Project) -> Place {
    let device = &scene.studio.preferences.device;
    let name = scene.studio.devices.find(device).name;
    let demand = project.latency.demand;
    let spare = demand.and_then(|demand| demand.spare_bytes());
    let (value, hint) = match (demand, spare) {
        (Some(demand), Some(spare)) => {
            let needed = Bytes(demand.memory.total);
            let room = Bytes(demand.room_bytes.unwrap_or_default());
            let value = match spare >= 0 {
                true => format!("fits {room}"),
                false => format!("needs {needed}"),
            };
            let cache = Bytes(demand.memory.kv_cache);
            let hint =
                format!("Needs {needed}, {cache} of it for keys and values; {name} has {room}");
            (value, hint)
        }
        (Some(demand), None) => (
            format!("needs {}", Bytes(demand.memory.total)),
            format!("The memory of {name} is not known"),
        ),
        (None, _) => (
            "–".to_owned(),
            project.latency.reason().unwrap_or("…").to_owned(),
        ),
    };
    Place {
        caption: "Memory".to_owned(),
        is_alarm: spare.is_some_and(|spare| spare < 0),
        is_weak: spare.is_none(),
        hint: format!("{hint}\nClick to choose a device"),
        value,
        width: 92.0,
        opens_devices: true,
    }
}

/// What a click on a figure of a device opens: the devices, and where more is said.
fn devices(response: &Response, scene: &mut Scene<'_>) {
    let mut asked = None;
    Popup::menu(response)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .show(|ui| {
            ui.set_min_width(260.0);
            let mut preferences = scene.studio.preferences.clone();
            let rows = ScrollArea::vertical().max_height(380.0).show(ui, |ui| {
                device_rows(ui, &scene.studio.devices, &mut preferences)
            });
            if rows.inner {
                asked = Some(preferences);
                ui.close();
            }
            ui.separator();
            ui.horizontal(|ui| measure(ui, scene, scene.studio.devices.is_measured()));
            if ui.button("Show size and latency").clicked() {
                scene.act(Action::Show(View::Size));
                ui.close();
            }
        });
    if let Some(preferences) = asked {
        scene.push(Command::Prefer(preferences));
    }
}

const PROGRESS_WIDTH: f32 = 110.0;

/// What is at work, as a small bar.
fn progress(ui: &mut Ui, scene: &mut Scene<'_>) {
    let (share, text) = if let Some(active) = &scene.studio.active {
        let progress = &active.progress;
        let share = match (progress.layers, progress.total) {
            (0, 0) => 0.0,
            (0, total) => progress.done as f32 / total as f32,
            (layers, _) => progress.layers_done as f32 / layers as f32,
        };
        (share, progress.stage.clone())
    } else if let Some(job) = &scene.studio.side_job {
        (job.share.unwrap_or(0.0), job.name.clone())
    } else {
        return;
    };
    let (rect, response) = ui.allocate_exact_size(vec2(PROGRESS_WIDTH, HEIGHT), Sense::click());
    let (look, painter) = (scene.look, ui.painter().with_clip_rect(rect));
    painter.text(
        rect.left_top() + vec2(0.0, 3.0),
        Align2::LEFT_TOP,
        &text,
        FontId::proportional(look.measures.small),
        look.colours.weak,
    );
    let track = Rect::from_min_max(
        pos2(rect.left(), rect.bottom() - 12.0),
        pos2(rect.right(), rect.bottom() - 6.0),
    );
    painter.rect_filled(track, 3, look.colours.line);
    let mut done = track;
    done.set_width(track.width() * share.clamp(0.0, 1.0));
    painter.rect_filled(done, 3, look.colours.accent);
    let name = format!("{text}, {:.0} %", share * 100.0);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
    if response
        .on_hover_text(format!("{name}; click to show it"))
        .clicked()
    {
        let view = scene.studio.view_at_work();
        scene.act(crate::studio::Action::Show(view));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_speeds_read_as_people_write_them() {
        for (change, expected) in [(-74.2, "−74 %"), (0.2, "±0 %"), (12.0, "+12 %")] {
            assert_eq!(percent(change), expected, "{change}");
        }
        for (speed, expected) in [
            (0.44, "0.4"),
            (182.3, "182"),
            (12_345.0, "12 k"),
            (2.5e6, "2.5 M"),
        ] {
            assert_eq!(tokens_text(speed), expected, "{speed}");
        }
    }
}

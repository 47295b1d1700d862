//! The run at work: stage, layers, pace, what is left; pause and stop; the runs that wait.

use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::action::{Action, View};
use crate::studio::runs::{ActiveRun, Progress, RunStatus};
use egui::{Align, Layout, ProgressBar, RichText, Ui, vec2};
use egui_material_icons::icons::{ICON_CLOSE, ICON_PAUSE, ICON_PLAY_ARROW, ICON_STOP};
use pare_engine::units::Bytes;

/// Width of a figure with its caption: nothing moves when a digit comes.
const FIGURE_WIDTH: f32 = 88.0;

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>) {
    match scene.studio.active.clone() {
        Some(active) => at_work(ui, scene, &active),
        None => resumable(ui, scene),
    }
    side_job(ui, scene);
    waiting(ui, scene);
}

fn at_work(ui: &mut Ui, scene: &mut Scene<'_>, active: &ActiveRun) {
    let progress = &active.progress;
    let paused = active.control.is_paused();
    ui.horizontal(|ui| {
        let name = scene.studio.run(active.id).map(|run| run.name.clone());
        ui.label(RichText::new(name.unwrap_or_default()).strong());
        let (word, colour) = match (active.stopping, paused) {
            (true, _) => ("stopping…", scene.look.colours.warning),
            (false, true) => ("paused", scene.look.colours.warning),
            (false, false) => ("", scene.look.colours.weak),
        };
        ui.label(RichText::new(word).color(colour));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let stop = format!("{} Stop", ICON_STOP.codepoint);
            let stop = ui.add_enabled(!active.stopping, egui::Button::new(stop));
            if stop
                .on_hover_text("What is finished is kept; Resume goes on from it")
                .clicked()
            {
                scene.act(Action::StopRun);
            }
            let pause = match paused {
                true => format!("{} Continue", ICON_PLAY_ARROW.codepoint),
                false => format!("{} Pause", ICON_PAUSE.codepoint),
            };
            let pause = egui::Button::new(pause).min_size(vec2(96.0, 0.0));
            if ui.add_enabled(!active.stopping, pause).clicked() {
                scene.act(Action::PauseRun);
            }
        });
    });
    bar(ui, scene, progress);
    figures(ui, scene, progress);
    ui.add_space(scene.look.measures.grid);
    ui.separator();
}

/// One bar for the stage; the words beside it say which step.
fn bar(ui: &mut Ui, scene: &Scene<'_>, progress: &Progress) {
    let share = match progress.total {
        0 => 0.0,
        total => progress.done as f32 / total as f32,
    };
    let text = match progress.total {
        0 => progress.stage.clone(),
        total => format!("{}  {} of {total}", progress.stage, progress.done),
    };
    let bar = ProgressBar::new(share)
        .desired_height(scene.look.measures.row_height - 4.0)
        .fill(scene.look.colours.accent_fill)
        .text(text);
    ui.add(bar).on_hover_text("Steps of this stage");
}

fn figures(ui: &mut Ui, scene: &mut Scene<'_>, progress: &Progress) {
    let unknown = || "–".to_owned();
    // A training solves no layers; the train view has its figures.
    if progress.layers == 0 {
        return training(ui, scene, progress);
    }
    let figures = [
        (
            "layers",
            format!("{} / {}", progress.layers_done, progress.layers),
        ),
        (
            "per layer",
            progress.seconds_per_layer.map_or_else(unknown, seconds),
        ),
        ("left", progress.eta_seconds.map_or_else(unknown, seconds)),
        ("elapsed", seconds(progress.elapsed_seconds)),
        ("memory", Bytes(progress.resident_bytes).to_string()),
    ];
    ui.horizontal_wrapped(|ui| {
        for (caption, text) in figures {
            figure(ui, scene, caption, &text, FIGURE_WIDTH);
        }
        let last = progress.last_layer.clone().unwrap_or_else(unknown);
        figure(ui, scene, "last layer", &last, 2.5 * FIGURE_WIDTH);
    });
}

fn training(ui: &mut Ui, scene: &mut Scene<'_>, progress: &Progress) {
    ui.horizontal_wrapped(|ui| {
        let elapsed = seconds(progress.elapsed_seconds);
        figure(ui, scene, "elapsed", &elapsed, FIGURE_WIDTH);
        let memory = Bytes(progress.resident_bytes).to_string();
        figure(ui, scene, "memory", &memory, FIGURE_WIDTH);
        scene.action_button(ui, Action::Show(View::Train));
    });
}

/// A number under its caption.
pub(in crate::gui::views) fn figure(
    ui: &mut Ui,
    scene: &Scene<'_>,
    caption: &str,
    text: &str,
    width: f32,
) {
    let measures = &scene.look.measures;
    let height = measures.row_height + measures.small;
    ui.allocate_ui_with_layout(vec2(width, height), Layout::top_down(Align::Min), |ui| {
        ui.set_min_width(width);
        ui.spacing_mut().item_spacing.y = 0.0;
        ui.label(
            RichText::new(caption)
                .small()
                .color(scene.look.colours.weak),
        );
        ui.add(egui::Label::new(text).truncate());
    });
}

/// Seconds as people read them: `0.21 s`, `45 s`, `12 min 5 s`, `3 h 4 min`.
pub(in crate::gui::views) fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        0..90 => format!("{whole} s"),
        90..5400 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The newest run of this model that was stopped, and the button that goes on with it.
fn resumable(ui: &mut Ui, scene: &mut Scene<'_>) {
    let Some(id) = scene.studio.resumable() else {
        return;
    };
    let Some(run) = scene.studio.run(id) else {
        return;
    };
    let (text, colour) = match &run.status {
        RunStatus::Failed(reason) => (
            format!("{} failed: {reason}", run.name),
            scene.look.colours.error,
        ),
        status => (
            format!(
                "{} is {}; {} kept",
                run.name,
                status.word(),
                match run.training {
                    Some(_) => "its state is",
                    None => "its finished layers are",
                }
            ),
            scene.look.colours.text,
        ),
    };
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            scene.action_button(ui, Action::ResumeRun);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let label = egui::Label::new(RichText::new(&text).color(colour)).truncate();
                ui.add(label).on_hover_text(&text);
            });
        });
    });
    ui.separator();
}

/// A measuring, an export or a text being written.
fn side_job(ui: &mut Ui, scene: &mut Scene<'_>) {
    let Some(job) = &scene.studio.side_job else {
        return;
    };
    let (name, stopped) = (job.name.clone(), job.control.is_stopped());
    ui.horizontal(|ui| {
        let word = match stopped {
            true => "stopping…".to_owned(),
            false => name,
        };
        ui.label(word);
        let stop = format!("{} Stop this", ICON_STOP.codepoint);
        if ui.add_enabled(!stopped, egui::Button::new(stop)).clicked() {
            scene.push(Command::StopGenerating);
        }
    });
}

fn waiting(ui: &mut Ui, scene: &mut Scene<'_>) {
    let waiting: Vec<_> = scene.studio.waiting.iter().map(|order| order.id).collect();
    for (place, id) in waiting.into_iter().enumerate() {
        let name = scene.studio.run(id).map(|run| run.name.clone());
        let name = name.unwrap_or_default();
        ui.horizontal(|ui| {
            ui.label(RichText::new(format!("{}.", place + 1)).color(scene.look.colours.weak));
            ui.label(&name);
            ui.label(RichText::new("waits").color(scene.look.colours.weak));
            let remove = ui.small_button(format!("{} Remove", ICON_CLOSE.codepoint));
            if remove
                .on_hover_text(format!("Take {name} out of the queue"))
                .clicked()
            {
                scene.push(Command::Unqueue(id));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_read_as_people_say_them() {
        let cases = [
            (0.214, "0.21 s"),
            (45.4, "45 s"),
            (725.0, "12 min 5 s"),
            (11_045.0, "3 h 4 min"),
        ];
        for (value, expected) in cases {
            assert_eq!(seconds(value), expected);
        }
    }
}

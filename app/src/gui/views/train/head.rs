//! The first row: which training is shown, how it stands, and the buttons that fit.

use crate::gui::scene::Scene;
use crate::gui::widgets::elided;
use crate::studio::Command;
use crate::studio::action::Action;
use crate::studio::runs::{ActiveRun, Run, RunStatus};
use egui::{Align, Button, ComboBox, Label, Layout, RichText, Ui, vec2};
use egui_material_icons::icons::{ICON_PAUSE, ICON_PLAY_ARROW, ICON_STOP};

/// Width of the list of trainings.
const LIST_WIDTH: f32 = 150.0;

/// `shows_setup` is where a narrow pane keeps which half it shows.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, shows_setup: Option<&mut Option<bool>>) {
    let shown = scene.studio.shown_training().cloned();
    let active = scene.studio.active.clone();
    let active = active.filter(|active| shown.as_ref().is_some_and(|run| run.id == active.id));
    ui.horizontal(|ui| {
        if let Some(shows_setup) = shows_setup {
            halves(ui, shows_setup, shown.is_some());
        }
        list(ui, scene, shown.as_ref(), active.is_some());
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            match &active {
                Some(active) => at_work(ui, scene, active),
                None => at_rest(ui, scene, shown.as_ref()),
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                words(ui, scene, shown.as_ref(), active.as_ref());
            });
        });
    });
}

fn halves(ui: &mut Ui, shows_setup: &mut Option<bool>, has_training: bool) {
    let mut is_setup = shows_setup.unwrap_or(!has_training);
    let before = is_setup;
    ui.selectable_value(&mut is_setup, true, "Setup");
    ui.selectable_value(&mut is_setup, false, "Curves");
    if is_setup != before {
        *shows_setup = Some(is_setup);
    }
}

/// Trainings of the open model, to look at; the one at work stays in sight.
fn list(ui: &mut Ui, scene: &mut Scene<'_>, shown: Option<&Run>, is_at_work: bool) {
    let Some(shown) = shown else {
        return;
    };
    let name = elided(ui, &shown.name, LIST_WIDTH - 24.0);
    if is_at_work {
        ui.label(RichText::new(name).strong());
        return;
    }
    let studio = scene.studio;
    let combo = ComboBox::from_id_salt("training shown")
        .selected_text(name)
        .width(LIST_WIDTH)
        .show_ui(ui, |ui| {
            for run in studio.runs_of_model().filter(|run| run.training.is_some()) {
                let chosen = ui.selectable_label(run.id == shown.id, &run.name);
                if chosen.clicked() {
                    scene.push(Command::ShowCurve(Some(run.id)));
                }
            }
        });
    combo.response.on_hover_text("Training shown");
}

fn at_work(ui: &mut Ui, scene: &mut Scene<'_>, active: &ActiveRun) {
    let stop = format!("{} Stop", ICON_STOP.codepoint);
    let stop = ui.add_enabled(!active.stopping, Button::new(stop));
    let hint = "The state is kept; Continue goes on from it";
    if stop.on_hover_text(hint).clicked() {
        scene.act(Action::StopRun);
    }
    let pause = match active.control.is_paused() {
        true => format!("{} Resume", ICON_PLAY_ARROW.codepoint),
        false => format!("{} Pause", ICON_PAUSE.codepoint),
    };
    let pause = Button::new(pause).min_size(vec2(88.0, 0.0));
    if ui.add_enabled(!active.stopping, pause).clicked() {
        scene.act(Action::PauseRun);
    }
}

fn at_rest(ui: &mut Ui, scene: &mut Scene<'_>, shown: Option<&Run>) {
    scene.action_button(ui, Action::CopyTraining);
    scene.action_button(ui, Action::StartTraining);
    let Some(run) = shown.filter(|run| run.status.is_resumable()) else {
        return;
    };
    let is_open = scene.project().is_some_and(|one| one.path == run.model);
    let button = ui.add_enabled(is_open, Button::new("Continue"));
    let button = button.on_disabled_hover_text("Open the first teacher to go on");
    if button
        .on_hover_text("Goes on from the last stored step")
        .clicked()
    {
        scene.push(Command::Resume(run.id));
    }
}

/// How the training stands; else why none can start.
fn words(ui: &mut Ui, scene: &Scene<'_>, shown: Option<&Run>, active: Option<&ActiveRun>) {
    let colours = &scene.look.colours;
    let reason = || Action::StartTraining.availability(scene.studio).err();
    let (text, colour) = match (active, shown.map(|run| &run.status)) {
        (Some(active), _) if active.stopping => ("stopping…".to_owned(), colours.warning),
        (Some(active), _) if active.control.is_paused() => ("paused".to_owned(), colours.warning),
        (Some(active), _) => (active.progress.stage.clone(), colours.weak),
        (None, Some(RunStatus::Failed(reason))) => (format!("failed: {reason}"), colours.error),
        (None, Some(status)) if status.is_resumable() => (
            format!("{}, can be continued", status.word()),
            colours.warning,
        ),
        (None, Some(RunStatus::Waiting)) => ("waits".to_owned(), colours.weak),
        _ => match reason() {
            Some(reason) => (reason, colours.warning),
            None => return,
        },
    };
    let label = Label::new(RichText::new(&text).color(colour)).truncate();
    ui.add(label).on_hover_text(&text);
}

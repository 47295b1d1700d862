//! What can be done with a run.

use super::Memory;
use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::action::View;
use crate::studio::effect::Purpose;
use crate::studio::runs::{Run, RunStatus};
use egui::Ui;

/// The menu of a row. An entry that cannot be done says why.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, run: &Run) {
    let open = scene.project().map(|project| project.path.clone());
    let is_open = match open.as_ref() == Some(&run.model) {
        true => Ok(()),
        false => Err("Open the run's model first"),
    };
    let is_done = match run.status == RunStatus::Done {
        true => Ok(()),
        false => Err("The run is not finished"),
    };
    let can_resume = match run.status.is_resumable() {
        true => is_open,
        false => Err("Only a run that was cut off can be resumed"),
    };
    let can_export = match run.has_layers() {
        false => Err("A trained student is an ordinary model: open it, then compress it"),
        true => is_done,
    };
    let pinned = scene.studio.runs.iter();
    let pinned = pinned.filter(|other| other.pinned && other.id != run.id);
    let pinned = pinned.map(|other| other.id).next();
    let has_pinned = is_done.and(pinned.map(|_| ()).ok_or("No other run is pinned"));
    let pin = if run.pinned {
        "Unpin"
    } else {
        "Pin as baseline"
    };

    let compare = |left| {
        vec![
            Command::Compare(left, Some(run.id)),
            Command::Show(View::Compare),
        ]
    };
    let entries = [
        ("Clone and edit", is_open, vec![Command::CloneRun(run.id)]),
        ("Resume", can_resume, vec![Command::Resume(run.id)]),
        ("Measure again", is_done, vec![Command::Evaluate(run.id)]),
        ("Compare with the original", is_done, compare(None)),
        ("Compare with the baseline", has_pinned, compare(pinned)),
        (pin, Ok(()), vec![Command::Pin(run.id)]),
        (
            "Open as model",
            is_done,
            vec![Command::Open(run.out.clone())],
        ),
        ("Export…", can_export, vec![Command::Show(View::Export)]),
        (
            "Save report…",
            is_done,
            vec![Command::Choose(Purpose::SaveReport(run.id))],
        ),
    ];
    for (text, availability, commands) in entries {
        if entry(ui, text, availability) {
            scene.commands.extend(commands);
            ui.close();
        }
    }
    ui.separator();
    if entry(ui, "Rename", Ok(())) {
        memory.renaming = Some((run.id, run.name.clone()));
        ui.close();
    }
    if entry(ui, "Copy recipe", Ok(())) {
        ui.ctx().copy_text(run.recipe_toml.clone());
        ui.close();
    }
    if entry(ui, "Copy folder path", Ok(())) {
        ui.ctx().copy_text(run.out.display().to_string());
        ui.close();
    }
    let at_work = matches!(run.status, RunStatus::Running);
    let can_forget = match at_work {
        true => Err("The run is at work"),
        false => Ok(()),
    };
    if entry(ui, "Forget…", can_forget) {
        memory.forgetting = Some(run.id);
        ui.close();
    }
}

fn entry(ui: &mut Ui, text: &str, availability: Result<(), &str>) -> bool {
    let response = ui.add_enabled(availability.is_ok(), egui::Button::new(text));
    match availability {
        Ok(()) => response.clicked(),
        Err(reason) => {
            response.on_disabled_hover_text(reason);
            false
        }
    }
}

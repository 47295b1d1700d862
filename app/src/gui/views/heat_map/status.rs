//! The top line: how much of the table is there, what made it, and the buttons that make more of it.

use super::Memory;
use super::values::{Facts, Quantity};
use crate::gui::scene::Scene;
use crate::studio::Project;
use crate::studio::action::Action;
use crate::studio::draft::method_name;
use crate::studio::figure::short_count;
use crate::studio::sensitivity::{SensitivityState, SensitivityStep};
use egui::{Align, Button, Color32, Label, Layout, ProgressBar, RichText, Role, Ui, WidgetInfo};
use pare_engine::report::{Measure, SensitivityTable};
use pare_engine::session::Agreement;

/// One frame.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &Memory) {
    let sensitivity = &project.sensitivity;
    let row_height = scene.look.measures.row_height;
    ui.allocate_ui_with_layout(
        egui::vec2(ui.available_width(), row_height),
        Layout::right_to_left(Align::Center),
        |ui| {
            match &sensitivity.state {
                SensitivityState::Measuring(step) => progress(ui, scene, step),
                _ => buttons(ui, scene),
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let (mut words, colour) = preface(scene, &sensitivity.state);
                words.push_str(&facts(project, memory));
                let label = RichText::new(&words).color(colour);
                ui.add(Label::new(label).truncate()).on_hover_text(&words);
            });
        },
    );
}

fn buttons(ui: &mut Ui, scene: &mut Scene<'_>) {
    let full =
        "Errors of the draft's own method, and the loss with each layer alone changed: minutes";
    let quick = "Errors of plain rounding, and one gradient pass: seconds";
    button(ui, scene, Action::MeasureSensitivity, "Measure", full);
    button(ui, scene, Action::SketchSensitivity, "Quick", quick);
}

/// A button with one word of an action's label; readers of the screen get the whole.
fn button(ui: &mut Ui, scene: &mut Scene<'_>, action: Action, word: &str, hint: &str) {
    let availability = action.availability(scene.studio);
    let enabled = availability.is_ok();
    let response = ui.add_enabled(enabled, Button::new(word));
    let label = action.label();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, &label));
    let response = match availability {
        Ok(()) => response.on_hover_text(hint),
        Err(reason) => response.on_disabled_hover_text(reason),
    };
    if response.clicked() {
        scene.act(action);
    }
}

fn progress(ui: &mut Ui, scene: &mut Scene<'_>, step: &SensitivityStep) {
    let hint = "What is finished is kept";
    button(ui, scene, Action::StopSensitivity, "Stop", hint);
    if step.total == 0 {
        return;
    }
    let bar = ProgressBar::new(step.done as f32 / step.total as f32)
        .desired_width(96.0)
        .desired_height(scene.look.measures.row_height - 4.0)
        .fill(scene.look.colours.accent_fill)
        .text(format!("{} of {}", step.done, step.total));
    ui.add(bar).on_hover_text("Steps of this stage");
}

/// What must be said of the table before its facts, and the colour of all that is said.
fn preface(scene: &Scene<'_>, state: &SensitivityState) -> (String, Color32) {
    let colours = &scene.look.colours;
    match state {
        SensitivityState::Stale => (
            "Stale, for another method or calibration than the draft's · ".to_owned(),
            colours.warning,
        ),
        SensitivityState::Measuring(step) => (format!("{} · ", step.stage), colours.weak),
        SensitivityState::Failed(reason) => (format!("{reason} · "), colours.error),
        _ => (String::new(), colours.weak),
    }
}

fn facts(project: &Project, memory: &Memory) -> String {
    let sensitivity = &project.sensitivity;
    let (table, facts) = (&sensitivity.table, memory.values.facts);
    let cells = project.rows.total * table.options.len();
    let mut parts = Vec::new();
    if !project.filter.is_empty() {
        let shown = memory.grid.lines.len();
        parts.push(format!("{shown} of {} layers", project.rows.total));
    }
    parts.push(format!("{} of {cells} cells", facts.judged));
    let unit = match table.measure {
        Measure::Kl => "tokens",
        Measure::CosineDistance => "sentences",
    };
    let scored = short_count(table.scored);
    let predicted = memory.values.span(Quantity::Loss).is_some();
    match (facts.probes, predicted) {
        (0, false) => {}
        (0, true) => parts.push(format!("losses by one gradient pass on {scored} {unit}")),
        _ => parts.push(format!("losses measured on {scored} {unit}")),
    }
    parts.extend(makers(table, facts));
    parts.extend(sensitivity.agreement.as_ref().and_then(agreed));
    parts.join(" · ")
}

/// Who judged the cells.
fn makers(table: &SensitivityTable, facts: Facts) -> Option<String> {
    let own = method_name(table.method);
    let (by_method, by_rounding) = (facts.by_method, facts.by_rounding);
    Some(match (by_method, by_rounding) {
        (0, 0) => return None,
        (_, 0) => format!("errors by {own}"),
        (0, _) => "errors by rounding".to_owned(),
        _ => format!("errors by {own}, {by_rounding} by rounding"),
    })
}

/// How gains by gradient agree with those that were measured.
fn agreed(agreement: &Agreement) -> Option<String> {
    let rank = agreement.rank_correlation?;
    let ratio = match agreement.median_ratio {
        Some(ratio) => format!(", median ratio {ratio:.2}"),
        None => String::new(),
    };
    Some(format!(
        "gradient against measured: rank correlation {rank:.2}{ratio}"
    ))
}

//! The budget as a slider with marks at uniform bits, and as a number that is taken exactly.
//!
//! Arrows step, Enter applies the proposal, Escape drops it. Knows no solver: it asks for bytes.

use super::super::units::{Scale, snapped};
use super::{Memory, short_button, time};
use crate::gui::scene::Scene;
use crate::studio::action::Action;
use crate::studio::{Command, Project};
use egui::{EventFilter, Key, Response, RichText, Slider, Stroke, Ui, Vec2};
use std::ops::RangeInclusive;

/// Keys of the budget, for the list of shortcuts.
pub const KEYS: [(&str, &str); 3] = [
    ("Left Right", "Step the budget"),
    ("Enter", "Apply the proposed bits"),
    ("Escape", "Discard the proposed bits"),
];

/// Room for everything beside the slider.
pub(super) const OTHERS_WIDTH: f32 = 268.0;
/// How near a mark the slider must be to be caught by it, as a share of its way.
const REACH: f64 = 0.012;

/// One row: name, slider, number, what to do with the proposal.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    scale: Scale,
) {
    let Some(range) = range(project) else {
        return;
    };
    let bytes = budget(project);
    let ends = project.sensitivity.front_seconds;
    ui.horizontal(|ui| {
        let name = ui.label("Budget");
        if let Some(ends) = ends {
            time::kind(ui, scene, project, memory, ends);
        }
        if let (true, Some(ends)) = (memory.is_of_time, ends) {
            time::show(ui, scene, project, memory, ends);
            short_button(ui, scene, Action::ApplyProposal, "Apply");
            short_button(ui, scene, Action::DiscardProposal, "Discard");
            return;
        }
        let width = (ui.available_width() - OTHERS_WIDTH).clamp(60.0, 420.0);
        ui.spacing_mut().slider_width = width;
        let slider = slide(ui, scene, project, scale, range, bytes);
        let slider = slider.labelled_by(name.id);
        if std::mem::take(&mut memory.wants_focus) {
            slider.request_focus();
        }
        if slider.changed() {
            memory.problem = None;
        }
        keys(ui, scene, project, &slider);
        number(ui, scene, memory, scale, bytes);
        short_button(ui, scene, Action::ApplyProposal, "Apply");
        short_button(ui, scene, Action::DiscardProposal, "Discard");
    });
    if let Some(problem) = &memory.problem {
        ui.label(RichText::new(problem).color(scene.look.colours.error));
    }
}

/// Bytes that budgets can have: the ends of the front.
pub(in super::super) fn range(project: &Project) -> Option<RangeInclusive<u64>> {
    let front = &project.outlook.front;
    let (first, last) = (front.first()?.bytes, front.last()?.bytes);
    (first < last).then_some(first..=last)
}

/// The budget in force: as set, else what the draft takes.
pub(in super::super) fn budget(project: &Project) -> u64 {
    match &project.proposal {
        Some(proposal) => proposal.budget_bytes,
        None => project.totals.bytes_after,
    }
}

/// Uniform bits, as bytes.
pub(in super::super) fn marks(project: &Project) -> impl Iterator<Item = u64> {
    let baselines = project.outlook.baselines.iter();
    baselines.map(|baseline| baseline.place.bytes)
}

fn slide(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    scale: Scale,
    range: RangeInclusive<u64>,
    bytes: u64,
) -> Response {
    let (low, high) = (*range.start(), *range.end());
    // A value outside would be moved inside, and that would count as asked for.
    let mut value = scale.value(bytes.clamp(low, high));
    let values = scale.value(low)..=scale.value(high);
    let slider = Slider::new(&mut value, values).show_value(false);
    let response = ui.add(slider);
    paint_marks(ui, scene, project, &response, low, high);
    if response.changed() {
        let asked = scale.bytes(value);
        let reach = REACH * (high - low) as f64;
        // Keys must be able to leave a mark.
        let is_caught = response.dragged() && !ui.input(|input| input.modifiers.alt);
        let asked = match is_caught {
            true => snapped(asked, marks(project), reach),
            false => asked,
        };
        scene.push(Command::SetBudget(asked.clamp(low, high)));
        if !response.dragged() {
            scene.push(Command::SettleBudget);
        }
    }
    if response.drag_stopped() {
        scene.push(Command::SettleBudget);
        response.request_focus();
    }
    response.on_hover_text(
        "Size that proposed bits keep to; marks are uniform bits, Alt leaves them uncaught",
    )
}

/// Short strokes under the rail where all layers have the same bits.
fn paint_marks(
    ui: &Ui,
    scene: &Scene<'_>,
    project: &Project,
    response: &Response,
    low: u64,
    high: u64,
) {
    let rect = response.rect;
    // The handle's radius, as egui's slider takes it.
    let way = rect.x_range().shrink(rect.height() / 2.5);
    let stroke = Stroke::new(1.0, scene.look.colours.weak);
    for mark in marks(project).filter(|mark| (low..=high).contains(mark)) {
        let share = (mark - low) as f32 / (high - low).max(1) as f32;
        let across = way.min + share * way.span();
        let foot = rect.bottom() - 3.0..=rect.bottom();
        ui.painter().vline(across, foot, stroke);
    }
}

/// Enter applies, Escape drops, while the slider has the keys.
pub(super) fn keys(ui: &Ui, scene: &mut Scene<'_>, project: &Project, slider: &Response) {
    if !slider.has_focus() {
        return;
    }
    let filter = EventFilter {
        horizontal_arrows: true,
        // Escape is for the proposal, not for leaving the slider.
        escape: project.proposal.is_some(),
        ..EventFilter::default()
    };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(slider.id, filter));
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    if pressed(Key::Enter) && project.why_no_apply().is_none() {
        scene.act(Action::ApplyProposal);
    } else if pressed(Key::Escape) && project.proposal.is_some() {
        scene.act(Action::DiscardProposal);
    }
}

fn number(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, scale: Scale, bytes: u64) {
    let current = scale.text(bytes);
    let hint = scale.unit.short();
    let (_, typed) = memory
        .typed
        .show(ui, "Budget as a number", &current, hint, 58.0);
    let unit = RichText::new(scale.unit.short()).color(scene.look.colours.weak);
    ui.add_sized(
        Vec2::new(26.0, ui.spacing().interact_size.y),
        egui::Label::new(unit),
    );
    let Some(typed) = typed else {
        return;
    };
    match scale.read(&typed) {
        Some(bytes) => {
            memory.problem = None;
            memory.wants_focus = true;
            scene.push(Command::SetBudget(bytes));
            scene.push(Command::SettleBudget);
        }
        None => {
            memory.problem = Some(format!(
                "{typed:?} is no size; write 4.25 bpw, 3.1 MB or 25 %"
            ));
        }
    }
}

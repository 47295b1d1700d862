//! Size against quality: every run, uniform baselines, the original, the draft and where it was before the last edit; once
//! sensitivity is known, the predicted front, and bits proposed for any budget along it.
//!
//! ```text
//! paint · handles · legend     the plot (drawn)
//! budget                       the slider and what is proposed
//! model · maker · curves       points and lines, once for each change
//! units                        what sizes are counted in
//! ```

mod budget;
mod curves;
mod handles;
mod legend;
mod maker;
mod model;
mod paint;
mod units;

pub use budget::slider::KEYS;

use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::action::Action;
use crate::studio::{Project, quality};
use egui::{Align, Layout, RichText, Ui, vec2};
use model::{Axes, Model};
use units::{Scale, Unit};

/// Panes narrower than this show the plot or the proposal, not both.
const WIDE: f32 = 560.0;

/// Panes lower than this have their legend behind a button.
const HIGH: f32 = 380.0;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    axes: Axes,
    model: Model,
    budget: budget::Memory,
    /// The point under the pointer when the context menu was opened.
    menu: Option<usize>,
    /// The logarithm of the loss at which its line is held.
    held_loss: Option<f64>,
    /// A line of the plot is being dragged.
    is_dragging: bool,
    /// In a narrow pane: the proposal in place of the plot.
    shows_proposal: bool,
    /// The legend stands behind a button.
    is_low: bool,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.studio.project() else {
        return widgets::empty(
            ui,
            scene,
            "Open a model to weigh its size against its quality",
            &[Action::OpenModel, Action::OpenSample],
        );
    };
    let outlook = &project.outlook;
    let loss = quality::loss_name(scene.studio);
    let has_front = !outlook.front.is_empty();
    let has_loss = has_front || outlook.guide.is_some();
    let is_wide = ui.available_width() >= WIDE;
    memory.is_low = has_front && ui.available_height() < HIGH;
    bar(ui, scene, memory, loss, has_loss, has_front && !is_wide);
    // What was asked for stays asked for: it is shown once it becomes known.
    let axes = Axes {
        is_loss: memory.axes.is_loss && has_loss,
        ..memory.axes
    };
    let scale = model::scale(project, axes.unit);
    budget::head(ui, scene, project, &mut memory.budget, scale);
    memory.model.follow(scene.studio, project, axes);
    if memory.model.points.is_empty() {
        return widgets::empty(
            ui,
            scene,
            "Estimates of every layer, or a run, fill this plot; estimates are on their way",
            &[Action::StartRun],
        );
    }
    match (has_front, is_wide, memory.shows_proposal) {
        (true, true, _) => both(ui, scene, project, memory, axes, loss),
        (true, false, true) => panel(ui, scene, project, memory, scale, loss),
        _ => plot(ui, scene, project, memory, axes, loss),
    }
}

/// The plot, and the proposal to its right.
fn both(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    axes: Axes,
    loss: &str,
) {
    let size = ui.available_size();
    let gap = 2.0 * scene.look.measures.grid;
    let width = (0.4 * size.x).clamp(288.0, 400.0);
    let scale = model::scale(project, axes.unit);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = gap;
        let top_down = Layout::top_down(Align::Min);
        ui.allocate_ui_with_layout(vec2(size.x - width - gap, size.y), top_down, |ui| {
            plot(ui, scene, project, memory, axes, loss);
        });
        ui.allocate_ui_with_layout(vec2(width, size.y), top_down, |ui| {
            panel(ui, scene, project, memory, scale, loss);
        });
    });
}

fn panel(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    scale: Scale,
    loss: &str,
) {
    let said = memory.model.said.as_deref();
    budget::panel(ui, scene, project, &mut memory.budget, (scale, loss, said));
}

/// The legend, what must be said, and the plot.
fn plot(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    axes: Axes,
    loss: &str,
) {
    if !memory.is_low {
        legend::show(ui, scene.look, &memory.model);
    }
    if memory.model.is_mixed {
        ui.horizontal_wrapped(|ui| {
            let text = "Estimates are of weights alone, runs of outputs: not on one scale";
            let text = RichText::new(text)
                .small()
                .color(scene.look.colours.warning);
            ui.label(text);
            scene.action_button(ui, Action::Calibrate);
        });
    }
    paint::show(ui, scene, project, memory, axes, loss);
}

fn bar(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    memory: &mut Memory,
    loss: &str,
    has_loss: bool,
    is_narrow: bool,
) {
    let axes = &mut memory.axes;
    ui.horizontal(|ui| {
        ui.label(RichText::new("y").color(scene.look.colours.weak));
        let button = egui::Button::new(loss).selected(axes.is_loss && has_loss);
        let response = ui.add_enabled(has_loss, button).on_hover_text(
            "Measured by runs; of recipes not run predicted from sensitivity, or by a rough guide: c · error²",
        );
        let reason = "Sensitivity, or one run with an evaluation text, makes it known";
        if response.on_disabled_hover_text(reason).clicked() {
            axes.is_loss = true;
        }
        let button = egui::Button::selectable(!axes.is_loss || !has_loss, "error");
        let hint = "Root of the mean squared relative error over all weights";
        if ui.add(button).on_hover_text(hint).clicked() {
            axes.is_loss = false;
        }
        ui.separator();
        ui.label(RichText::new("x").color(scene.look.colours.weak));
        for unit in Unit::ALL {
            ui.selectable_value(&mut axes.unit, unit, unit.short())
                .on_hover_text(unit.name());
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let copy = ui
                .small_button(if is_narrow { "CSV" } else { "Copy CSV" })
                .on_hover_text("Copy all points as CSV");
            if copy.clicked() {
                ui.ctx().copy_text(memory.model.csv());
            }
            if memory.is_low {
                legend::button(ui, scene.look, &memory.model);
            }
            if is_narrow {
                ui.toggle_value(&mut memory.shows_proposal, "Proposal")
                    .on_hover_text("The proposal in place of the plot");
            }
        });
    });
}

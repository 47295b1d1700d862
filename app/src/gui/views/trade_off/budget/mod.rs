//! The budget: a slider and a number above the plot, and beside it what bits are proposed for that many bytes.
//!
//! ```text
//! slider · time       ask for bytes, or for a time of each token
//! panel               figures · bits · rules · list (drawn) over digest · changes · options (made)
//! status              what is missing before anything can be proposed
//! ```
//! Nothing here solves: the studio answers a budget with a proposal, and a digest of it is made once.

mod bits;
mod changes;
mod digest;
mod figures;
mod list;
mod options;
mod rules;
pub(super) mod slider;
mod status;
mod time;

use super::units::Scale;
use crate::gui::scene::Scene;
use crate::gui::widgets::Typed;
use crate::studio::Project;
use crate::studio::action::Action;
use changes::Order;
use digest::Digest;
use egui::{Button, Response, RichText, Role, ScrollArea, Ui, WidgetInfo};

/// Room for the bar of a scroll area.
const SCROLL_BAR: f32 = 8.0;

/// What the budget remembers between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    typed: Typed,
    pattern: Typed,
    problem: Option<String>,
    /// A rule that could not be read.
    refused: String,
    rule_problem: Option<String>,
    order: Order,
    digest: Digest,
    /// The budget is one of time.
    is_of_time: bool,
    typed_time: Typed,
    /// The slider is to have the keys: a line of the plot was dragged, a number typed.
    pub(super) wants_focus: bool,
}

/// What stands above the plot: the slider, or what is missing before there can be one.
pub(super) fn head(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    scale: Scale,
) {
    status::show(ui, scene, project);
    slider::show(ui, scene, project, memory, scale);
}

/// A button for an action under a short word; its whole name is on hover and for screen readers.
fn short_button(ui: &mut Ui, scene: &mut Scene<'_>, action: Action, word: &str) -> Response {
    let availability = action.availability(scene.studio);
    let is_possible = availability.is_ok();
    let response = ui.add_enabled(is_possible, Button::new(word));
    let label = action.label();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, is_possible, label.as_str()));
    let response = match availability {
        Ok(()) => response.on_hover_text(label),
        Err(reason) => response.on_disabled_hover_text(reason),
    };
    if response.clicked() {
        scene.act(action);
    }
    response
}

/// What stands beside the plot; sizes in `scale`, losses called `loss`, and what is said of how predictions held.
pub(super) fn panel(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    (scale, loss, said): (Scale, &str, Option<&str>),
) {
    memory.digest.follow(project, memory.order);
    ScrollArea::vertical()
        .id_salt("budget panel")
        .auto_shrink(false)
        .show(ui, |ui| {
            // The bar of the scroll area floats over its content.
            ui.set_max_width(ui.available_width() - SCROLL_BAR);
            content(ui, scene, project, memory, (scale, loss, said));
        });
}

fn content(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    (scale, loss, said): (Scale, &str, Option<&str>),
) {
    match &project.proposal {
        None => {
            let text = "Drag the budget to see which bits every layer would get";
            ui.label(RichText::new(text).color(scene.look.colours.weak));
            trust(ui, scene, said);
            rules::show(ui, scene, project, memory);
        }
        Some(proposal) => {
            figures::show(ui, scene, project, proposal, scale, loss);
            trust(ui, scene, said);
            ui.add_space(scene.look.measures.grid);
            let digest = &memory.digest;
            bits::show(ui, scene.look, &digest.before, &digest.after);
            ui.add_space(scene.look.measures.grid);
            rules::show(ui, scene, project, memory);
            let count = memory.digest.count();
            if list::heading(ui, scene.look, count, &mut memory.order) {
                memory.digest.follow(project, memory.order);
            }
            list::show(ui, scene, project, &memory.digest.rows);
        }
    }
}

fn trust(ui: &mut Ui, scene: &Scene<'_>, said: Option<&str>) {
    if let Some(said) = said {
        ui.label(RichText::new(said).small().color(scene.look.colours.weak))
            .on_hover_text("Losses predicted of finished runs beside those measured; the ratio is the median of predicted / measured");
    }
}

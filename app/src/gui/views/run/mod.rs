//! The run view: what the next run will be, how the run at work goes, which wait, and the log.

mod blocks;
mod log;
mod progress;
mod setup;
mod structure;

pub(super) use progress::{figure, seconds};
pub(super) use setup::row;

use crate::gui::scene::Scene;
use crate::gui::widgets::empty;
use crate::studio::action::Action;
use egui::{ScrollArea, Ui};

/// The log keeps at least this height, in rows.
const FEWEST_LOG_ROWS: f32 = 6.0;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    setup: setup::Memory,
    log: log::Memory,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let nothing = scene.project().is_none() && !scene.studio.is_working();
    if nothing && scene.studio.log.written() == 0 {
        empty(
            ui,
            scene,
            "Open a model to compress it; progress and the log show up here",
            &[Action::OpenModel, Action::OpenSample],
        );
        return;
    }
    let row = scene.look.measures.row_height;
    let above = (ui.available_height() - FEWEST_LOG_ROWS * row).max(3.0 * row);
    ScrollArea::vertical()
        .id_salt("run above")
        .max_height(above)
        .auto_shrink([false, true])
        .show(ui, |ui| {
            progress::show(ui, scene);
            if scene.project().is_some() {
                setup::show(ui, scene, &mut memory.setup);
            }
        });
    ui.separator();
    log::show(ui, scene, &mut memory.log);
}

//! Every layer at every option: how much it hurts, what is chosen, what is proposed; a click sets, a drag paints.
//!
//! ```text
//! values    numbers of all cells · grid   which cells there are · refusals  what the container cannot hold
//! status    how the table stands · bar    order, colours, columns, cheapest below a loss · legend  what is drawn
//! places    where cells lie · paint  how they look · cells  one frame of them · pointer  clicks and drags
//! touch     edits that clicks, drags and keys ask for · keys  what keys mean · words  what the pointer is told
//! ```
//!
//! `values` and `grid` are made anew only where what they are made of changes; of a frame only cells in sight are walked.

mod bar;
mod cells;
mod grid;
mod keys;
mod legend;
mod paint;
mod places;
mod pointer;
mod refusals;
mod status;
#[cfg(test)]
mod testing;
mod touch;
mod values;
mod words;

pub use keys::KEYS;

use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::Project;
use crate::studio::action::Action;
use crate::studio::history::Gesture;
use crate::studio::sensitivity::SensitivityState;
use egui::Ui;
use grid::{Grid, Order, Source};
use refusals::Refusals;
use values::{Quantity, Values};

/// Gestures of this view have numbers of their own.
const FIRST_GESTURE: u64 = 1 << 40;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    values: Values,
    grid: Grid,
    refusals: Refusals,
    order: Order,
    quantity: Quantity,
    /// Every group size has a column.
    all_groups: bool,
    cheapest: Cheapest,
    /// Plain keys mean the cells: the last press of the pointer was in this view.
    has_keys: bool,
    /// The layer and the column that keys mean.
    cursor: Option<(usize, usize)>,
    /// It moved: the pane scrolls to it.
    reveal: bool,
    /// The selection's cursor of the last frame: where it moves, the pane scrolls to it.
    selected: Option<usize>,
    /// The layer that this view last said to be under the pointer.
    hovering: Option<usize>,
    drag: Option<pointer::Drag>,
    /// Rows that fit.
    page_rows: usize,
    /// Counts gestures.
    gestures: u64,
}

/// Each row's cheapest option below a loss.
#[derive(Debug, Clone, Copy)]
struct Cheapest {
    is_shown: bool,
    /// Decimal logarithm of the most loss of a layer.
    loss: f64,
    /// Decimal logarithm of the largest error of a layer.
    error: f64,
}

impl Default for Cheapest {
    fn default() -> Self {
        Self {
            is_shown: false,
            loss: -3.0,
            error: -1.0,
        }
    }
}

impl Cheapest {
    /// The most that is allowed of `quantity`, where anything is asked.
    fn limit(&self, quantity: Quantity) -> Option<f64> {
        let exponent = match quantity {
            Quantity::Loss => self.loss,
            Quantity::Error => self.error,
        };
        self.is_shown.then(|| 10_f64.powf(exponent))
    }
}

impl Memory {
    /// What colours show: what was asked for, where it is known.
    fn shown(&self) -> Quantity {
        self.values.shown(self.quantity)
    }

    fn begin_gesture(&mut self) -> Gesture {
        self.gestures += 1;
        self.gesture()
    }

    fn gesture(&self) -> Gesture {
        Gesture(FIRST_GESTURE + self.gestures)
    }

    /// Makes anew what changed.
    fn follow(&mut self, project: &Project) {
        let table = &project.sensitivity.table;
        self.values.follow(table);
        self.refusals.follow(project, table.method);
        let source = Source {
            layers: &project.layers,
            table,
            rows_version: project.rows.version,
            order: self.order,
            quantity: self.shown(),
            group: (!self.all_groups).then(|| grid::common_group(project)),
        };
        self.grid
            .follow(&source, &self.values, || grid::passing(project));
    }
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let studio = scene.studio;
    let Some(project) = studio.project() else {
        let sentence = "Open a model to see how much each of its layers hurts";
        let actions = [Action::OpenModel, Action::OpenSample];
        return widgets::empty(ui, scene, sentence, &actions);
    };
    let sensitivity = &project.sensitivity;
    if !sensitivity.has_rows() && !sensitivity.is_measuring() {
        return nothing_known(ui, scene, project);
    }
    memory.follow(project);
    memory.has_keys = widgets::takes_keys(ui, memory.has_keys);
    ui.style_mut().interaction.selectable_labels = false;
    status::show(ui, scene, project, memory);
    bar::show(ui, scene, project, memory);
    legend::show(ui, scene, project, memory);
    if memory.grid.lines.is_empty() {
        widgets::nothing_matches(ui, scene);
    } else {
        cells::show(ui, scene, project, memory);
    }
    if memory.has_keys {
        keys::listen(ui, scene, project, memory);
    }
}

fn nothing_known(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    let sentence = match &project.sensitivity.state {
        SensitivityState::Failed(reason) => format!("Sensitivity could not be measured: {reason}"),
        _ => "Measuring how much each layer hurts at every option fills this map".to_owned(),
    };
    let actions = [Action::MeasureSensitivity, Action::SketchSensitivity];
    widgets::empty(ui, scene, &sentence, &actions);
}

/// Two digits that matter, as short as it goes: what cells and legends write.
fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_owned(),
        _ if !(0.001..9999.5).contains(&size) => format!("{value:.1e}"),
        _ if size >= 9.95 => format!("{value:.0}"),
        _ => {
            let digits = (1.0 - size.log10().floor()).max(0.0) as usize;
            format!("{value:.digits$}")
        }
    }
}

/// A group size as headers write it.
fn group_word(group: usize) -> String {
    match group {
        0 => "row".to_owned(),
        group => group.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_of_cells_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.000_123, "1.2e-4"),
            (0.001, "0.0010"),
            (0.0253, "0.025"),
            (0.253, "0.25"),
            (2.53, "2.5"),
            (25.3, "25"),
            (-0.0253, "-0.025"),
            (123_456.0, "1.2e5"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}

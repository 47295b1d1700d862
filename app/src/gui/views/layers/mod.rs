//! The layers view: the table of layers, its filter, and the bar that edits what is selected.
//!
//! ```text
//! chips     the filter's field, its words as chips, n of N
//! table     rows: what is drawn over a whole row, clicks, drags, the pointer
//! columns   which columns fit, their headers
//! cells     one cell of a layer · groups   one cell of a block's header
//! choices   cells and buttons that open a list of bits, groups or methods
//! menu      the context menu · bar   edits of the selection · totals   sums of selection and model
//! keys      what keys mean while the table has them
//! ```
//!
//! Rows come grouped, sorted and filtered from the studio; nothing here looks at all of them.

mod bar;
mod cells;
mod chips;
mod choices;
mod columns;
mod groups;
mod keys;
mod menu;
mod more;
mod table;
mod totals;

pub use keys::KEYS;

use super::gestures::Gestures;
use super::zeros;
use crate::gui::scene::Scene;
use crate::gui::widgets;
use crate::studio::Project;
use crate::studio::action::Action;
use egui::{Frame, Panel, Pos2, Ui};

/// What the view remembers between frames.
#[derive(Debug)]
pub struct Memory {
    /// The filter wants the caret.
    pub focus_filter: bool,
    /// Plain keys mean the table: the last press of the pointer was in this view.
    has_keys: bool,
    /// The layer that this view last said to be under the pointer.
    hovering: Option<usize>,
    /// The cursor of the last frame: where it moves, the table scrolls to it.
    cursor: Option<usize>,
    /// The rows that a drag over them has reached.
    drag: Option<table::Drag>,
    /// Rows that fit.
    page_rows: usize,
    /// The list of methods wants to open.
    open_methods: bool,
    /// Where the context menu was asked for.
    context_at: Option<Pos2>,
    /// Counts gestures.
    gestures: Gestures,
    /// Of the list of zeros and factors.
    zeros: zeros::Memory,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            focus_filter: false,
            has_keys: true,
            hovering: None,
            cursor: None,
            drag: None,
            page_rows: 1,
            open_methods: false,
            context_at: None,
            gestures: Gestures::from(0),
            zeros: zeros::Memory::default(),
        }
    }
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let studio = scene.studio;
    let Some(project) = studio.project() else {
        let actions = [Action::OpenModel, Action::OpenSample];
        return widgets::empty(ui, scene, "Open a model to see its layers", &actions);
    };
    if project.rows.total == 0 {
        let sentence = "This model has no layer that can be compressed";
        return widgets::empty(ui, scene, sentence, &[Action::OpenModel]);
    }
    memory.has_keys = widgets::takes_keys(ui, memory.has_keys);
    // Labels in rows are there to be clicked through, not to be marked.
    ui.style_mut().interaction.selectable_labels = false;
    let typing = chips::show(ui, scene, project, memory);
    Panel::bottom("layers below the table")
        .frame(Frame::NONE)
        .resizable(false)
        .show_separator_line(false)
        .show(ui, |ui| {
            bar::show(ui, scene, project, memory);
            totals::show(ui, scene, project);
        });
    if project.rows.rows.is_empty() {
        widgets::nothing_matches(ui, scene);
    } else {
        table::show(ui, scene, project, memory);
    }
    menu::show(ui, scene, project, memory);
    if !typing && memory.has_keys {
        keys::listen(ui, scene, project, memory);
    }
}

/// Edits of `layer` are edits of the selection where it is part of it.
fn touched(project: &Project, layer: usize) -> Option<Vec<usize>> {
    (!project.selection.contains(layer)).then(|| vec![layer])
}

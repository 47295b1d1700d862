//! Gestures of one view: a whole drag, or all that is typed until the caret leaves, is one step of undo.

use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::draft::LayerEdit;
use crate::studio::history::Gesture;
use egui::Response;

/// Counts the gestures of one view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gestures {
    number: u64,
}

impl Gestures {
    /// Numbers from `first` on, far from those of other views.
    pub(super) fn from(first: u64) -> Self {
        Self { number: first }
    }

    /// A gesture that nobody used yet.
    pub(super) fn begin(&mut self) {
        self.number += 1;
    }

    /// The gesture at work.
    pub(super) fn current(self) -> Gesture {
        Gesture(self.number)
    }

    /// Edits the selection as `response` changes.
    pub(super) fn edit(&mut self, scene: &mut Scene<'_>, response: &Response, edit: LayerEdit) {
        self.follow(scene, response, |gesture| Command::Edit {
            edit,
            layers: None,
            gesture: Some(gesture),
        });
    }

    /// Pushes what `command` makes of the gesture while `response` changes.
    pub(super) fn follow(
        &mut self,
        scene: &mut Scene<'_>,
        response: &Response,
        command: impl FnOnce(Gesture) -> Command,
    ) {
        if response.drag_started() || response.gained_focus() {
            self.begin();
        }
        if response.changed() {
            scene.push(command(self.current()));
        }
        if response.drag_stopped() || response.lost_focus() {
            scene.push(Command::EndGesture);
        }
    }
}

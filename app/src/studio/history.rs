//! Undo and redo: a stack of drafts, one step for each gesture.
//!
//! A gesture (a drag, a run of keys in one field) carries a number; edits with the same number are one step. Runs are not
//! in here: they are never undone.

use super::draft::Draft;
use std::sync::Arc;

/// Steps kept.
const MOST_STEPS: usize = 200;

/// A number that all edits of one gesture share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gesture(pub u64);

/// A draft and the words for what led to it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The draft.
    pub draft: Arc<Draft>,
    /// What was done, as the end of "Undo …".
    pub label: String,
}

/// The present draft, those before it, and those undone.
#[derive(Debug, Clone)]
pub struct History {
    past: Vec<Step>,
    present: Step,
    future: Vec<Step>,
    gesture: Option<Gesture>,
}

impl History {
    /// A history that begins with `draft`.
    pub fn new(draft: Draft) -> Self {
        Self {
            past: Vec::new(),
            present: Step {
                draft: Arc::new(draft),
                label: "open".to_owned(),
            },
            future: Vec::new(),
            gesture: None,
        }
    }

    /// The draft in force.
    pub fn draft(&self) -> &Arc<Draft> {
        &self.present.draft
    }

    /// The draft before the last step, if any: the ghost in plots.
    pub fn previous(&self) -> Option<&Arc<Draft>> {
        self.past.last().map(|step| &step.draft)
    }

    /// Makes `draft` the present one. Nothing happens where it is the present one already.
    pub fn push(&mut self, draft: Draft, label: String, gesture: Option<Gesture>) {
        if draft == *self.present.draft {
            return;
        }
        let goes_on = gesture.is_some() && gesture == self.gesture && !self.past.is_empty();
        let step = Step {
            draft: Arc::new(draft),
            label,
        };
        let before = std::mem::replace(&mut self.present, step);
        if !goes_on {
            self.past.push(before);
            if self.past.len() > MOST_STEPS {
                self.past.remove(0);
            }
        }
        self.gesture = gesture;
        self.future.clear();
    }

    /// The next edit is a step of its own, whatever its number.
    pub fn end_gesture(&mut self) {
        self.gesture = None;
    }

    /// What undo would take back.
    pub fn undo_label(&self) -> Option<&str> {
        self.past.last().map(|_| self.present.label.as_str())
    }

    /// What redo would do again.
    pub fn redo_label(&self) -> Option<&str> {
        self.future.last().map(|step| step.label.as_str())
    }

    /// Takes the last step back; false where there is none.
    pub fn undo(&mut self) -> bool {
        self.gesture = None;
        let Some(before) = self.past.pop() else {
            return false;
        };
        self.future
            .push(std::mem::replace(&mut self.present, before));
        true
    }

    /// Does the step last taken back again; false where there is none.
    pub fn redo(&mut self) -> bool {
        self.gesture = None;
        let Some(after) = self.future.pop() else {
            return false;
        };
        self.past.push(std::mem::replace(&mut self.present, after));
        true
    }

    /// Steps that undo can reach, oldest first, each with what was done.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let later = self.past.iter().skip(1).map(|step| step.label.as_str());
        later.chain(self.undo_label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studio::draft::LayerEdit;
    use crate::studio::state::testing;

    fn with_bits(bits: u8) -> Draft {
        let layers = testing::layers(1);
        let all: Vec<usize> = (0..layers.len()).collect();
        let draft = testing::draft(&layers);
        draft.edited(&layers, &all, LayerEdit::Bits(bits)).0
    }

    #[test]
    fn a_gesture_is_one_step() {
        let mut history = History::new(with_bits(4));
        for bits in [5, 6, 7] {
            history.push(with_bits(bits), format!("{bits}"), Some(Gesture(1)));
        }
        history.push(with_bits(8), "8".to_owned(), None);
        assert_eq!(history.labels().collect::<Vec<_>>(), ["7", "8"]);
        assert!(history.undo());
        assert_eq!(**history.draft(), with_bits(7));
        assert!(history.undo());
        assert_eq!(**history.draft(), with_bits(4));
        assert!(!history.undo());
        assert!(history.redo() && history.redo() && !history.redo());
        assert_eq!(**history.draft(), with_bits(8));
    }

    #[test]
    fn an_edit_after_undo_drops_what_was_undone() {
        let mut history = History::new(with_bits(4));
        history.push(with_bits(5), "5".to_owned(), None);
        history.undo();
        history.push(with_bits(6), "6".to_owned(), None);
        assert_eq!(history.redo_label(), None);
        assert_eq!(history.undo_label(), Some("6"));
    }

    #[test]
    fn the_same_draft_is_no_step() {
        let mut history = History::new(with_bits(4));
        history.push(with_bits(4), "4".to_owned(), None);
        assert_eq!(history.undo_label(), None);
    }
}

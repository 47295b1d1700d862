//! What a run has come to: plain numbers that are stored with its state, told to whoever watches, and reported.

use crate::report::TrainPoint;
use serde::{Deserialize, Serialize};

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progressed {
    /// Steps behind, skipped ones included.
    pub step: u64,
    /// Steps that the optimizer has taken.
    pub optimizer_steps: u64,
    /// Steps without a finite loss or gradient.
    pub skipped: u64,
    /// Of these, the last in a row.
    pub skipped_in_a_row: u64,
    /// Loss of the first step.
    pub loss_first: Option<f64>,
    /// Loss of the last step that was not skipped.
    pub loss_last: Option<f64>,
    /// Held-out loss before the first step.
    pub held_out_first: Option<f64>,
    /// Lowest held-out loss, and the step after which it was found.
    pub best: Option<(u64, f64)>,
    /// Looks at the held-out sequences since then.
    pub looks_since_best: u64,
    /// Whether training has ended before its last step because the held-out loss fell no more.
    pub ended_early: bool,
    /// The last step's point, while nobody has looked at the held-out sequences after it.
    pub pending: Option<TrainPoint>,
    /// States stored so far: the name of the next.
    pub saves: u64,
    /// The curve.
    pub curve: Vec<TrainPoint>,
}

/// Most points of a stored curve: of a longer run every second, fourth, … step stays.
const MOST_POINTS: usize = 2000;

impl Progressed {
    /// Before the first step.
    pub(super) fn begun() -> Self {
        Self {
            pending: Some(TrainPoint::before(0)),
            ..Self::default()
        }
    }

    /// Adds a point. Points with a held-out loss always stay.
    pub(super) fn add(&mut self, point: TrainPoint) {
        self.curve.push(point);
        if self.curve.len() > 2 * MOST_POINTS {
            let numbered = std::mem::take(&mut self.curve).into_iter().enumerate();
            let kept = numbered.filter(|(index, point)| index % 2 == 0 || point.held_out.is_some());
            self.curve = kept.map(|(_, point)| point).collect();
        }
    }
}

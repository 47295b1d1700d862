//! What an allocation answers: the recipe, what it was compared with, the front.

use super::super::SessionError;
use super::super::choose_requests::{AllocateReport, Budget, Candidate, CandidateReport};
use super::{Candidacy, Field};
use crate::allocate::FrontPoint;

/// Points of a front of times that are told.
const MOST_TIMED_POINTS: usize = 64;

impl Field<'_> {
    pub(super) fn report(
        &self,
        candidates: Vec<Candidacy>,
    ) -> Result<AllocateReport, SessionError> {
        let best = best_of(&candidates);
        let mut warnings = self.planner.warnings().to_vec();
        if candidates[best].candidate != Candidate::Allocated {
            warnings.push(format!(
                "{} was measured to be better than the allocation at the same bytes, so it is what is returned",
                candidates[best].candidate.name()
            ));
        }
        let (front, front_milliseconds) = self.front();
        Ok(AllocateReport {
            measure: self.table.measure,
            recipe: candidates[best].recipe.clone(),
            best: candidates[best].candidate,
            budget_bytes: self.file_budget(&candidates)?,
            front,
            front_milliseconds,
            candidates: candidates
                .iter()
                .map(|found| self.describe(found))
                .collect(),
            warnings,
        })
    }

    /// The front in bytes of files and, where the budget is one of time, in milliseconds.
    fn front(&self) -> (Vec<FrontPoint>, Vec<f64>) {
        let points = self.planner.front();
        let (Some(clock), Budget::Milliseconds(_)) = (&self.clock, self.request.budget) else {
            let in_files = |point: &FrontPoint| FrontPoint {
                bytes: point.bytes.saturating_add(self.beside),
                ..*point
            };
            return (points.iter().map(in_files).collect(), Vec::new());
        };
        // Prices are times here: each point is made again, for its bytes.
        let step = points.len().div_ceil(MOST_TIMED_POINTS).max(1);
        let some = points.iter().step_by(step);
        let made = some.filter_map(|point| self.planner.solve(point.bytes).ok());
        made.map(|found| {
            let bytes = self.bytes_of_layers(&found.settings, |_| true);
            let point = FrontPoint {
                bytes: bytes.saturating_add(self.beside),
                predicted_loss: found.predicted_loss,
            };
            (point, clock.milliseconds(&found.settings))
        })
        .unzip()
    }

    fn describe(&self, found: &Candidacy) -> CandidateReport {
        let is_counted = |layer: usize| self.counted[layer];
        let bytes = self.bytes_of_layers(&found.allocation.settings, is_counted);
        CandidateReport {
            candidate: found.candidate,
            bytes: found.bytes,
            bits_per_weight: 8.0 * bytes as f64 / self.counted_weights().max(1) as f64,
            milliseconds: self
                .clock
                .as_ref()
                .map(|clock| clock.milliseconds(&found.allocation.settings)),
            predicted_loss: self.planner.predict(&found.allocation.settings),
            measured: found.measured.map(|loss| (loss.mean, loss.stderr)),
        }
    }
}

impl Candidate {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocated => "the allocation",
            Self::Uniform => "uniform bits",
            Self::EndsHigher => "more bits for the first and last blocks",
        }
    }
}

/// The candidate of least loss measured; of equals, and where nothing was measured, the first.
fn best_of(candidates: &[Candidacy]) -> usize {
    let loss = |place: &usize| {
        let measured = candidates[*place].measured;
        measured.map_or(f64::INFINITY, |loss| loss.mean)
    };
    let places = 0..candidates.len();
    places
        .min_by(|left, right| loss(left).total_cmp(&loss(right)))
        .expect("the allocation itself is a candidate")
}

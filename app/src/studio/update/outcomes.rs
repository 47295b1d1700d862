//! How runs and the jobs beside them go and end.

use crate::studio::effect::Effect;
use crate::studio::event::{Event, Outcome};
use crate::studio::log::Level;
use crate::studio::project::Inputs;
use crate::studio::runs::{MEASURING, RunId, RunStatus};
use crate::studio::state::Studio;
use pare_engine::report::{Evaluation, ExportReport};
use pare_engine::session::CompressReport;
use std::sync::Arc;

impl Studio {
    /// Events of the long lane.
    pub(super) fn run_event(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Progressed(id, progress) => {
                if let Some(active) = self.active.as_mut().filter(|active| active.id == id) {
                    active.progress = progress;
                } else if id == MEASURING {
                    self.measuring_went_on(&progress);
                }
                Vec::new()
            }
            Event::Solved(id, layer) => {
                if let Some(active) = self.active.as_mut().filter(|active| active.id == id) {
                    active.layers.push(*layer);
                }
                Vec::new()
            }
            Event::Placed(id, out) => self.change_run(id, |run| run.out = out),
            Event::Began(id) => self.change_run(id, |run| run.status = RunStatus::Running),
            Event::Ended(id, outcome) => self.ended(id, outcome),
            Event::Evaluated(id, outcome) => self.evaluated(id, outcome),
            Event::Wrote(playground) => {
                if !playground.busy {
                    self.side_job = None;
                }
                let problem = playground.problem.clone();
                self.playground = *playground;
                match problem {
                    Some(problem) => vec![self.tell(Level::Error, problem)],
                    None => Vec::new(),
                }
            }
            Event::Exported(outcome) => self.export_ended(outcome),
            _ => Vec::new(),
        }
    }

    fn ended(&mut self, id: RunId, outcome: Outcome<Arc<CompressReport>>) -> Vec<Effect> {
        let name = self.run(id).map(|run| run.name.clone()).unwrap_or_default();
        let mut effects = match outcome {
            Outcome::Done(report) => {
                let text = format!(
                    "{name} is done: {} to {} in {:.1} s",
                    pare_engine::units::Bytes(report.bytes_before),
                    pare_engine::units::Bytes(report.bytes_after),
                    report.seconds
                );
                let toast = self.tell(Level::Info, text);
                let mut effects = self.change_run(id, |run| {
                    run.status = RunStatus::Done;
                    run.report = Some(report);
                });
                self.take_measured();
                effects.push(toast);
                effects.extend(self.refresh());
                // The run may have gathered inputs that nobody asked for before.
                if self
                    .project()
                    .is_some_and(|project| matches!(project.inputs, Inputs::None))
                {
                    effects.extend(self.calibrate(true));
                }
                if self.compared == (None, None) {
                    self.compared = (None, Some(id));
                }
                effects
            }
            Outcome::Stopped => {
                let toast = self.tell(
                    Level::Info,
                    format!("{name} was stopped; its finished layers are kept and Resume goes on from them"),
                );
                let mut effects = self.change_run(id, |run| run.status = RunStatus::Stopped);
                effects.push(toast);
                effects
            }
            Outcome::Failed(reason) => {
                let toast = self.tell(Level::Error, format!("{name} failed: {reason}"));
                let mut effects = self.change_run(id, |run| run.status = RunStatus::Failed(reason));
                effects.push(toast);
                effects
            }
        };
        effects.extend(self.run_is_over(id));
        effects
    }

    /// The next run's turn.
    pub(super) fn run_is_over(&mut self, id: RunId) -> Vec<Effect> {
        if self.active.as_ref().is_some_and(|active| active.id == id) {
            self.active = None;
        }
        self.start_next()
    }

    fn evaluated(&mut self, id: RunId, outcome: Outcome<Evaluation>) -> Vec<Effect> {
        self.side_job = None;
        match outcome {
            Outcome::Done(evaluation) => {
                let mut effects = self.change_run(id, |run| run.evaluations.push(evaluation));
                self.look_ahead();
                effects.push(self.tell(Level::Info, "Measured again"));
                effects
            }
            Outcome::Stopped => vec![self.tell(Level::Info, "Measuring was stopped")],
            Outcome::Failed(reason) => vec![self.tell(Level::Error, reason)],
        }
    }

    fn export_ended(&mut self, outcome: Outcome<ExportReport>) -> Vec<Effect> {
        self.side_job = None;
        match outcome {
            Outcome::Done(report) => {
                let text = format!(
                    "Exported and compared: {} tensors, largest difference {:e}: {}",
                    report.verified.tensors, report.verified.max_abs_difference, report.out
                );
                self.exported = Some(Ok(report));
                vec![self.tell(Level::Info, text)]
            }
            Outcome::Stopped => {
                vec![self.tell(Level::Info, "The export was stopped; nothing is left of it")]
            }
            Outcome::Failed(reason) => {
                self.exported = Some(Err(reason.clone()));
                vec![self.tell(Level::Error, reason)]
            }
        }
    }
}

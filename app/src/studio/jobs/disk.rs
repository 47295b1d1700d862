//! Small work with files: the store, recipes, looks at places.

use super::Office;
use crate::studio::effect::Job;
use crate::studio::event::Event;
use crate::studio::state::Saved;
use std::path::Path;

/// What stays open between jobs.
#[derive(Debug, Default)]
pub(super) struct Desk {}

/// The recipe being edited when `model` was last open.
pub(super) fn autosaved(_data: Option<&Path>, _model: &Path) -> Option<String> {
    None
}

pub(super) fn run(job: Job, office: &Office, _desk: &mut Desk) {
    if let Job::Restore = job {
        office
            .outbox
            .send(Event::Restored(Box::new(Saved::default())));
    }
}

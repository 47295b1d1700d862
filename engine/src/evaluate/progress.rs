//! Counts finished pieces of work over all threads and asks whether to stop.

use crate::monitor::{Monitor, Silent, Stopped};
use crate::report::{Notice, Observer};
use std::sync::atomic::{AtomicU64, Ordering};

/// One stage of `total` steps.
pub(super) struct Progress<'a> {
    monitor: &'a dyn Monitor,
    done: AtomicU64,
    total: u64,
}

impl<'a> Progress<'a> {
    /// Announces the stage.
    pub(super) fn start(observer: &'a dyn Observer, name: &str, total: usize) -> Self {
        let total = total as u64;
        observer.notice(Notice::Stage { name, steps: total });
        Self {
            monitor: observer,
            done: AtomicU64::new(0),
            total,
        }
    }

    /// Part of a stage that someone else counts: steps are not told.
    pub(super) fn uncounted(monitor: &'a Silent<'a>) -> Self {
        Self {
            monitor,
            done: AtomicU64::new(0),
            total: 0,
        }
    }

    /// One more step is done.
    pub(super) fn step(&self) -> Result<(), Stopped> {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.monitor.step(done, self.total);
        self.monitor.check()
    }
}

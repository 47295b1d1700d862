//! Counts finished pieces of work over all threads and asks whether to stop.

use crate::monitor::Stopped;
use crate::report::{Notice, Observer};
use std::sync::atomic::{AtomicU64, Ordering};

/// One stage of `total` steps.
pub(super) struct Progress<'a> {
    observer: &'a dyn Observer,
    done: AtomicU64,
    total: u64,
}

impl<'a> Progress<'a> {
    /// Announces the stage.
    pub(super) fn start(observer: &'a dyn Observer, name: &str, total: usize) -> Self {
        let total = total as u64;
        observer.notice(Notice::Stage { name, steps: total });
        Self {
            observer,
            done: AtomicU64::new(0),
            total,
        }
    }

    /// One more step is done.
    pub(super) fn step(&self) -> Result<(), Stopped> {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.observer.step(done, self.total);
        self.observer.check()
    }
}

//! Evaluations of small random networks against plain computations.
#![allow(clippy::unwrap_used)]

mod decoder;
mod encoder;
mod kernels;
mod slice;

use crate::monitor::Monitor;
use crate::report::{Notice, Observer};
use std::sync::atomic::{AtomicU64, Ordering};

/// Stops after a number of steps; keeps the largest step and the total.
struct Watch {
    stop_after: u64,
    done: AtomicU64,
    total: AtomicU64,
}

impl Watch {
    fn new(stop_after: u64) -> Self {
        Self {
            stop_after,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
        }
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

impl Monitor for Watch {
    fn step(&self, done: u64, total: u64) {
        self.done.fetch_max(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    fn should_stop(&self) -> bool {
        self.done() >= self.stop_after
    }
}

impl Observer for Watch {
    fn notice(&self, _notice: Notice<'_>) {}
}

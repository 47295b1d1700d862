//! What long work tells and asks while it runs: "step k of n" and "stop?".
//!
//! Knows no stage names, bars, logs or channels. Polled per panel and per row slab, so that a stop is answered within
//! a second; `should_stop` may block while the work is paused.

/// Watches one piece of long work. Called from several threads at once.
pub trait Monitor: Sync {
    /// `done` of `total` steps are finished. Calls may arrive out of order; the largest `done` is the truth.
    fn step(&self, done: u64, total: u64);

    /// Whether the work should end early. May block while paused.
    fn should_stop(&self) -> bool;

    /// `Err(Stopped)` once the work should end: `monitor.check()?` is how loops poll.
    fn check(&self) -> Result<(), Stopped> {
        if self.should_stop() {
            Err(Stopped)
        } else {
            Ok(())
        }
    }
}

/// The work ended early because its monitor asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// Passes on "stop?" and keeps the steps of a part to itself, where another counts the whole.
#[allow(missing_debug_implementations)]
pub struct Silent<'a>(pub &'a dyn Monitor);

impl Monitor for Silent<'_> {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        self.0.should_stop()
    }
}

/// A monitor that never stops and tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Monitor for Unwatched {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

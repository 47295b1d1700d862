//! Who watches a long job: progress to the outbox, warnings to the log, stop and pause from a `Control`.

use super::Outbox;
use crate::studio::event::Event;
use crate::studio::log::Level;
use crate::studio::runs::{Control, Progress, RunId};
use pare_engine::monitor::Monitor;
use pare_engine::report::{Notice, Observer};
use pare_engine::session::resident_bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Layers that the pace is told over.
const PACE_LAYERS: usize = 8;

/// Memory is asked of the system no more often.
const MEMORY_EVERY: Duration = Duration::from_millis(300);

/// Watches one job.
pub(super) struct Watcher {
    id: RunId,
    outbox: Arc<dyn Outbox>,
    control: Arc<Control>,
    state: Mutex<Watched>,
}

struct Watched {
    progress: Progress,
    began: Instant,
    paused: Duration,
    /// Threads that wait now: they all poll, and the pause they share counts once.
    waiting: usize,
    waiting_since: Option<Instant>,
    recent: VecDeque<Instant>,
    memory_asked: Option<Instant>,
}

impl Watcher {
    /// A watcher of a job that solves `layers` layers (0 where it solves none).
    pub(super) fn new(
        id: RunId,
        layers: usize,
        outbox: Arc<dyn Outbox>,
        control: Arc<Control>,
    ) -> Self {
        Self {
            id,
            outbox,
            control,
            state: Mutex::new(Watched {
                progress: Progress {
                    stage: "preparing".to_owned(),
                    layers,
                    ..Progress::default()
                },
                began: Instant::now(),
                paused: Duration::ZERO,
                waiting: 0,
                waiting_since: None,
                recent: VecDeque::new(),
                memory_asked: None,
            }),
        }
    }

    fn update(&self, change: impl FnOnce(&mut Watched)) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        change(&mut state);
        let elapsed = state.began.elapsed().saturating_sub(state.paused);
        state.progress.elapsed_seconds = elapsed.as_secs_f64();
        if state
            .memory_asked
            .is_none_or(|asked| asked.elapsed() >= MEMORY_EVERY)
        {
            state.progress.resident_bytes = resident_bytes();
            state.memory_asked = Some(Instant::now());
        }
        self.outbox.progress(self.id, state.progress.clone());
    }
}

impl Watched {
    fn wait_begins(&mut self) {
        self.waiting += 1;
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    fn wait_ends(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0
            && let Some(since) = self.waiting_since.take()
        {
            self.paused += since.elapsed();
            // A pace over a pause is none.
            self.recent.clear();
        }
    }

    fn layer_done(&mut self, name: &str) {
        self.progress.layers_done += 1;
        self.progress.last_layer = Some(name.to_owned());
        self.recent.push_back(Instant::now());
        if self.recent.len() > PACE_LAYERS + 1 {
            self.recent.pop_front();
        }
        // The whole way, not only the last layers: calibration of a block comes before its layers.
        let elapsed = self
            .began
            .elapsed()
            .saturating_sub(self.paused)
            .as_secs_f64();
        let overall = elapsed / self.progress.layers_done as f64;
        self.progress.seconds_per_layer = match (self.recent.front(), self.recent.back()) {
            (Some(first), Some(last)) if self.recent.len() > 2 => {
                let span = last.duration_since(*first).as_secs_f64();
                Some(span / (self.recent.len() - 1) as f64)
            }
            _ => Some(overall),
        };
        let left = self
            .progress
            .layers
            .saturating_sub(self.progress.layers_done);
        self.progress.eta_seconds = Some(overall * left as f64);
    }
}

impl Monitor for Watcher {
    fn step(&self, done: u64, total: u64) {
        self.update(|state| {
            state.progress.done = done.max(state.progress.done);
            state.progress.total = total;
        });
    }

    fn should_stop(&self) -> bool {
        if !self.control.is_paused() {
            return self.control.is_stopped();
        }
        self.update(Watched::wait_begins);
        let stop = self.control.wait_and_ask();
        self.update(Watched::wait_ends);
        stop
    }
}

impl Observer for Watcher {
    fn notice(&self, notice: Notice<'_>) {
        match notice {
            Notice::Stage { name, steps } => {
                self.update(|state| {
                    state.progress.stage = name.to_owned();
                    state.progress.done = 0;
                    state.progress.total = steps;
                });
                self.outbox
                    .send(Event::Told(Level::Info, format!("{name} ({steps} steps)")));
            }
            Notice::Layer(layer) => {
                self.update(|state| state.layer_done(&layer.name));
                let error = layer
                    .relative_output_error
                    .map_or(String::new(), |error| format!(", output error {error:.4}"));
                self.outbox.send(Event::Told(
                    Level::Info,
                    format!("{} solved in {:.2} s{error}", layer.name, layer.seconds),
                ));
                if let Some(fallback) = &layer.fallback {
                    let text = format!(
                        "{}: {} instead of {}: {}",
                        layer.name, fallback.to, fallback.from, fallback.reason
                    );
                    self.outbox.send(Event::Told(Level::Warning, text));
                }
                self.outbox
                    .send(Event::Solved(self.id, Box::new(layer.clone())));
            }
            Notice::Sensitivity(_) | Notice::Training(_) | Notice::Sample { .. } => {}
            Notice::Warning(text) => {
                self.outbox
                    .send(Event::Told(Level::Warning, text.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    struct Nobody;

    impl Outbox for Nobody {
        fn send(&self, _event: Event) {}

        fn progress(&self, _id: RunId, _progress: Progress) {}
    }

    #[test]
    fn a_pause_counts_once_however_many_threads_wait() {
        let control = Arc::new(Control::default());
        let watcher = Watcher::new(RunId(1), 1, Arc::new(Nobody), control.clone());
        control.set_paused(true);
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| watcher.should_stop());
            }
            while watcher.state.lock().is_ok_and(|state| state.waiting < 8) {
                thread::yield_now();
            }
            control.set_paused(false);
        });
        let most = began.elapsed();
        let paused = watcher.state.lock().map(|state| state.paused);
        assert!(
            paused.is_ok_and(|paused| paused <= most),
            "more was paused than went by"
        );
    }
}

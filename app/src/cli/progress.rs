//! Tells a person how a job goes: a bar where stderr is a terminal, plain lines (at most one a second) where it is not.
//!
//! Knows no job: stages, steps and layers come from the engine. Also carries the stop flag, which the engine polls.

use crate::cli::interrupt::StopFlag;
use crate::cli::printer::{self, Printer};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use pare_engine::monitor::Monitor;
use pare_engine::report::{Notice, Observer, TrainPoint};
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shortest time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// Stage, bar, layer i of N, rate, time left, latest layer.
const BAR_TEMPLATE: &str = "{prefix} [{bar:28}] {pos}/{len}  {rate}  {eta} left  {wide_msg}";

/// Watches a job on behalf of a person.
#[derive(Debug)]
pub(super) struct Progress {
    stop: StopFlag,
    printer: Printer,
    show: Show,
}

#[derive(Debug)]
enum Show {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

impl Progress {
    /// A watcher that shows what `printer` and the kind of stderr allow.
    pub(super) fn new(stop: StopFlag, printer: Printer) -> Self {
        let show = if printer.is_quiet() {
            Show::Nothing
        } else if io::stderr().is_terminal() {
            Show::Bar(bar())
        } else {
            Show::Lines(Mutex::new(Lines::new(Instant::now())))
        };
        Self {
            stop,
            printer,
            show,
        }
    }

    /// A watcher that shows no steps, for work whose answer appears while it goes on.
    pub(super) fn without_steps(stop: StopFlag, printer: Printer) -> Self {
        Self {
            stop,
            printer,
            show: Show::Nothing,
        }
    }

    /// Takes the bar off the screen; the answer comes next.
    pub(super) fn finish(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }

    fn stage(&self, name: &str, steps: u64) {
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => {
                bar.reset();
                bar.set_length(steps);
                bar.set_prefix(name.to_owned());
                bar.set_message("");
            }
            Show::Lines(lines) => {
                if let Ok(mut lines) = lines.lock() {
                    say(lines.stage(name, steps, Instant::now()));
                }
            }
        }
    }

    fn layer(&self, name: &str) {
        if let Show::Bar(bar) = &self.show {
            bar.set_message(name.to_owned());
        }
    }

    fn training(&self, point: &TrainPoint) {
        let number = |name: &str, value: Option<f64>| {
            value.map_or_else(String::new, |value| format!("{name} {value:.4} "))
        };
        let losses = number("loss", point.loss) + &number("held out", point.held_out);
        self.layer(&format!("{losses}{:.0} tokens/s", point.tokens_per_second));
    }

    fn warning(&self, text: &str) {
        match &self.show {
            Show::Bar(bar) => bar.suspend(|| self.printer.warning(text)),
            Show::Nothing | Show::Lines(_) => self.printer.warning(text),
        }
    }
}

impl Monitor for Progress {
    fn step(&self, done: u64, total: u64) {
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done.max(bar.position()));
            }
            Show::Lines(lines) => {
                // Another thread that is just telling of its own step is as good as this one.
                if let Ok(mut lines) = lines.try_lock() {
                    say(lines.step(done, total, Instant::now()));
                }
            }
        }
    }

    fn should_stop(&self) -> bool {
        self.stop.is_raised()
    }
}

impl Observer for Progress {
    fn notice(&self, notice: Notice<'_>) {
        match notice {
            Notice::Stage { name, steps } => self.stage(name, steps),
            Notice::Layer(layer) => self.layer(&layer.name),
            Notice::Sensitivity(layer) => self.layer(&layer.name),
            Notice::Training(point) => self.training(point),
            Notice::Sample { .. } => {}
            Notice::Warning(text) => self.warning(text),
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template(BAR_TEMPLATE)
        .expect("the template is a constant")
        .with_key(
            "rate",
            |state: &ProgressState, text: &mut dyn fmt::Write| {
                // A bar whose text cannot be written is not worth a failure.
                let _ = write!(text, "{:.1}/s", state.per_sec());
            },
        )
        .progress_chars("=> ");
    ProgressBar::new(0).with_style(style)
}

fn say(text: Option<String>) {
    if let Some(text) = text {
        printer::line(&text);
    }
}

/// Which plain line is due when.
#[derive(Debug)]
struct Lines {
    stage: String,
    started: Instant,
    last_line: Option<Instant>,
    furthest: u64,
}

impl Lines {
    fn new(now: Instant) -> Self {
        Self {
            stage: String::new(),
            started: now,
            last_line: None,
            furthest: 0,
        }
    }

    fn stage(&mut self, name: &str, steps: u64, now: Instant) -> Option<String> {
        self.stage = name.to_owned();
        self.started = now;
        self.furthest = 0;
        self.due(now).then(|| match steps {
            0 => name.to_owned(),
            _ => format!("{name}: 0/{steps}"),
        })
    }

    fn step(&mut self, done: u64, total: u64, now: Instant) -> Option<String> {
        self.furthest = self.furthest.max(done);
        if !self.due(now) {
            return None;
        }
        let mut line = format!("{}: {}/{total}", self.stage, self.furthest);
        let seconds = now.duration_since(self.started).as_secs_f64();
        if self.furthest > 0 && seconds > 0.0 {
            let rate = self.furthest as f64 / seconds;
            let left = total.saturating_sub(self.furthest) as f64 / rate;
            line.push_str(&format!(", {rate:.1}/s, {} left", duration(left)));
        }
        Some(line)
    }

    /// Whether a line may be written now; remembers that it was.
    fn due(&mut self, now: Instant) -> bool {
        let due = self
            .last_line
            .is_none_or(|last| now.duration_since(last) >= LINE_INTERVAL);
        if due {
            self.last_line = Some(now);
        }
        due
    }
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    let whole = seconds.round().clamp(0.0, 1e9) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_come_at_most_once_a_second() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut lines = Lines::new(start);
        assert_eq!(lines.stage("solve", 10, start), Some("solve: 0/10".into()));
        assert_eq!(lines.step(1, 10, at(500)), None);
        assert_eq!(
            lines.step(4, 10, at(2000)),
            Some("solve: 4/10, 2.0/s, 3 s left".into())
        );
        assert_eq!(lines.stage("write", 3, at(2500)), None);
        assert_eq!(lines.step(1, 3, at(2900)), None);
    }

    #[test]
    fn a_late_small_step_does_not_turn_back_the_count() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        lines.stage("solve", 10, start);
        lines.step(5, 10, start);
        let line = lines.step(3, 10, start + Duration::from_secs(5));
        assert_eq!(line, Some("solve: 5/10, 1.0/s, 5 s left".into()));
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [(7.4, "7 s"), (61.0, "1 min 1 s"), (7260.0, "2 h 1 min")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}

//! What happened, in order: a ring of lines with levels, searched by faces.
//!
//! Times are seconds since the studio began; the clock on the wall is nobody's business here.

use std::collections::VecDeque;
use std::sync::Arc;

/// Lines kept.
const MOST_LINES: usize = 200_000;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What goes on.
    Info,
    /// Something a person should read.
    Warning,
    /// Something that did not work.
    Error,
}

impl Level {
    /// The level's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Counts up from 0 over the whole session.
    pub number: u64,
    /// How much it matters.
    pub level: Level,
    /// Seconds since the studio began.
    pub seconds: f64,
    /// What happened.
    pub text: Arc<str>,
}

/// The ring.
#[derive(Debug, Clone, Default)]
pub struct Log {
    lines: VecDeque<Line>,
    written: u64,
}

impl Log {
    /// Adds a line; the oldest goes where the ring is full.
    pub fn write(&mut self, level: Level, seconds: f64, text: impl Into<Arc<str>>) {
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(Line {
            number: self.written,
            level,
            seconds,
            text: text.into(),
        });
        self.written += 1;
    }

    /// Lines kept, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> + ExactSizeIterator {
        self.lines.iter()
    }

    /// Lines ever written: changes whenever the log does.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Lines of `level` kept.
    pub fn count(&self, level: Level) -> usize {
        self.lines.iter().filter(|line| line.level == level).count()
    }
}

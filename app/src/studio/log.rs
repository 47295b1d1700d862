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
    counts: [usize; 3],
}

impl Log {
    /// Adds a line; the oldest goes where the ring is full.
    pub fn write(&mut self, level: Level, seconds: f64, text: impl Into<Arc<str>>) {
        if self.lines.len() == MOST_LINES
            && let Some(gone) = self.lines.pop_front()
        {
            self.counts[gone.level as usize] -= 1;
        }
        self.counts[level as usize] += 1;
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

    /// The line of a number, if it is still kept.
    pub fn line(&self, number: u64) -> Option<&Line> {
        let first = self.lines.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.lines.get(index)
    }

    /// The number of the oldest line kept, or of the next one.
    pub fn first(&self) -> u64 {
        self.lines.front().map_or(self.written, |line| line.number)
    }

    /// Lines ever written: changes whenever the log does.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Lines of `level` kept.
    pub fn count(&self, level: Level) -> usize {
        self.counts[level as usize]
    }
}

//! The only place that writes to stdout and stderr, bars aside.
//!
//! stdout takes the answer and nothing else: one page, or under `--json` exactly one document. Everything said along
//! the way goes to stderr. A reader that closes the pipe early (`pare inspect … | head`) is no error.

use crate::cli::answer::Answer;
use crate::cli::arguments::Everywhere;
use crate::cli::failure::Failure;
use std::io::{self, Write};

/// Says answers and failures the way the flags ask.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    json: bool,
    quiet: bool,
}

impl Printer {
    /// A printer for these flags.
    pub(super) fn new(everywhere: &Everywhere) -> Self {
        Self {
            json: everywhere.json,
            quiet: everywhere.quiet,
        }
    }

    /// Whether only errors are wanted on stderr.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The result, on stdout.
    pub(super) fn answer(&self, answer: &Answer) -> Result<(), Failure> {
        let written = if self.json {
            page(&format!("{}\n", answer.document))
        } else {
            page(&answer.page)
        };
        written.map_err(|error| {
            Failure::Failed(format!(
                "The work is done, but the answer cannot be written to stdout: {error}."
            ))
        })
    }

    /// A piece of an answer that appears while the work goes on; programs get it whole at the end instead.
    pub(super) fn piece(&self, text: &str) {
        if !self.json {
            // The end of the answer goes the same way, and its failure is told.
            let _ = page(text);
        }
    }

    /// Something a person should read, on stderr.
    pub(super) fn warning(&self, text: &str) {
        if !self.quiet {
            line(&format!("Warning: {text}"));
        }
    }

    /// Something beside the answer, on stderr.
    pub(super) fn remark(&self, text: &str) {
        if !self.quiet {
            line(text);
        }
    }
}

/// Text on stdout, as it is. A closed pipe has nobody left to tell, and is no error.
pub(super) fn page(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A line on stderr.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error on stderr, as a sentence: engine errors begin with a small letter, so that they can be nested.
pub(super) fn error(text: &str) {
    line(&capital(text.trim_end()));
}

/// `text` with a capital first letter.
pub(super) fn capital(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

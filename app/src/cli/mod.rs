//! The command line: typed text (`arguments`) -> meaning (`plan`) -> one job (`verbs`) -> one answer (`printer`).
//!
//! Knows no mathematics, no file format and no window: whoever starts it says how the studio is opened. Nothing but `printer` and `progress` touches the terminal; a verb returns an
//! `Answer` and never prints.

mod answer;
mod arguments;
mod context;
mod failure;
mod interrupt;
mod machines;
mod options;
mod plan;
mod printer;
mod progress;
mod refusal;
mod table;
mod verbs;
mod words;
mod zeros;

use crate::studio::request::{OpenOutcome, OpenRequest};
use arguments::{Arguments, Open, Verb};
use clap::Parser;
use context::Context;
use failure::Failure;
use interrupt::StopFlag;
use printer::Printer;
use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code of a job stopped by Ctrl-C: 128 + SIGINT, as shells report it.
const STOPPED: u8 = 130;
/// Exit code of a failed job.
const FAILED: u8 = 1;
/// Exit code of a command line that is wrong.
const WRONG_USE: u8 = 2;

/// Reads `words` (the program's name first), does what they ask, and returns the exit code. `show` shows the studio.
pub fn run(
    words: impl IntoIterator<Item = OsString>,
    show: impl FnOnce(&OpenRequest) -> Result<OpenOutcome, String>,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let stop = StopFlag::default();
    match answer(arguments, &stop, show) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, &stop),
    }
}

/// Does the job and prints its answer.
fn answer(
    arguments: Arguments,
    stop: &StopFlag,
    show: impl FnOnce(&OpenRequest) -> Result<OpenOutcome, String>,
) -> Result<(), Failure> {
    let verb = arguments.verb.unwrap_or(Verb::Open(Open::default()));
    let is_window = matches!(&verb, Verb::Open(open) if !open.headless);
    if !is_window {
        // Of a window Ctrl-C is the end, as of any other program: its jobs leave nothing half-written.
        stop.watch()?;
    }
    let printer = Printer::new(&arguments.everywhere);
    let context = Context::new(&arguments.everywhere, printer, stop.clone())?;
    let answer = verbs::run(&verb, &context, show);
    context.progress.finish();
    context.printer.answer(&answer?)
}

/// Help and version are answers; everything else that clap returns is a wrong command line.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        printer::error(&refusal::sentence(error));
        ExitCode::from(WRONG_USE)
    } else {
        match printer::page(&error.render().to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        }
    }
}

fn report(failure: &Failure, stop: &StopFlag) -> ExitCode {
    let (text, code) = match failure {
        Failure::WrongUse(text) => (text.clone(), WRONG_USE),
        Failure::Failed(text) => (text.clone(), FAILED),
        Failure::Stopped => (stop.farewell(), STOPPED),
    };
    printer::error(&text);
    ExitCode::from(code)
}

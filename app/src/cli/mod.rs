//! The command line: typed text (`arguments`) -> meaning (`plan`) -> one job (`verbs`) -> one answer (`printer`).
//!
//! Knows no mathematics and no file format. Nothing but `printer` and `progress` touches the terminal; a verb returns an
//! `Answer` and never prints.

mod answer;
mod arguments;
mod cache;
mod context;
mod failure;
mod interrupt;
mod plan;
mod printer;
mod progress;
mod refusal;
mod sample;
mod table;
mod verbs;
mod words;

use arguments::Arguments;
use clap::Parser;
use failure::Failure;
use printer::Printer;
use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code of a job stopped by Ctrl-C: 128 + SIGINT, as shells report it.
const STOPPED: u8 = 130;
/// Exit code of a failed job.
const FAILED: u8 = 1;
/// Exit code of a command line that is wrong.
const WRONG_USE: u8 = 2;

/// Reads `words` (the program's name first), does what they ask, and returns the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let printer = Printer::new(&arguments.everywhere);
    match verbs::run(&arguments, &printer) {
        Ok(answer) => {
            printer.answer(&answer);
            ExitCode::SUCCESS
        }
        Err(failure) => report(&printer, &failure),
    }
}

/// Help and version are answers; everything else that clap returns is a wrong command line.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        printer::error(&refusal::sentence(error));
        ExitCode::from(WRONG_USE)
    } else {
        printer::page(&error.render().to_string());
        ExitCode::SUCCESS
    }
}

fn report(printer: &Printer, failure: &Failure) -> ExitCode {
    printer.failure(failure);
    ExitCode::from(match failure {
        Failure::WrongUse(_) => WRONG_USE,
        Failure::Failed(_) => FAILED,
        Failure::Stopped(_) => STOPPED,
    })
}

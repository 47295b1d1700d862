//! The binary `pare`: hands its arguments and the window to the command line and returns the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pare::cli::run(std::env::args_os(), pare::gui::launch::open)
}

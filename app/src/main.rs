//! The binary `pare`: hands its arguments to the library and returns the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pare::cli::run(std::env::args_os())
}

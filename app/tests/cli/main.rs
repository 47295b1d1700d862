//! The binary `pare` as scripts see it: exit codes, one JSON document, sentences on stderr, files on disk.
//!
//! Runs the built binary in folders of its own and leaves nothing behind. Needs no network; rows that need the folder
//! `shared` beside the repository say that they are skipped where it is absent.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests to us, but not to clippy.
#![allow(clippy::print_stdout)] // What is skipped is said.
#![allow(clippy::disallowed_methods)] // Inputs are written and damaged plainly; a signal is timed by waiting.

mod activations;
mod allocate;
mod bad_input;
mod bench;
mod calibrate;
mod command_line;
mod compress;
mod distill;
mod evaluate;
mod export;
mod generate;
mod inspect;
#[cfg(unix)]
mod interrupt;
mod logits;
mod machines;
mod open;
mod place;
mod report;
mod sensitivity;
mod structure;
mod zeros;

//! The application `pare`: a command line over `pare-engine`.
//!
//! ```text
//! main -> cli
//! ```
//!
//! Everything numeric lives in the engine; this crate reads words, asks for jobs and shows what comes back.
#![warn(missing_docs)]

pub mod cli;
pub mod gui;

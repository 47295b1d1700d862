//! The application `pare`: a command line and a window over `pare-engine`.
//!
//! ```text
//! main -> cli | gui -> studio
//! ```
//!
//! Everything numeric lives in the engine; this crate reads words and clicks, asks for jobs and shows what comes back.
//! The command line and the window never see each other; the studio below them knows neither.
#![warn(missing_docs)]

pub mod cli;
pub mod gui;
pub mod studio;

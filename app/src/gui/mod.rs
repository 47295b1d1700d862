//! The window: everything that knows egui.
//!
//! Knows nothing of how numbers come about: what it shows is handed to it.

pub mod headless;
pub mod painter;

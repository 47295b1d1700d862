//! The window: everything that knows egui.
//!
//! ```text
//! launch -> app -> shell (bar, panes, palette, notices, dialogs) -> views -> widgets -> look
//! ```
//!
//! Views read `&Studio` and push `Command`s; nothing here changes the studio but `app`, between frames.
//! Knows nothing of how numbers come about: what it shows is handed to it.

pub mod app;
pub mod headless;
pub mod launch;
pub mod look;
pub mod painter;
pub mod picture;
pub mod scene;
pub mod shell;
pub mod views;
pub mod widgets;

pub use app::App;

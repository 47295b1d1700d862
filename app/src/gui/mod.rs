//! The window: everything that knows egui.
//!
//! ```text
//! 7 launch
//! 6 picture
//! 5 app
//! 4 shell
//! 3 views
//! 2 widgets
//! 1 scene headless
//! 0 look painter
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

//! Small things that several views draw: figures with their mark, bars, elided names, empty panes.
//!
//! Each knows the look and its own value, never the studio.

mod bar;
mod empty;
mod figure;
mod keys;
mod name;
pub mod plot;
mod said;
mod swatch;
mod typed;

pub use bar::share_bar;
pub use empty::{empty, nothing_matches};
pub use figure::{
    error_text, figure, interval_text, mark_hint, sign, three_digits, time_figure, time_hint,
    time_text, tokens_text,
};
pub use keys::{asks, takes_keys};
pub use name::{elided, shortened};
pub use said::{named, sign_button, text_field};
pub use swatch::swatch;
pub use typed::Typed;

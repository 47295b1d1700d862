//! The built program in a real window: an X server without a screen, a mouse and a keyboard, and what lies on disk
//! afterwards.
//!
//! Needs Xvfb, xdotool and ImageMagick's `import`; where one is missing, each test says on stderr that it is skipped.
//! Pictures of each step are left in `window/` of cargo's folder for tests' files.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // Helpers of tests are tests to us, but not to clippy.
#![allow(clippy::disallowed_methods)] // Settings of other programs, and polls of windows that tell nobody.

mod desktop;
mod starting;
mod twin;
mod window;
mod work;

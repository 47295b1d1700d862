//! The window as a person sees and touches it, through egui_kittest: no display, graphics card or driver is needed.
//!
//! Pictures are painted by the application's own painter and so are the same on every machine.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests to us, but not to clippy.

mod activations;
mod choose;
mod compare;
mod desk;
mod export;
mod flow;
mod heat_map;
mod inspector;
mod latency;
mod layers;
mod painting;
mod renderer;
mod reproduce;
mod run;
mod runs;
mod settings;
mod shell;
mod start;
mod time_budget;
mod trade_off;
mod train;
mod zeros;

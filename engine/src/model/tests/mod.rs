//! Tests of the whole network; each file says what it holds.
#![allow(clippy::unwrap_used)]

mod golden;
mod gradients;
mod laws;
mod memory;
mod opening;
mod shapes;
mod twin;
mod watching;

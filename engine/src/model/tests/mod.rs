//! Tests of the whole network; each file says what it holds.
#![allow(clippy::unwrap_used)]

mod around;
mod golden;
mod gradients;
mod laws;
pub(super) mod memory;
mod opening;
mod packed;
pub(super) mod shapes;
pub(super) mod twin;
mod watching;

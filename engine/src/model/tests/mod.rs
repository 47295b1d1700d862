//! Tests of the whole network; each file says what it holds.
#![allow(clippy::unwrap_used)]

mod golden;
mod memory;
mod shapes;
mod twin;

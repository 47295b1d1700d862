//! Passes against whole-graph autograd and finite differences, and the laws of runs.
#![allow(clippy::unwrap_used)]

mod losses;
mod passes;
mod runs;

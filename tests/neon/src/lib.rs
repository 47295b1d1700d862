//! The engine's kernels, unchanged, without the engine.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../engine/src/kernels/mod.rs"]
pub mod kernels;
#[path = "../../../engine/src/rng.rs"]
pub mod rng;

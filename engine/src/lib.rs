//! The engine of Pare: opens models, calibrates, solves, packs, measures and writes them.
//!
//! A module uses only lower floors; modules on one floor never see each other. The test `ladder` of `pare-tests` reads
//! this drawing and checks every `use crate::…`.
//!
//! ```text
//! 11 session
//! 10 compress recover sensitivity
//!  9 calibrate evaluate generate train transform measure preview allocate estimate
//!  8 formats
//!  7 checkpoint corpus recipe report device
//!  6 solve model score budget
//!  5 packed
//!  4 distortion settings
//!  3 moments solved
//!  2 linalg grid codebook mask ggml
//!  1 kernels
//!  0 tensor monitor rng units lanes
//! ```
//!
//! The engine knows no window, command line or print; it never reads the environment, except through values handed in.
#![warn(missing_docs)]

// 0 vocabulary
pub mod lanes;
pub mod monitor;
pub mod rng;
pub mod tensor;
pub mod units;

// 1 kernels
pub mod kernels;

// 2 arithmetic
pub mod codebook;
pub mod ggml;
pub mod grid;
pub mod linalg;
pub mod mask;

// 3 statistics
pub mod moments;
pub mod solved;

// 4 exchange
pub mod distortion;
pub mod settings;

// 5 bytes
pub mod packed;

// 6 mathematics
pub mod budget;
pub mod model;
pub mod score;
pub mod solve;

// 7 outside
pub mod checkpoint;
pub mod corpus;
pub mod device;
pub mod recipe;
pub mod report;

// 8 formats
pub mod formats;

// 9 strands
pub mod allocate;
pub mod calibrate;
pub mod estimate;
pub mod evaluate;
pub mod generate;
pub mod measure;
pub mod preview;
pub mod train;
pub mod transform;

// 10 loops over layers
pub mod compress;
pub mod recover;
pub mod sensitivity;

// 11 session
pub mod session;

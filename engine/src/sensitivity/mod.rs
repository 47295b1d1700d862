//! How much each layer hurts: errors of its outputs at every option, and what they do to the whole model's loss.
//!
//! Stands beside `compress`, not below it: it measures whole models with `evaluate`. Knows no recipe file and no budget.
//!
//! `judge` solves one layer at one option and tells the error; `row` is what is kept of a layer, so that no cell is
//! judged twice; `gradient` is one backward pass, which tells how much the loss minds an error at each output.

mod gradient;
mod judge;
mod row;

pub use gradient::{OutputGains, output_gains};
pub use judge::{Inputs, Judged, KnownInputs, Subject};
pub use row::{StoredRow, rounded};

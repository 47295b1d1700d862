//! Training: variables that a network's tensors follow from, changed step by step until a loss is low.
//!
//! `learner` is what is trained; everything else is how. Knows no command line, folder or window.

mod error;
pub mod fake;
mod frozen;
mod learner;
pub mod rounding;
pub mod scales;
mod values;

pub use error::TrainError;
pub use learner::{Learner, Variable};

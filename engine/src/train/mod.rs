//! Training: variables that a network's tensors follow from, changed step by step until a loss is low.
//!
//! `learner` is what is trained; `pass` takes a batch through the network and back; `objective` and `loss` say what is
//! lost; `optimizer` and `schedule` say what changes. Knows no command line, folder of a run or window.

pub mod adapter;
mod batch;
mod batches;
mod beside;
mod curve;
mod dense;
mod distill;
mod error;
pub mod fake;
mod fresh;
mod frozen;
mod gradients;
mod head;
mod learner;
mod leaves;
pub mod loss;
mod matching;
mod memo;
mod objective;
mod optimizer;
mod pass;
mod prune;
pub mod qat;
pub mod rounding;
mod run;
pub mod scales;
mod schedule;
mod state;
mod stored;
mod teacher;
#[cfg(test)]
mod tests;
mod values;

pub use batch::Batch;
pub use batches::Batches;
pub use curve::Progressed;
pub use dense::Dense;
pub use distill::{Embeddings, Tokens};
pub use error::TrainError;
pub use fresh::fresh_values;
pub use frozen::Frozen;
pub use gradients::Gradients;
pub use head::positions_at_once;
pub use learner::{Learner, Variable};
pub use matching::Matching;
pub use memo::{Likeliest, Memo, MemoWriter, Told, memo_bytes};
pub use objective::{Objective, Part, StateLoss};
pub use optimizer::{Means, Optimizer, Rule};
pub use pass::Network;
pub use prune::Pruner;
pub use run::{Judge, Outcome, Training};
pub use schedule::RateSchedule;
pub use teacher::{Kept, Lesson, Teacher, Teachers};

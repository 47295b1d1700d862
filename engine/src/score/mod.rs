//! How good outputs are: negative log-likelihood, KL, agreement of the most likely token, cosine, rank correlation.
//!
//! Plain slices in, plain numbers out. Knows no model, corpus or report; sums run in f64 and in index order, so that
//! the result does not depend on threads. The unit of every standard error is the window, because the tokens of one
//! window share their context.

mod exponential;
mod pooling;
mod tally;
mod tokens;
mod vectors;

pub use exponential::exponential;
pub use pooling::{Pooling, PoolingMode};
pub use tally::{Ratio, Tally};
pub use tokens::{Comparison, WindowScore};
pub use vectors::{cosine, median, percentile, ranks, spearman};

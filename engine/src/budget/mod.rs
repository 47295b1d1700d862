//! The best choice for each of many items within a budget of bytes, where losses add up.
//!
//! `Front` holds the lower convex hull of all assignments: what the Lagrangian reaches, for every budget at once. `solve`
//! starts there and uses the bytes left over. Knows no layer, bit or model: bytes and losses only.

mod front;
mod leftover;
#[cfg(test)]
mod tests;

pub use front::{Front, Point};

/// One way to store an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Bytes that it takes.
    pub bytes: u64,
    /// What it costs; finite, not negative.
    pub loss: f64,
}

/// A choice for each item.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// For each item, the index of its choice.
    pub choices: Vec<usize>,
    /// Bytes of all.
    pub bytes: u64,
    /// Losses of all.
    pub loss: f64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// An item that cannot be stored at all.
    #[error("item {item} has no choice; give it one, or leave it out")]
    NoChoice {
        /// Index of the item.
        item: usize,
    },
    /// A loss that cannot be compared or added.
    #[error(
        "choice {choice} of item {item} has the loss {loss}; losses are finite and not negative"
    )]
    BadLoss {
        /// Index of the item.
        item: usize,
        /// Index of its choice.
        choice: usize,
        /// The loss.
        loss: f64,
    },
    /// Sums that no number holds.
    #[error("bytes or losses add up to more than numbers hold at item {item}; check its choices")]
    TooLarge {
        /// Index of the item at which sums overflow.
        item: usize,
    },
    /// Even the smallest choices do not fit.
    #[error("{budget_bytes} bytes hold no assignment: the smallest takes {smallest_bytes} bytes")]
    TooSmall {
        /// What was asked.
        budget_bytes: u64,
        /// What would do.
        smallest_bytes: u64,
    },
}

/// The best assignment known that takes `budget_bytes` at most.
///
/// The front's point below the budget, improved by changes that fit into what it leaves (see `leftover`): the optimum
/// where the search ends within its limit, which it does on small problems, and never worse than the point. A larger
/// budget never gives a larger loss. Work is limited by counts, not time, so equal questions have equal answers.
pub fn solve(front: &Front, budget_bytes: u64) -> Result<Assignment, BudgetError> {
    let point = front.place(budget_bytes).ok_or(BudgetError::TooSmall {
        budget_bytes,
        smallest_bytes: front.smallest_bytes(),
    })?;
    let mut kept = front.kept_at(point);
    let room = budget_bytes - front.points()[point].bytes;
    for (item, better) in leftover::search(front, point, &kept).changes(room) {
        kept[item] = better;
    }
    Ok(front.assignment(&kept))
}

//! The best choice for each of many items within a budget of bytes, where losses add up.
//!
//! `Front` holds the lower convex hull of all assignments: what the Lagrangian reaches, for every budget at once. `solve`
//! starts there and uses the bytes left over. Knows no layer, bit or model: bytes and losses only.

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

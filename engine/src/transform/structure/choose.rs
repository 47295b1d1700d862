//! Scores of neurons, groups of heads and blocks, and which of them stay.
//!
//! A neuron's score is `||W_down[:, k]|| * E|a_k|`; a group's is the energy `tr(W_S C_SS W_Sᵀ)` that its channels alone
//! bring into the output (their norms and how they move together). Both compare parts of one block only: from every
//! block the same number goes.

use crate::distortion::output_energy;
use crate::model::ModelConfig;
use crate::moments::Moments;
use crate::tensor::{Matrix, Symmetric};

/// One score for each input of `down`.
pub fn neuron_scores(down: &Matrix, moments: &Moments) -> Vec<f64> {
    let mut squares = vec![0.0f64; down.columns()];
    for row in 0..down.rows() {
        for (square, &weight) in squares.iter_mut().zip(down.row(row)) {
            *square += f64::from(weight) * f64::from(weight);
        }
    }
    let pairs = squares.iter().zip(&moments.mean_abs);
    pairs
        .map(|(square, &magnitude)| square.sqrt() * f64::from(magnitude))
        .collect()
}

/// One score for each group of heads that `output` reads.
pub fn group_scores(output: &Matrix, moments: &Moments, config: &ModelConfig) -> Vec<f64> {
    let score = |group| {
        let channels: Vec<usize> = config.group_channels(group).collect();
        let weights = super::columns_of(output, &channels);
        output_energy(&weights, &principal(&moments.gram, &channels))
    };
    (0..config.head_groups()).map(score).collect()
}

/// The `count` parts with the largest scores, rising; of equal ones the first.
pub fn keep_best(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&left, &right| {
        scores[right]
            .total_cmp(&scores[left])
            .then(left.cmp(&right))
    });
    order.truncate(count);
    order.sort_unstable();
    order
}

/// The blocks that stay where `removed` go: those most similar to their input go, never the first or the last.
pub fn least_similar(similarity: &[f64], removed: usize) -> Vec<usize> {
    let last = similarity.len().saturating_sub(1);
    let mut inner: Vec<usize> = (1..last).collect();
    inner.sort_by(|&left, &right| {
        similarity[right]
            .total_cmp(&similarity[left])
            .then(left.cmp(&right))
    });
    inner.truncate(removed);
    (0..similarity.len())
        .filter(|block| !inner.contains(block))
        .collect()
}

/// Rows and columns `indices` (rising) of a symmetric matrix.
fn principal(gram: &Symmetric, indices: &[usize]) -> Symmetric {
    let mut upper = Vec::with_capacity(Symmetric::stored_len(indices.len()));
    for (place, &row) in indices.iter().enumerate() {
        let line = gram.upper_row(row);
        upper.extend(indices[place..].iter().map(|&column| line[column - row]));
    }
    Symmetric::new(indices.len(), upper)
}

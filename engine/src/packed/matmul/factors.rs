//! Two thin matrices whose product is added to a layer.

use super::floats::FloatMatrix;
use crate::solved::LowRank;
use crate::tensor::Matrix;
use rayon::prelude::*;

/// `outer * inner`.
#[derive(Debug, Clone)]
pub(super) struct Factors {
    outer: FloatMatrix,
    inner: FloatMatrix,
}

impl Factors {
    pub(super) fn new(factors: &LowRank) -> Self {
        Self {
            outer: FloatMatrix::new(&factors.outer, factors.dtype),
            inner: FloatMatrix::new(&factors.inner, factors.dtype),
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.outer.size_bytes() + self.inner.size_bytes()
    }

    /// `output += outer * (inner * input)`.
    pub(super) fn add_product(&self, output: &mut [f32], input: &[f32], tokens: usize) {
        let [rank, _] = self.inner.size();
        let mut thin = vec![0.0; tokens * rank];
        self.inner.multiply(&mut thin, input, tokens);
        let mut product = vec![0.0; output.len()];
        self.outer.multiply(&mut product, &thin, tokens);
        for (output, product) in output.iter_mut().zip(product) {
            *output += product;
        }
    }

    /// `weights += outer * inner`, as `Solved::dequantize` adds them.
    pub(super) fn add_weights(&self, weights: &mut Matrix) {
        let (outer, inner) = (self.outer.to_matrix(), self.inner.to_matrix());
        let columns = weights.columns().max(1);
        let rows = weights.data_mut().par_chunks_mut(columns).enumerate();
        rows.for_each(|(row, weights)| {
            for (&share, inner) in outer.row(row).iter().zip(inner.data().chunks(columns)) {
                for (weight, value) in weights.iter_mut().zip(inner) {
                    *weight += share * value;
                }
            }
        });
    }
}

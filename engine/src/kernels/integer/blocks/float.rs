//! Products of kept blocks with f32 activations.
//!
//! Few tokens: in each segment column `c` of every block is added to sum `c` with fused multiply-adds, the four sums in
//! pairs, and `total = fma(scale, sums, total)`: one order on every instruction set. Many tokens: slabs of weights are
//! widened to f32, zeros and all, and multiplied by the `gemm` crate.

use super::panels::{BlockPanels, Blocks};
use crate::kernels::dispatch::per_instruction_set;
use crate::kernels::gemm::Operand;
use crate::kernels::integer::float::Inputs;
use crate::kernels::integer::layout::QUAD;
use crate::kernels::integer::panels::PANEL;
use crate::kernels::slabs::{FloatProduct, Slab, multiply_slabs};

/// Panels of a slab of few tokens.
const SLAB_PANELS: usize = 4;
/// Panels that are widened at once.
const WIDENED_PANELS: usize = 4;

/// `output[token][row] = Σ_column weight * input` with `input` `[tokens, columns]` as it is, in the caller's rayon pool.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn multiply_blocks_float(
    output: &mut [f32],
    input: &[f32],
    tokens: usize,
    weights: &BlockPanels,
) {
    let shape = weights.shape();
    assert_eq!(input.len(), tokens * shape.columns, "input");
    let product = Product {
        inputs: Inputs::new(input, tokens, shape),
        input,
        weights,
    };
    multiply_slabs(output, [tokens, shape.rows, shape.columns], &product);
}

struct Product<'a> {
    inputs: Inputs,
    input: &'a [f32],
    weights: &'a BlockPanels,
}

impl FloatProduct for Product<'_> {
    const FEW_ROWS: usize = SLAB_PANELS * PANEL;
    const MANY_ROWS: usize = WIDENED_PANELS * PANEL;
    type Scratch = Vec<f32>;

    fn few(&self, slab: &mut Slab<'_>) {
        for token in 0..self.inputs.tokens {
            let padded = self.inputs.padded;
            let input = &self.inputs.values[token * padded..(token + 1) * padded];
            let rows = slab.rows();
            for (row, output) in rows.zip(slab.token(token)) {
                *output = 0.0;
                for (index, segment) in self.inputs.segments.iter().enumerate() {
                    let (blocks, _) = self.weights.blocks(row, index);
                    let sum = sum_of_products(blocks, input);
                    *output = self.weights.scale(row, segment.group).mul_add(sum, *output);
                }
            }
        }
    }

    fn many(&self, slab: &mut Slab<'_>, widened: &mut Vec<f32>) {
        let columns = self.weights.shape().columns;
        let rows = slab.rows();
        widened.resize(rows.len() * columns, 0.0);
        for (row, output) in rows.zip(widened.chunks_mut(columns)) {
            self.weights.dequantize_row(row, output);
        }
        slab.multiply(
            Operand::new(self.input, columns),
            Operand::transposed(widened, columns),
            columns,
            0.0,
        );
    }
}

per_instruction_set! {
    /// Of one row's blocks with the quads of a padded input.
    fn sum_of_products(blocks: Blocks<'_>, input: &[f32]) -> f32 {
        let quads = input.as_chunks::<QUAD>().0;
        let mut sums = [0.0f32; QUAD];
        for (values, &quad) in blocks.values.iter().zip(blocks.quads) {
            let input = &quads[usize::from(quad)];
            let values = values.to_le_bytes();
            for ((sum, value), input) in sums.iter_mut().zip(values).zip(input) {
                *sum = f32::from(value as i8).mul_add(*input, *sum);
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }
}

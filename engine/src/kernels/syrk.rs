//! Gram matrix of a batch of rows: the upper triangle of `XᵀX` at half the price of the full product.
//!
//! Goes by block columns: block column `J` is one product `X[:, ..J.end]ᵀ X[:, J]`, so the waste is half of each
//! diagonal block: 6 % at width 4096.

use super::gemm::{Operand, Threads, gemm};
use rayon::prelude::*;

/// Columns of a block: the smallest at which the product still runs at full speed.
const BLOCK: usize = 256;

/// Writes the upper triangle of `rowsᵀ rows` into `upper`, a full row-major `[width, width]` buffer.
///
/// `rows` is `[count, width]` row-major. What stands strictly below the diagonal afterwards is unspecified.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn syrk_f32(upper: &mut [f32], rows: &[f32], count: usize, width: usize) {
    assert_eq!(rows.len(), count * width, "rows of a {width} wide batch");
    assert_eq!(upper.len(), width * width, "Gram matrix of width {width}");
    if width == 0 {
        return;
    }
    // Block row `I` of the triangle is `X[:, I]ᵀ X[:, I.start..]`: row blocks are what slices can be cut into.
    upper
        .par_chunks_mut(BLOCK * width)
        .enumerate()
        .for_each(|(block, output)| {
            let first = block * BLOCK;
            let shape = [output.len() / width, width - first, count];
            let tail = rows.get(first..).unwrap_or_default();
            gemm(
                &mut output[first..],
                width,
                shape,
                (Operand::transposed(tail, width), Operand::new(tail, width)),
                (1.0, 0.0),
                Threads::One,
            );
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference;

    #[test]
    fn equals_its_slow_twin_around_block_edges() {
        for (count, width) in [(0, 3), (1, 1), (5, 255), (7, 256), (3, 257), (2, 515)] {
            let rows: Vec<f32> = (0..count * width)
                .map(|index| (index * 5 % 13) as f32 - 6.0)
                .collect();
            let mut found = vec![9.0; width * width];
            let mut expected = vec![9.0; width * width];
            syrk_f32(&mut found, &rows, count, width);
            reference::syrk_f32(&mut expected, &rows, count, width);
            for row in 0..width {
                let upper = row * width + row..(row + 1) * width;
                assert_eq!(
                    found[upper.clone()],
                    expected[upper],
                    "row {row} of {count} x {width}"
                );
            }
        }
    }
}

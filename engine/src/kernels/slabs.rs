//! A result `[tokens, rows]` filled by slabs of rows, on this thread or by the pool's.
//!
//! A slab's share of the result is a stripe of each token, so that neighbouring slabs lie between each other in memory:
//! the one place where that is made safe. Which rows a slab has depends on the shape alone.

use super::gemm::{Operand, Target, Tile, multiply_tile};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Some rows of a result, all tokens of them.
pub(super) struct Slab<'a> {
    target: Target<f32>,
    tokens: usize,
    rows: Range<usize>,
    marker: PhantomData<&'a mut [f32]>,
}

impl Slab<'_> {
    /// The rows of the whole result that this slab has.
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// What one token has of these rows.
    #[inline(always)]
    pub(super) fn token(&mut self, token: usize) -> &mut [f32] {
        assert!(token < self.tokens, "token {token} of {}", self.tokens);
        let first = token * self.target.stride + self.rows.start;
        // SAFETY: the result holds all tokens and rows, no other slab has these rows, and `self` is borrowed mutably.
        unsafe {
            std::slice::from_raw_parts_mut(self.target.start.wrapping_add(first), self.rows.len())
        }
    }

    /// `self = keep * self + input * weights` over `inner` columns, with `input` `[tokens, inner]` and `weights`
    /// `[inner, rows of the slab]`.
    pub(super) fn multiply(
        &mut self,
        input: Operand<'_, f32>,
        weights: Operand<'_, f32>,
        inner: usize,
        keep: f32,
    ) {
        input.assert_holds(self.tokens, inner);
        weights.assert_holds(inner, self.rows.len());
        let target = Target {
            start: self.target.start.wrapping_add(self.rows.start),
            stride: self.target.stride,
        };
        let tile = Tile {
            rows: (0, self.tokens),
            columns: (0, self.rows.len()),
        };
        // SAFETY: the operands hold their shapes (asserted above), and these rows of the result are this slab's alone.
        unsafe { multiply_tile(target, tile, inner, input, weights, 1.0, keep) };
    }
}

/// Tokens up to which weights become floats in registers.
pub(super) const FEW: usize = 8;
/// Weights above which the pool's threads share them.
const LEAST_PARALLEL_WEIGHTS: usize = 1 << 19;

/// A product of f32 activations with weights of some packed form, slab by slab.
pub(super) trait FloatProduct: Sync {
    /// Rows of a slab of few tokens.
    const FEW_ROWS: usize;
    /// Rows of a slab of many tokens.
    const MANY_ROWS: usize;
    /// What many tokens need beside.
    type Scratch: Default;

    /// One slab of at most `FEW` tokens.
    fn few(&self, slab: &mut Slab<'_>);

    /// One slab of more.
    fn many(&self, slab: &mut Slab<'_>, scratch: &mut Self::Scratch);
}

/// Fills `output` `[tokens, rows]` of weights with so many columns, in the caller's rayon pool where the weights are
/// worth it.
pub(super) fn multiply_slabs<P: FloatProduct>(
    output: &mut [f32],
    [tokens, rows, columns]: [usize; 3],
    product: &P,
) {
    assert_eq!(output.len(), tokens * rows, "output");
    if tokens == 0 || columns == 0 {
        output.fill(0.0);
        return;
    }
    let parallel = rows * columns * tokens.div_ceil(4) > LEAST_PARALLEL_WEIGHTS;
    let size = [tokens, rows];
    if tokens <= FEW {
        let work = |(): &mut (), mut slab: Slab<'_>| product.few(&mut slab);
        for_each_slab(output, size, P::FEW_ROWS, parallel, || (), work);
    } else {
        let work = |scratch: &mut P::Scratch, mut slab: Slab<'_>| product.many(&mut slab, scratch);
        for_each_slab(
            output,
            size,
            P::MANY_ROWS,
            parallel,
            P::Scratch::default,
            work,
        );
    }
}

/// Calls `work` for each slab of `slab_rows` rows of `output` `[tokens, rows]`, with scratch that `scratch` makes for
/// each thread.
pub(super) fn for_each_slab<S>(
    output: &mut [f32],
    [tokens, rows]: [usize; 2],
    slab_rows: usize,
    parallel: bool,
    scratch: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, Slab<'_>) + Sync + Send,
) {
    assert_eq!(output.len(), tokens * rows, "output of {tokens} x {rows}");
    let target = Target {
        start: output.as_mut_ptr(),
        stride: rows,
    };
    let slab = |index: usize| Slab {
        target,
        tokens,
        rows: index * slab_rows..((index + 1) * slab_rows).min(rows),
        marker: PhantomData,
    };
    let slabs = 0..rows.div_ceil(slab_rows);
    if parallel && slabs.len() > 1 {
        slabs
            .into_par_iter()
            .for_each_init(&scratch, |scratch, index| work(scratch, slab(index)));
    } else {
        let mut scratch = scratch();
        slabs.for_each(|index| work(&mut scratch, slab(index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_cover_every_row_of_every_token_once() {
        for (tokens, rows) in [(1, 1), (3, 7), (2, 8), (5, 9), (4, 0)] {
            for parallel in [false, true] {
                let mut output = vec![0.0; tokens * rows];
                let work = |_: &mut (), mut slab: Slab<'_>| {
                    for token in 0..tokens {
                        let first = slab.rows().start;
                        for (index, value) in slab.token(token).iter_mut().enumerate() {
                            *value += (token * rows + first + index) as f32 + 1.0;
                        }
                    }
                };
                for_each_slab(&mut output, [tokens, rows], 4, parallel, || (), work);
                let expected: Vec<f32> = (1..=tokens * rows).map(|value| value as f32).collect();
                assert_eq!(output, expected, "{tokens} x {rows}, parallel {parallel}");
            }
        }
    }

    #[test]
    fn products_of_slabs_are_the_product() {
        let [tokens, rows, inner] = [3, 10, 5];
        let input: Vec<f32> = (0..tokens * inner)
            .map(|index| (index % 7) as f32)
            .collect();
        let weights: Vec<f32> = (0..rows * inner).map(|index| (index % 5) as f32).collect();
        let mut output = vec![f32::NAN; tokens * rows];
        let work = |_: &mut (), mut slab: Slab<'_>| {
            let weights = &weights[slab.rows().start * inner..];
            slab.multiply(
                Operand::new(&input, inner),
                Operand::transposed(weights, inner),
                inner,
                0.0,
            );
        };
        for_each_slab(&mut output, [tokens, rows], 4, true, || (), work);
        for token in 0..tokens {
            for row in 0..rows {
                let expected: f32 = (0..inner)
                    .map(|column| input[token * inner + column] * weights[row * inner + column])
                    .sum();
                assert_eq!(output[token * rows + row], expected, "({token}, {row})");
            }
        }
    }
}

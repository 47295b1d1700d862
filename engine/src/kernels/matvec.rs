//! Dense weights times a few vectors: a decode step of layers that are not quantized, at the speed of memory.
//!
//! Weights are read once, in order, with prefetch; up to four tokens share a pass. Each row's sum has one order of
//! fused multiply-adds, whatever the instruction set, the threads or the number of tokens in the pass. More tokens
//! than `FEW` are a matrix product. Knows no layers.

use super::dispatch::per_instruction_set;
use super::gemm::Operand;
use super::prefetch::{AHEAD, prefetch};
use super::slabs::{Slab, for_each_slab};
use half::bf16;

/// Lanes of a row's sum: chains enough to hide a multiply-add's latency, few enough for one token's registers.
const LANES: usize = 32;

/// Tokens up to which weights are read in place.
const FEW: usize = 8;

/// Bytes of weights that one task handles at least.
const SLAB_BYTES: usize = 128 << 10;

/// Bytes of weights above which the pool's threads share them.
const LEAST_PARALLEL_BYTES: usize = 512 << 10;

/// Rows of weights that are widened at once for a matrix product.
const WIDENED_ROWS: usize = 64;

/// `output[t][r] = Σ_c weights[r][c] * input[t][c]`, with `input` `[tokens, columns]` and `weights` `[rows, columns]`.
///
/// Runs in the caller's rayon pool where the weights are worth it.
///
/// # Panics
/// If the lengths do not fit one shape.
pub fn matvec_f32(output: &mut [f32], input: &[f32], tokens: usize, weights: &[f32]) {
    multiply(output, input, tokens, weights);
}

/// As `matvec_f32`, with weights stored as bf16.
///
/// # Panics
/// If the lengths do not fit one shape.
pub fn matvec_bf16(output: &mut [f32], input: &[f32], tokens: usize, weights: &[bf16]) {
    multiply(output, input, tokens, weights);
}

/// How a weight is stored.
trait Stored: Copy + Sync {
    fn widen(self) -> f32;

    /// The weights themselves where they need no widening.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
}

impl Stored for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }
}

fn multiply<W: Stored>(output: &mut [f32], input: &[f32], tokens: usize, weights: &[W]) {
    if tokens == 0 || output.is_empty() {
        assert!(output.is_empty(), "output of no tokens or no rows");
        return;
    }
    let (rows, columns) = (output.len() / tokens, input.len() / tokens);
    assert_eq!(output.len(), tokens * rows, "output of {tokens} tokens");
    assert_eq!(input.len(), tokens * columns, "input of {tokens} tokens");
    assert_eq!(weights.len(), rows * columns, "weights {rows} x {columns}");
    if columns == 0 {
        output.fill(0.0);
        return;
    }
    let parallel = size_of_val(weights) * tokens.div_ceil(4) > LEAST_PARALLEL_BYTES;
    if tokens <= FEW {
        let slab_rows = SLAB_BYTES.div_ceil(columns * size_of::<W>());
        let read = |_: &mut (), mut slab: Slab<'_>| {
            let rows = slab.rows();
            let weights = &weights[rows.start * columns..rows.end * columns];
            read_slab(&mut slab, input, tokens, weights);
        };
        for_each_slab(output, [tokens, rows], slab_rows, parallel, || (), read);
        return;
    }
    let product = |scratch: &mut Vec<f32>, mut slab: Slab<'_>| {
        let rows = slab.rows();
        let weights = &weights[rows.start * columns..rows.end * columns];
        let weights = W::as_f32(weights).unwrap_or_else(|| {
            scratch.resize(weights.len(), 0.0);
            widen(scratch, weights);
            scratch
        });
        let input = Operand::new(input, columns);
        slab.multiply(input, Operand::transposed(weights, columns), columns, 0.0);
    };
    let shape = [tokens, rows];
    for_each_slab(output, shape, WIDENED_ROWS, parallel, Vec::new, product);
}

per_instruction_set! {
    /// One slab, four tokens or fewer at a pass.
    fn read_slab<W: Stored>(slab: &mut Slab<'_>, input: &[f32], tokens: usize, weights: &[W]) {
        let columns = input.len() / tokens;
        let mut token = 0;
        while token < tokens {
            let input = &input[token * columns..];
            token += match tokens - token {
                1 => pass::<W, 1>(slab, token, input, columns, weights),
                2 => pass::<W, 2>(slab, token, input, columns, weights),
                3 => pass::<W, 3>(slab, token, input, columns, weights),
                _ => pass::<W, 4>(slab, token, input, columns, weights),
            };
        }
    }
}

/// `T` tokens from the first of `input`. Returns `T`.
#[inline(always)]
fn pass<W: Stored, const T: usize>(
    slab: &mut Slab<'_>,
    token: usize,
    input: &[f32],
    columns: usize,
    weights: &[W],
) -> usize {
    let inputs: [&[f32]; T] = std::array::from_fn(|index| &input[index * columns..][..columns]);
    for (row, weights) in weights.chunks_exact(columns).enumerate() {
        let sums = dots(weights, &inputs);
        for (index, sum) in sums.into_iter().enumerate() {
            slab.token(token + index)[row] = sum;
        }
    }
    T
}

/// A row of weights times `T` inputs of its length: column `c` is added in lane `c % LANES`, then lanes in pairs.
#[inline(always)]
fn dots<W: Stored, const T: usize>(weights: &[W], inputs: &[&[f32]; T]) -> [f32; T] {
    const LINE: usize = 64;
    let mut sums = [[0.0f32; LANES]; T];
    let whole = weights.len() / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        let weights = &weights[first..first + LANES];
        for line in (0..size_of_val(weights)).step_by(LINE) {
            prefetch(weights, AHEAD + line);
        }
        for (sums, input) in sums.iter_mut().zip(inputs) {
            let input = &input[first..first + LANES];
            for lane in 0..LANES {
                sums[lane] = weights[lane].widen().mul_add(input[lane], sums[lane]);
            }
        }
    }
    for (sums, input) in sums.iter_mut().zip(inputs) {
        for (lane, weight) in weights[whole..].iter().enumerate() {
            sums[lane] = weight.widen().mul_add(input[whole + lane], sums[lane]);
        }
    }
    sums.map(sum_of_lanes)
}

/// `32 -> 16 -> 8 -> 4 -> 2 -> 1`.
#[inline(always)]
fn sum_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

per_instruction_set! {
    fn widen<W: Stored>(target: &mut [f32], source: &[W]) {
        for (target, value) in target.iter_mut().zip(source) {
            *target = value.widen();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::same_on_every_instruction_set;
    use crate::kernels::reference;

    const COLUMNS: [usize; 9] = [0, 1, 15, 31, 32, 33, 64, 95, 200];

    /// Small integers: sums are exact in any order.
    fn integers(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|index| ((index * 7 + seed * 13) % 11) as f32 - 5.0)
            .collect()
    }

    fn check(rows: usize, columns: usize, tokens: usize) {
        let (weights, input) = (integers(rows * columns, 1), integers(tokens * columns, 2));
        let mut expected = vec![0.0; tokens * rows];
        reference::matvec(&mut expected, &input, tokens, &weights);
        let mut found = vec![f32::NAN; tokens * rows];
        matvec_f32(&mut found, &input, tokens, &weights);
        assert_eq!(found, expected, "f32, {rows} x {columns}, {tokens} tokens");
        let weights: Vec<bf16> = weights.into_iter().map(bf16::from_f32).collect();
        let mut found = vec![f32::NAN; tokens * rows];
        matvec_bf16(&mut found, &input, tokens, &weights);
        assert_eq!(found, expected, "bf16, {rows} x {columns}, {tokens} tokens");
    }

    #[test]
    fn equals_its_slow_twin_around_lane_and_token_edges() {
        for columns in COLUMNS {
            for rows in [0, 1, 3, 65] {
                for tokens in 0..=FEW + 1 {
                    check(rows, columns, tokens);
                }
            }
        }
    }

    #[test]
    fn equals_its_slow_twin_across_slabs_and_threads() {
        check(1031, 130, 1);
        check(1031, 130, 3);
        check(1031, 130, 9);
    }

    #[test]
    fn every_instruction_set_and_number_of_tokens_gives_the_same_bits() {
        let noise =
            |len: usize| -> Vec<f32> { (0..len).map(|index| (index as f32 * 0.7).sin()).collect() };
        let (rows, columns, tokens) = (9, 333, 7);
        let (weights, input) = (noise(rows * columns), noise(tokens * columns));
        let narrow: Vec<bf16> = weights.iter().copied().map(bf16::from_f32).collect();
        same_on_every_instruction_set(|| {
            let mut output = vec![0.0; 2 * tokens * rows];
            let (wide, half) = output.split_at_mut(tokens * rows);
            matvec_f32(wide, &input, tokens, &weights);
            matvec_bf16(half, &input, tokens, &narrow);
            for token in 0..tokens {
                let mut alone = vec![0.0; rows];
                matvec_f32(
                    &mut alone,
                    &input[token * columns..][..columns],
                    1,
                    &weights,
                );
                assert_eq!(alone, wide[token * rows..][..rows], "token {token}");
            }
            output
        });
    }
}

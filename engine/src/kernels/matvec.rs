//! Dense weights times a few vectors: a decode step of layers that are not quantized, at the speed of memory.
//!
//! Weights are read once, with prefetch; a few tokens go over each pair of rows in turn. Each row's sum has one order of
//! fused multiply-adds, whatever the instruction set, the threads or the number of tokens. More tokens than `FEW`
//! are a matrix product. Knows no layers.

use super::gemm::Operand;
use super::lanes::{LANES, Lanes, OverLanes, Stored, widen, with_lanes};
use super::prefetch::{AHEAD, prefetch};
use super::slabs::{Slab, for_each_slab};
use half::{bf16, f16};

/// Columns of a row that are added at once: chains enough to hide the latency of multiply-adds.
const STEP: usize = 2 * LANES;

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

/// As `matvec_f32`, with weights stored as f16.
///
/// # Panics
/// If the lengths do not fit one shape.
pub fn matvec_f16(output: &mut [f32], input: &[f32], tokens: usize, weights: &[f16]) {
    multiply(output, input, tokens, weights);
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
            with_lanes(ReadSlab {
                slab: &mut slab,
                input,
                columns,
                weights,
            });
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

/// The products of one slab.
struct ReadSlab<'a, 'b, W> {
    slab: &'a mut Slab<'b>,
    input: &'a [f32],
    columns: usize,
    weights: &'a [W],
}

impl<W: Stored> OverLanes for ReadSlab<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let columns = self.columns;
        // Two rows at a time: each value of the input is loaded once for both.
        for (pair, weights) in self.weights.chunks(2 * columns).enumerate() {
            let (first, second) = weights.split_at(columns);
            for (token, input) in self.input.chunks_exact(columns).enumerate() {
                let output = &mut self.slab.token(token)[2 * pair..];
                if second.is_empty() {
                    output[0] = dots(lanes, [first, first], input)[0];
                } else {
                    output[..2].copy_from_slice(&dots(lanes, [first, second], input));
                }
            }
        }
    }
}

/// Two rows of weights times one input: column `c` is added in lane `c % 32`, then lanes in pairs.
#[inline(always)]
fn dots<L: Lanes, W: Stored>(lanes: L, rows: [&[W]; 2], input: &[f32]) -> [f32; 2] {
    let zero = lanes.splat(0.0);
    let (mut sums_of_first, mut sums_of_second) = ((zero, zero), (zero, zero));
    let (whole, last) = input.as_chunks();
    let (first, last_of_first) = rows[0].as_chunks();
    let (second, last_of_second) = rows[1].as_chunks();
    // What follows a row is read already, as the other of the two: at its end the next two are asked for.
    let row = size_of_val(rows[0]);
    let mut ahead = AHEAD;
    let mut left = row.saturating_sub(AHEAD);
    for ((x, first), second) in whole.iter().zip(first).zip(second) {
        ahead = if left == 0 { AHEAD + row } else { ahead };
        left = left.saturating_sub(size_of_val(first));
        ask_ahead(first, ahead);
        ask_ahead(second, ahead);
        let x = wide(lanes, x);
        sums_of_first = add_products(lanes, sums_of_first, wide(lanes, first), x);
        sums_of_second = add_products(lanes, sums_of_second, wide(lanes, second), x);
    }
    if !last.is_empty() {
        let x = wide(lanes, &padded(last));
        let first = wide(lanes, &padded(last_of_first));
        let second = wide(lanes, &padded(last_of_second));
        sums_of_first = add_products(lanes, sums_of_first, first, x);
        sums_of_second = add_products(lanes, sums_of_second, second, x);
    }
    [
        lanes.sum(lanes.add(sums_of_first.0, sums_of_first.1)),
        lanes.sum(lanes.add(sums_of_second.0, sums_of_second.1)),
    ]
}

/// 32 weights, inputs or sums in registers.
type Wide<L> = (<L as Lanes>::Vector, <L as Lanes>::Vector);

#[inline(always)]
fn wide<L: Lanes, W: Stored>(lanes: L, values: &[W; STEP]) -> Wide<L> {
    let (low, high) = values.split_at(LANES);
    let low = low.first_chunk().expect("half of 32 values are 16");
    let high = high.first_chunk().expect("half of 32 values are 16");
    (W::load(lanes, low), W::load(lanes, high))
}

#[inline(always)]
fn add_products<L: Lanes>(lanes: L, sums: Wide<L>, weights: Wide<L>, x: Wide<L>) -> Wide<L> {
    (
        lanes.multiply_add(weights.0, x.0, sums.0),
        lanes.multiply_add(weights.1, x.1, sums.1),
    )
}

/// Fewer than 32 values, widened, with zero behind them.
#[inline(always)]
fn padded<W: Stored>(values: &[W]) -> [f32; STEP] {
    let mut padded = [0.0; STEP];
    for (padded, value) in padded.iter_mut().zip(values) {
        *padded = value.widen();
    }
    padded
}

/// Asks for the memory `ahead` bytes behind these weights.
#[inline(always)]
fn ask_ahead<W>(weights: &[W; STEP], ahead: usize) {
    const LINE: usize = 64;
    for line in (0..size_of_val(weights)).step_by(LINE) {
        prefetch(weights, ahead + line);
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

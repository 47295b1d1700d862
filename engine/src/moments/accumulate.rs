//! From tokens to `Moments`: f32 sums over fixed chunks of tokens, added up in f64 in index order.
//!
//! Chunks are cut by absolute token index, so that the result does not depend on how tokens arrive: in one batch, in
//! many, or in two accumulators merged later. A chunk that comes before its predecessor waits.
//! The Gram matrix is made panel by panel (a block of rows from its diagonal on), so that half of the square is never
//! computed and threads share nothing. Memory: 8 bytes for each value of the upper triangle, and as much again as
//! one panel in f32 for each thread.

use super::Moments;
use crate::kernels::{Operand, Threads, gemm};
use crate::tensor::{Matrix, Symmetric};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Tokens whose products are summed in f32 before they join the f64 sum.
pub const CHUNK_TOKENS: usize = 1024;

/// Rows of one panel of the Gram and cross matrices.
const PANEL_ROWS: usize = 256;

/// Sums over the tokens of one layer input.
#[derive(Debug, Clone)]
pub struct Accumulator {
    width: usize,
    with_cross: bool,
    /// Tokens that were added before the first whole chunk is complete, by the index of their chunk.
    waiting: BTreeMap<u64, Pending>,
    /// Chunks below this index are in the sums.
    next_chunk: u64,
    sums: Sums,
}

/// Tokens of a chunk that is not yet in the sums: `[tokens, width]` from the chunk's start on.
#[derive(Debug, Clone, Default)]
struct Pending {
    seen: Vec<f32>,
    original: Vec<f32>,
}

#[derive(Debug, Clone)]
struct Sums {
    count: u64,
    /// Panel `p`: rows `p*PANEL_ROWS..end`, columns `p*PANEL_ROWS..width`, row-major.
    gram: Vec<Vec<f64>>,
    /// Panel `p`: rows `p*PANEL_ROWS..end` of the cross matrix, all columns.
    cross: Vec<Vec<f64>>,
    square: Vec<f64>,
    abs: Vec<f64>,
    abs_max: Vec<f32>,
}

impl Accumulator {
    /// An empty accumulator for inputs of `width` features; `with_cross` if original inputs come along.
    pub fn new(width: usize, with_cross: bool) -> Self {
        let ends = || (0..width.div_ceil(PANEL_ROWS)).map(|panel| panel_range(panel, width));
        let gram = ends()
            .map(|(start, end)| vec![0.0; (end - start) * (width - start)])
            .collect();
        let cross = if with_cross {
            ends()
                .map(|(start, end)| vec![0.0; width * (end - start)])
                .collect()
        } else {
            vec![]
        };
        let sums = Sums {
            count: 0,
            gram,
            cross,
            square: vec![0.0; width],
            abs: vec![0.0; width],
            abs_max: vec![0.0; width],
        };
        Self {
            width,
            with_cross,
            waiting: BTreeMap::new(),
            next_chunk: 0,
            sums,
        }
    }

    /// Adds tokens `first_token..` whose inputs are `seen` `[tokens, width]`, and `original` alike where cross moments
    /// are kept. Tokens of one chunk must come in order; chunks may come in any.
    ///
    /// # Panics
    /// If lengths do not fit `width` or each other: a mistake of the caller.
    pub fn add(&mut self, first_token: u64, seen: &[f32], original: Option<&[f32]>) {
        assert_eq!(
            seen.len() % self.width.max(1),
            0,
            "whole tokens of {} features",
            self.width
        );
        assert_eq!(
            original.map(<[f32]>::len),
            self.with_cross.then_some(seen.len()),
            "original inputs beside the seen ones"
        );
        let tokens = seen.len() / self.width.max(1);
        let mut done = 0;
        while done < tokens {
            let token = first_token + done as u64;
            let chunk = token / CHUNK_TOKENS as u64;
            let room = CHUNK_TOKENS - (token % CHUNK_TOKENS as u64) as usize;
            let take = room.min(tokens - done);
            let range = done * self.width..(done + take) * self.width;
            let pending = self.waiting.entry(chunk).or_default();
            pending.seen.extend_from_slice(&seen[range.clone()]);
            if let Some(original) = original {
                pending.original.extend_from_slice(&original[range]);
            }
            done += take;
            self.take_in_whole_chunks();
        }
    }

    /// Takes over what `other` has seen: its chunks that are not in its sums yet. Chunks begun in both are joined,
    /// `self`'s tokens first.
    ///
    /// # Panics
    /// If `other` has begun its sums (that is, was given chunk 0) or has another width.
    pub fn merge(&mut self, other: Self) {
        assert!(
            other.next_chunk == 0 && other.width == self.width,
            "only later tokens of the same input can be merged in"
        );
        for (chunk, pending) in other.waiting {
            let mine = self.waiting.entry(chunk).or_default();
            mine.seen.extend_from_slice(&pending.seen);
            mine.original.extend_from_slice(&pending.original);
        }
        self.take_in_whole_chunks();
    }

    /// Tokens added so far.
    pub fn count(&self) -> u64 {
        let waiting: usize = self
            .waiting
            .values()
            .map(|pending| pending.seen.len() / self.width.max(1))
            .sum();
        self.sums.count + waiting as u64
    }

    /// The moments of all tokens added, and the mean cross matrix where it is kept.
    pub fn finish(mut self) -> (Moments, Option<Matrix>) {
        for (_, pending) in std::mem::take(&mut self.waiting) {
            self.sums.take_in(self.width, &pending);
        }
        self.sums.finish(self.width, self.with_cross)
    }

    fn take_in_whole_chunks(&mut self) {
        let whole = CHUNK_TOKENS * self.width;
        while self
            .waiting
            .get(&self.next_chunk)
            .is_some_and(|pending| pending.seen.len() == whole)
        {
            let pending = self
                .waiting
                .remove(&self.next_chunk)
                .expect("it was just seen");
            self.sums.take_in(self.width, &pending);
            self.next_chunk += 1;
        }
    }
}

impl Sums {
    fn take_in(&mut self, width: usize, pending: &Pending) {
        let tokens = pending.seen.len() / width.max(1);
        self.count += tokens as u64;
        self.add_columns(width, &pending.seen);
        let seen = &pending.seen;
        self.gram
            .par_iter_mut()
            .enumerate()
            .for_each(|(panel, sum)| {
                let (start, end) = panel_range(panel, width);
                let (left, right) = (
                    &seen[start.min(seen.len())..],
                    &seen[start.min(seen.len())..],
                );
                add_product(
                    sum,
                    [end - start, width - start, tokens],
                    left,
                    right,
                    width,
                );
            });
        let original = &pending.original;
        self.cross
            .par_iter_mut()
            .enumerate()
            .for_each(|(panel, sum)| {
                let (start, end) = panel_range(panel, width);
                add_product(
                    sum,
                    [end - start, width, tokens],
                    &original[start.min(original.len())..],
                    seen,
                    width,
                );
            });
    }

    fn add_columns(&mut self, width: usize, rows: &[f32]) {
        for row in rows.chunks_exact(width.max(1)) {
            for (column, &value) in row.iter().enumerate() {
                self.square[column] += f64::from(value) * f64::from(value);
                self.abs[column] += f64::from(value.abs());
                self.abs_max[column] = self.abs_max[column].max(value.abs());
            }
        }
    }

    fn finish(self, width: usize, with_cross: bool) -> (Moments, Option<Matrix>) {
        let scale = if self.count == 0 {
            0.0
        } else {
            1.0 / self.count as f64
        };
        let mean = |sum: f64| (sum * scale) as f32;
        let mut upper = Vec::with_capacity(Symmetric::stored_len(width));
        for (panel, sums) in self.gram.iter().enumerate() {
            let columns = width - panel_range(panel, width).0;
            for (offset, row) in sums.chunks_exact(columns).enumerate() {
                upper.extend(row[offset..].iter().map(|&sum| mean(sum)));
            }
        }
        let cross = with_cross.then(|| {
            let data = self.cross.iter().flatten().map(|&sum| mean(sum)).collect();
            Matrix::new(width, width, data)
        });
        let moments = Moments {
            count: self.count,
            gram: Symmetric::new(width, upper),
            mean_square: self.square.iter().map(|&sum| mean(sum)).collect(),
            mean_abs: self.abs.iter().map(|&sum| mean(sum)).collect(),
            abs_max: self.abs_max,
        };
        (moments, cross)
    }
}

fn panel_range(panel: usize, width: usize) -> (usize, usize) {
    (panel * PANEL_ROWS, ((panel + 1) * PANEL_ROWS).min(width))
}

/// Adds `leftᵀ right` (`shape = [m, n, k]`, both operands `[k, …]` with `width` between rows) to `sums`.
fn add_product(sums: &mut [f64], shape: [usize; 3], left: &[f32], right: &[f32], width: usize) {
    let mut product = vec![0.0; shape[0] * shape[1]];
    let operands = (Operand::transposed(left, width), Operand::new(right, width));
    gemm(
        &mut product,
        shape[1],
        shape,
        operands,
        (1.0, 0.0),
        Threads::One,
    );
    for (sum, product) in sums.iter_mut().zip(product) {
        *sum += f64::from(product);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn tokens(count: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0);
        (0..count * width).map(|_| rng.normal() as f32).collect()
    }

    fn moments_of(rows: &[f32], width: usize) -> Moments {
        let mut accumulator = Accumulator::new(width, false);
        accumulator.add(0, rows, None);
        accumulator.finish().0
    }

    #[test]
    fn equals_plain_f64_sums() {
        let (count, width) = (1500, 300);
        let seen = tokens(count, width, 1);
        let original = tokens(count, width, 2);
        let mut accumulator = Accumulator::new(width, true);
        accumulator.add(0, &seen, Some(&original));
        let (moments, cross) = accumulator.finish();
        let cross = cross.expect("asked for");
        assert_eq!(moments.count, count as u64);
        for (row, column) in [
            (0, 0),
            (0, 299),
            (255, 256),
            (256, 256),
            (256, 299),
            (299, 299),
            (299, 3),
        ] {
            let mean = |left: &[f32]| {
                let products = (0..count).map(|token| {
                    f64::from(left[token * width + row]) * f64::from(seen[token * width + column])
                });
                products.sum::<f64>() / count as f64
            };
            let (expected, found) = (mean(&seen), f64::from(moments.gram.at(row, column)));
            assert!(
                (expected - found).abs() < 1e-5,
                "gram ({row}, {column}): expected {expected}, found {found}"
            );
            let (expected, found) = (mean(&original), f64::from(cross.row(row)[column]));
            assert!(
                (expected - found).abs() < 1e-5,
                "cross ({row}, {column}): expected {expected}, found {found}"
            );
        }
        let expected = moments.gram.diagonal();
        for (column, (&square, &diagonal)) in moments.mean_square.iter().zip(&expected).enumerate()
        {
            assert!(
                (square - diagonal).abs() < 1e-5,
                "mean square {column}: expected {diagonal}, found {square}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Law 4.
        #[test]
        fn do_not_depend_on_batches(cuts in prop::collection::vec(0usize..5000, 0..6), merge_at in 1u64..4) {
            let (count, width) = (5000, 5);
            let rows = tokens(count, width, 3);
            let expected = moments_of(&rows, width);

            let mut cuts = cuts;
            cuts.extend([0, count]);
            cuts.sort_unstable();
            let mut batched = Accumulator::new(width, false);
            for pair in cuts.windows(2) {
                batched.add(pair[0] as u64, &rows[pair[0] * width..pair[1] * width], None);
            }
            prop_assert_eq!(&batched.finish().0, &expected);

            let boundary = merge_at as usize * CHUNK_TOKENS;
            let mut first = Accumulator::new(width, false);
            let mut second = Accumulator::new(width, false);
            second.add(boundary as u64, &rows[boundary * width..], None);
            first.add(0, &rows[..boundary * width], None);
            first.merge(second);
            prop_assert_eq!(&first.finish().0, &expected);
        }
    }

    #[test]
    fn no_tokens_give_finite_zeros() {
        let moments = Accumulator::new(3, false).finish().0;
        assert_eq!((moments.count, moments.dead_inputs()), (0, 3));
        assert!(moments.gram.upper().iter().all(|&value| value == 0.0));
    }
}

//! Short slices of the rulers: multiply-adds of floats and bytes, and reads from memory, on one thread and on all.

use crate::kernels::rulers::{integer_multiply_adds, multiply_adds, read_all};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::Instant;

/// The best that this machine was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct KernelRulers {
    /// f32 multiply-adds in registers on one thread, 10^9 floating point operations per second.
    pub fma_gflops_one: f64,
    /// The same on all threads together.
    pub fma_gflops: f64,
    /// Multiply-adds of bytes in registers on one thread, 10^9 per second.
    pub integer_gmacs_one: f64,
    /// The same on all threads together.
    pub integer_gmacs: f64,
    /// Reads from memory on one thread, 10^9 bytes per second.
    pub stream_read_gbps_one: f64,
    /// The same on all threads together.
    pub stream_read_gbps: f64,
}

/// Rounds of the rulers in registers: some tenths of a millisecond.
const ROUNDS: u64 = 100_000;
/// Words that are read in turn: 256 MiB.
const WORDS: usize = 32 << 20;
/// Words of one slice: 16 MiB.
const SLICE: usize = 2 << 20;

/// The rulers' working memory and best readings.
pub(super) struct Clocks {
    words: Vec<u64>,
    turn: usize,
    best: KernelRulers,
}

impl Clocks {
    pub(super) fn new() -> Self {
        Self {
            words: (0..WORDS as u64).collect(),
            turn: 0,
            best: KernelRulers::default(),
        }
    }

    pub(super) fn best(&self) -> KernelRulers {
        self.best
    }

    /// Takes each ruler once and remembers the best.
    pub(super) fn take(&mut self) -> KernelRulers {
        let several = rayon::current_num_threads() > 1;
        let fma = || rate(|| counted(multiply_adds(ROUNDS)));
        let integer = || rate(|| counted(integer_multiply_adds(ROUNDS)));
        let on_all = |ruler: &(dyn Fn() -> f64 + Sync)| -> f64 {
            rayon::broadcast(|_| ruler()).into_iter().sum()
        };
        let (fma_one, integer_one) = (fma(), integer());
        let read_one = read_gbps(self.next(), 1);
        let taken = KernelRulers {
            fma_gflops_one: fma_one,
            fma_gflops: if several { on_all(&fma) } else { fma_one },
            integer_gmacs_one: integer_one,
            integer_gmacs: if several {
                on_all(&integer)
            } else {
                integer_one
            },
            stream_read_gbps_one: read_one,
            stream_read_gbps: if several {
                read_gbps(self.next(), rayon::current_num_threads())
            } else {
                read_one
            },
        };
        let best = &mut self.best;
        for (best, taken) in [
            (&mut best.fma_gflops_one, taken.fma_gflops_one),
            (&mut best.fma_gflops, taken.fma_gflops),
            (&mut best.integer_gmacs_one, taken.integer_gmacs_one),
            (&mut best.integer_gmacs, taken.integer_gmacs),
            (&mut best.stream_read_gbps_one, taken.stream_read_gbps_one),
            (&mut best.stream_read_gbps, taken.stream_read_gbps),
        ] {
            *best = best.max(taken);
        }
        taken
    }

    /// The next words, not read for a long time.
    fn next(&mut self) -> &[u64] {
        self.turn = (self.turn + 1) % (WORDS / SLICE);
        &self.words[self.turn * SLICE..(self.turn + 1) * SLICE]
    }
}

/// What a ruler counted; its value is used.
fn counted<T>((count, value): (u64, T)) -> u64 {
    black_box(value);
    count
}

/// 10^9 counts per second.
fn rate(ruler: impl Fn() -> u64) -> f64 {
    let started = Instant::now();
    let count = ruler();
    count as f64 / started.elapsed().as_secs_f64() / 1e9
}

/// Reads `words` once with some threads of the pool.
pub(super) fn read_gbps(words: &[u64], threads: usize) -> f64 {
    let started = Instant::now();
    if threads == 1 {
        black_box(read_all(words));
    } else {
        let piece = words.len().div_ceil(threads);
        rayon::broadcast(|context| {
            let piece = words.chunks(piece).nth(context.index());
            black_box(read_all(piece.unwrap_or_default()))
        });
    }
    (words.len() * 8) as f64 / started.elapsed().as_secs_f64() / 1e9
}

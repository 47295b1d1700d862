//! Clocks around the kernels' rulers: multiply-adds and memory reads per second, on all threads of the pool at once.

use crate::kernels::rulers::{multiply_adds, read_all};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::Instant;

/// The best that this machine was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rulers {
    /// f32 multiply-adds in registers, 10^9 floating point operations per second, all threads together.
    pub fma_gflops: f64,
    /// Reads of a buffer larger than the caches, 10^9 bytes per second, all threads together.
    pub stream_read_gbps: f64,
}

/// Rounds of the multiply-add ruler: about 10 ms.
const ROUNDS: u64 = 3_000_000;
/// Words that the read ruler goes over: 256 MiB.
const WORDS: usize = 32 << 20;

/// The rulers' working memory.
#[derive(Debug)]
pub(super) struct Bench {
    words: Vec<u64>,
    best: Rulers,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            words: (0..WORDS as u64).collect(),
            best: Rulers::default(),
        }
    }

    /// Takes both rulers once and keeps the best.
    pub(super) fn take(&mut self) {
        let fma = fma_gflops();
        self.best.fma_gflops = self.best.fma_gflops.max(fma);
        let read = self.read_gbps();
        self.best.stream_read_gbps = self.best.stream_read_gbps.max(read);
    }

    pub(super) fn best(&self) -> Rulers {
        self.best
    }

    fn read_gbps(&self) -> f64 {
        let started = Instant::now();
        let piece = self.words.len().div_ceil(rayon::current_num_threads());
        rayon::broadcast(|context| {
            let piece = self.words.chunks(piece).nth(context.index());
            black_box(read_all(piece.unwrap_or_default()))
        });
        (self.words.len() * 8) as f64 / started.elapsed().as_secs_f64() / 1e9
    }
}

/// The best of a few looks at what all threads of the pool can multiply and add, 10^9 operations per second: about 50 ms.
pub fn best_fma_gflops() -> f64 {
    (0..5).map(|_| fma_gflops()).fold(0.0, f64::max)
}

/// Multiply-adds of all threads at once. Threads that start late do not count against those that started.
fn fma_gflops() -> f64 {
    let rates = rayon::broadcast(|_| {
        let started = Instant::now();
        let (operations, value) = multiply_adds(ROUNDS);
        black_box(value);
        operations as f64 / started.elapsed().as_secs_f64() / 1e9
    });
    rates.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rulers_are_positive_numbers() {
        let mut bench = Bench {
            words: (0..1000).collect(),
            best: Rulers::default(),
        };
        bench.take();
        let Rulers {
            fma_gflops,
            stream_read_gbps,
        } = bench.best();
        assert!(fma_gflops > 0.0 && fma_gflops.is_finite());
        assert!(stream_read_gbps > 0.0 && stream_read_gbps.is_finite());
    }
}

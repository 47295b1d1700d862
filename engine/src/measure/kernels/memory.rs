//! Reads of working sets from the first-level cache to memory: what a product's weights can at best arrive with.

use super::clocks::read_gbps;
use crate::monitor::{Monitor, Stopped};
use serde::{Deserialize, Serialize};

/// What reading showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Processor, instruction set and threads.
    pub machine: String,
    /// Threads of the second reading of each row.
    pub threads: usize,
    /// One row per size.
    pub rows: Vec<MemoryRow>,
}

/// One size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryRow {
    /// Bytes that are read over and over; all threads together share them.
    pub bytes: usize,
    /// 10^9 bytes per second on one thread, at best.
    pub read_gbps_one: f64,
    /// 10^9 bytes per second on all threads together, at best.
    pub read_gbps: f64,
}

/// From 16 KiB to 256 MiB.
const SIZES: [usize; 8] = [
    16 << 10,
    128 << 10,
    512 << 10,
    2 << 20,
    8 << 20,
    24 << 20,
    64 << 20,
    256 << 20,
];
/// Bytes that are read in one slice at least, so that the clock's own time does not count.
const SLICE_BYTES: usize = 4 << 20;

/// Reads each size `rounds` times with one thread and with all of the pool.
pub fn bench_memory(rounds: u32, monitor: &dyn Monitor) -> Result<MemoryReport, Stopped> {
    let words: Vec<u64> = (0..(SIZES[SIZES.len() - 1] / 8) as u64).collect();
    let threads = rayon::current_num_threads();
    let mut best = [[0.0f64; 2]; SIZES.len()];
    for round in 0..rounds.max(1) {
        for (size, best) in SIZES.iter().zip(&mut best) {
            monitor.check()?;
            for (best, threads) in best.iter_mut().zip([1, threads]) {
                let repeats = (SLICE_BYTES / size).max(1);
                let rates = (0..repeats).map(|_| read_gbps(&words[..size / 8], threads));
                // Harmonic mean: bytes over the time of all repeats.
                let time: f64 = rates.map(|rate| 1.0 / rate).sum();
                *best = best.max(repeats as f64 / time);
            }
        }
        monitor.step(u64::from(round) + 1, u64::from(rounds.max(1)));
    }
    Ok(MemoryReport {
        machine: crate::measure::machine(),
        threads,
        rows: SIZES
            .iter()
            .zip(best)
            .map(|(&bytes, [read_gbps_one, read_gbps])| MemoryRow {
                bytes,
                read_gbps_one,
                read_gbps,
            })
            .collect(),
    })
}

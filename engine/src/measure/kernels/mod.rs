//! How fast the kernels of quantized inference are, beside what registers and memory of this machine allow.
//!
//! Each case is first checked against its slow twin, then runs in short slices between slices of the rulers, so that a
//! slow phase of the machine slows both. Knows no other program's kernels: scripts call one case at a time.

mod cases;
mod clocks;
mod memory;
mod packed;

pub use clocks::KernelRulers;
pub use memory::{MemoryReport, MemoryRow, bench_memory};

use crate::monitor::{Monitor, Stopped};
use cases::{Bound, CASES, Case, Work};
use clocks::Clocks;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelBench {
    /// The case of this name only.
    pub only: Option<String>,
    /// Outputs, where not those of the case.
    pub rows: Option<usize>,
    /// Inputs, where not those of the case.
    pub columns: Option<usize>,
    /// Tokens, where not those of the case.
    pub tokens: Option<usize>,
    /// Slices of each case.
    pub rounds: u32,
}

impl KernelBench {
    /// Slices where nobody asks for another number.
    pub const ROUNDS: u32 = 40;

    /// The names of all cases.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CASES.iter().map(|case| case.name)
    }
}

/// What a bench of kernels found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelReport {
    /// Processor, instruction set and threads.
    pub machine: String,
    /// Instruction set that was used.
    pub instruction_set: String,
    /// Threads that worked.
    pub threads: usize,
    /// What the machine can do at best, measured in the same run.
    pub rulers: KernelRulers,
    /// One row per case.
    pub rows: Vec<KernelRow>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelRow {
    /// Its name.
    pub name: String,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Tokens.
    pub tokens: usize,
    /// Whether its results equal the slow twin to the last bit; null where no order of summing is promised.
    pub exact: Option<bool>,
    /// Wall seconds of the best slice.
    pub seconds: f64,
    /// Median of the slices.
    pub seconds_median: f64,
    /// 10^9 multiply-adds per second in the best slice.
    pub gmacs: f64,
    /// 10^9 bytes of weights per second in the best slice.
    pub weight_gbps: f64,
    /// What it is held against: "fma", "integer" or "stream".
    pub bound: String,
    /// Best slice over best ruler.
    pub of_bound: f64,
    /// Median over slices of the share of the ruler's slice just before.
    pub of_bound_median: f64,
    /// Of weights with zeros: how many times faster than the same shape and bits without; best slices. Below 1: slower.
    pub times_dense: Option<f64>,
    /// The same, median of neighbouring slices.
    pub times_dense_median: Option<f64>,
}

/// Why no kernel was measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelBenchError {
    /// A name that no case has.
    #[error("no kernel case is called {name:?}; there are {}", KernelBench::names().collect::<Vec<_>>().join(", "))]
    UnknownCase {
        /// What was asked for.
        name: String,
    },
    /// Stopped by the person.
    #[error("the bench was stopped")]
    Stopped,
}

impl From<Stopped> for KernelBenchError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Checks and measures kernels with the threads of the current pool.
pub fn bench_kernels(
    bench: &KernelBench,
    monitor: &dyn Monitor,
) -> Result<KernelReport, KernelBenchError> {
    let asked = |case: &&Case| bench.only.as_ref().is_none_or(|name| name == case.name);
    let chosen: Vec<&Case> = CASES.iter().filter(asked).collect();
    if let (Some(name), true) = (&bench.only, chosen.is_empty()) {
        return Err(KernelBenchError::UnknownCase { name: name.clone() });
    }
    let mut clocks = Clocks::new();
    let mut measured = Vec::with_capacity(chosen.len());
    for (index, case) in chosen.iter().enumerate() {
        let mut work = Work::new(case, bench);
        let exact = work.exact();
        let mut dense = case.dense().map(|case| Work::new(&case, bench));
        let pair = (&mut work, dense.as_mut());
        let slices = slices(pair, &mut clocks, bench.rounds.max(1), monitor)?;
        measured.push((work.size(), case.bound, exact, slices));
        monitor.step(index as u64 + 1, chosen.len() as u64);
    }
    let rulers = clocks.best();
    let rows = chosen.iter().zip(measured);
    Ok(KernelReport {
        machine: super::machine(),
        instruction_set: crate::kernels::instruction_set().word().into(),
        threads: rayon::current_num_threads(),
        rulers,
        rows: rows
            .map(|(case, measured)| row(case, &rulers, measured))
            .collect(),
    })
}

/// One slice: seconds of the case, and what its ruler read just before.
struct Slice {
    seconds: f64,
    ruler: f64,
    /// Seconds of the same without zeros, just after.
    dense: Option<f64>,
}

fn slices(
    (work, mut dense): (&mut Work, Option<&mut Work>),
    clocks: &mut Clocks,
    rounds: u32,
    monitor: &dyn Monitor,
) -> Result<Vec<Slice>, Stopped> {
    let mut slices = Vec::with_capacity(rounds as usize);
    work.run(); // the first touches new memory
    for _ in 0..rounds {
        monitor.check()?;
        let rulers = clocks.take();
        slices.push(Slice {
            seconds: seconds(work),
            ruler: work.bound().of(&rulers),
            dense: dense.as_mut().map(|dense| seconds(dense)),
        });
    }
    Ok(slices)
}

/// Seconds of one run: from memory once, or from the caches as often as a clock asks.
fn seconds(work: &mut Work) -> f64 {
    const LEAST_SECONDS: f64 = 3e-4;
    let mut repeats = 1;
    if work.bound() != Bound::Stream {
        // Fills the caches, which the rulers emptied.
        let started = Instant::now();
        work.run();
        repeats = (LEAST_SECONDS / started.elapsed().as_secs_f64())
            .ceil()
            .max(1.0) as u32;
    }
    let started = Instant::now();
    for _ in 0..repeats {
        work.run();
    }
    started.elapsed().as_secs_f64() / f64::from(repeats)
}

/// Size and outcome of one case.
type Measured = (cases::Size, Bound, Option<bool>, Vec<Slice>);

fn row(case: &Case, rulers: &KernelRulers, (size, bound, exact, slices): Measured) -> KernelRow {
    let billions = match bound {
        Bound::Fma | Bound::Integer => size.macs / 1e9,
        Bound::Stream => size.weight_bytes / 1e9,
    };
    let seconds = slices
        .iter()
        .map(|slice| slice.seconds)
        .fold(f64::INFINITY, f64::min);
    let shares = slices
        .iter()
        .map(|slice| billions / slice.seconds / slice.ruler);
    let best_dense = slices
        .iter()
        .filter_map(|slice| slice.dense)
        .reduce(f64::min);
    let ratios = slices
        .iter()
        .filter_map(|slice| slice.dense.map(|dense| dense / slice.seconds));
    KernelRow {
        name: case.name.into(),
        rows: size.rows,
        columns: size.columns,
        tokens: size.tokens,
        exact,
        seconds,
        seconds_median: median(slices.iter().map(|slice| slice.seconds).collect()),
        gmacs: size.macs / seconds / 1e9,
        weight_gbps: size.weight_bytes / seconds / 1e9,
        bound: bound.word().into(),
        of_bound: billions / seconds / bound.of(rulers),
        of_bound_median: median(shares.collect()),
        times_dense: best_dense.map(|dense| dense / seconds),
        times_dense_median: best_dense.map(|_| median(ratios.collect())),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;

    #[test]
    fn every_case_is_exact_and_measured() {
        let bench = KernelBench {
            only: None,
            rows: Some(40),
            columns: Some(160),
            tokens: Some(3),
            rounds: 2,
        };
        let report = bench_kernels(&bench, &Unwatched).unwrap();
        assert_eq!(report.rows.len(), CASES.len());
        for row in &report.rows {
            assert_ne!(row.exact, Some(false), "{row:?}");
            assert!(
                row.seconds > 0.0 && row.seconds <= row.seconds_median,
                "{row:?}"
            );
            assert!(row.of_bound.is_finite() && row.gmacs.is_finite(), "{row:?}");
        }
    }

    #[test]
    fn a_name_that_no_case_has_is_refused() {
        let bench = KernelBench {
            only: Some("int9".into()),
            rows: None,
            columns: None,
            tokens: None,
            rounds: 1,
        };
        let error = bench_kernels(&bench, &Unwatched).unwrap_err();
        assert!(error.to_string().contains("int8-gemm"), "{error}");
    }
}

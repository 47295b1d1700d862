//! Benches of this machine: how fast kernels and solvers are, beside what the hardware allows.
//!
//! Rulers and jobs take turns, so that a slow phase of the machine slows both; each reports its best round.
//! Knows no baseline of other machines and judges nothing.

mod kernels;
pub mod profile;
mod rulers;
mod solvers;
mod structure;

pub use kernels::{
    KernelBench, KernelBenchError, KernelReport, KernelRow, KernelRulers, MemoryReport, MemoryRow,
    bench_kernels, bench_memory,
};
pub use rulers::{Rulers, best_fma_gflops};
pub use solvers::{SolverBench, bench_solvers};
pub use structure::{StructureBench, StructureBenchReport, StructureRow, bench_structure};

use serde::{Deserialize, Serialize};

/// What a bench found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// Processor, instruction set and threads.
    pub machine: String,
    /// What the machine can do at best, measured in the same run.
    pub rulers: Rulers,
    /// One row per job.
    pub rows: Vec<BenchRow>,
}

/// One job's best round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    /// What was done.
    pub name: String,
    /// On what: outputs x inputs, or tokens x inputs.
    pub shape: String,
    /// Wall seconds of the best round.
    pub seconds: f64,
    /// What is counted in `gops`: "flop" or "weight".
    pub unit: String,
    /// 10^9 of the unit per second.
    pub gops: f64,
    /// Share of the multiply-add ruler; null where the work is no floating point product.
    pub of_bound: Option<f64>,
}

/// Processor, instruction set and threads of the current pool, for people.
fn machine() -> String {
    let threads = rayon::current_num_threads();
    let instructions = crate::kernels::instruction_set().word();
    format!(
        "{}, {instructions}, {threads} thread{}",
        processor(),
        if threads == 1 { "" } else { "s" }
    )
}

/// The processor's own name where the system tells it, else the architecture.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    told.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(
            || std::env::consts::ARCH.to_string(),
            |(_, name)| name.trim().to_string(),
        )
}

//! `pare bench memory`: reads of working sets from the first-level cache to memory.

use super::rounds;
use crate::cli::answer::Answer;
use crate::cli::arguments::Bench;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::{Edge, Table};
use pare_engine::measure::{MemoryReport, bench_memory};

/// Readings of each size where nobody asks for another number.
const ROUNDS: u32 = 10;

pub(super) fn run(arguments: &Bench, context: &Context) -> Result<Answer, Failure> {
    let report =
        bench_memory(rounds(arguments, ROUNDS), &context.progress).map_err(|_| Failure::Stopped)?;
    Answer::new(&report, page(&report))
}

fn page(report: &MemoryReport) -> String {
    let mut table = Table::new(&[
        ("KiB", Edge::Right),
        ("GB/s, one thread", Edge::Right),
        ("GB/s, all threads", Edge::Right),
    ]);
    for row in &report.rows {
        table.row([
            (row.bytes >> 10).to_string(),
            format!("{:.1}", row.read_gbps_one),
            format!("{:.1}", row.read_gbps),
        ]);
    }
    format!("{}\n{}\n", table.text(), report.machine)
}

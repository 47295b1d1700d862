//! `pare bench kernels`: products of packed weights beside rulers of the same run.

use super::{percent, rounds};
use crate::cli::answer::Answer;
use crate::cli::arguments::Bench;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::{Edge, Table};
use pare_engine::kernels::{InstructionSet, limit_instruction_set};
use pare_engine::measure::{KernelBench, KernelBenchError, KernelReport, KernelRow, bench_kernels};

pub(super) fn run(arguments: &Bench, context: &Context) -> Result<Answer, Failure> {
    if let Some(word) = &arguments.isa {
        limit_instruction_set(available(word)?);
    }
    let bench = KernelBench {
        only: arguments.only.clone(),
        rows: arguments.rows,
        columns: arguments.columns,
        tokens: arguments.tokens,
        rounds: rounds(arguments, KernelBench::ROUNDS),
    };
    let report = bench_kernels(&bench, &context.progress).map_err(|error| match error {
        KernelBenchError::Stopped => Failure::Stopped,
        other => Failure::failed(other),
    })?;
    Answer::new(&report, page(&report))
}

/// The instruction set of this word, where this machine has it.
fn available(word: &str) -> Result<InstructionSet, Failure> {
    let sets = InstructionSet::ALL.into_iter();
    let mut sets = sets.filter(|set| set.is_available());
    let words: Vec<&str> = sets.clone().map(InstructionSet::word).collect();
    sets.find(|set| set.word() == word).ok_or_else(|| {
        Failure::Failed(format!(
            "This machine has no {word}; it has {}.",
            words.join(", ")
        ))
    })
}

fn page(report: &KernelReport) -> String {
    let mut table = Table::new(&[
        ("kernel", Edge::Left),
        ("outputs x inputs x tokens", Edge::Right),
        ("ms best", Edge::Right),
        ("ms median", Edge::Right),
        ("GMAC/s", Edge::Right),
        ("GB/s", Edge::Right),
        ("of the bound", Edge::Right),
        ("median", Edge::Right),
        ("bound", Edge::Left),
        ("times dense", Edge::Right),
        ("median", Edge::Right),
        ("equals its twin", Edge::Left),
    ]);
    for row in &report.rows {
        table.row(cells(row));
    }
    let rulers = &report.rulers;
    format!(
        "{}\n{}\nrulers, one thread and all: multiply-add {:.0} and {:.0} GFLOP/s, bytes {:.0} and {:.0} GMAC/s, read {:.1} and {:.1} GB/s\n",
        table.text(),
        report.machine,
        rulers.fma_gflops_one,
        rulers.fma_gflops,
        rulers.integer_gmacs_one,
        rulers.integer_gmacs,
        rulers.stream_read_gbps_one,
        rulers.stream_read_gbps,
    )
}

/// A ratio, nothing where there is none.
fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

fn cells(row: &KernelRow) -> [String; 12] {
    [
        row.name.clone(),
        format!("{} x {} x {}", row.rows, row.columns, row.tokens),
        format!("{:.3}", 1e3 * row.seconds),
        format!("{:.3}", 1e3 * row.seconds_median),
        format!("{:.1}", row.gmacs),
        format!("{:.1}", row.weight_gbps),
        percent(row.of_bound),
        percent(row.of_bound_median),
        row.bound.clone(),
        times(row.times_dense),
        times(row.times_dense_median),
        match row.exact {
            Some(true) => "exactly",
            Some(false) => "NO",
            None => "",
        }
        .into(),
    ]
}

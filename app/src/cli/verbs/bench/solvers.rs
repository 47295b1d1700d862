//! `pare bench solvers`: Gram matrices, factors and solvers beside the multiply-add ruler.
//!
//! The layer that goals are stated for is the default; flags choose another.

use super::{percent, rounds};
use crate::cli::answer::Answer;
use crate::cli::arguments::Bench;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::{Edge, Table};
use pare_engine::measure::{BenchReport, BenchRow, SolverBench, bench_solvers};
use pare_engine::solve::SolveError;

pub(super) fn run(arguments: &Bench, context: &Context) -> Result<Answer, Failure> {
    let bench = layer(arguments);
    let report = bench_solvers(bench, &context.progress).map_err(|error| match error {
        SolveError::Stopped => Failure::Stopped,
        other => Failure::failed(other),
    })?;
    Answer::new(&report, page(&report))
}

/// The layer asked for; what is not named is as in the layer of the goals.
fn layer(arguments: &Bench) -> SolverBench {
    let goal = SolverBench::SQUARE;
    SolverBench {
        rows: arguments.rows.unwrap_or(goal.rows),
        columns: arguments.columns.unwrap_or(goal.columns),
        tokens: arguments.tokens.unwrap_or(goal.tokens),
        rounds: rounds(arguments, goal.rounds),
    }
}

fn page(report: &BenchReport) -> String {
    let mut table = Table::new(&[
        ("job", Edge::Left),
        ("shape", Edge::Right),
        ("seconds", Edge::Right),
        ("speed", Edge::Right),
        ("of the bound", Edge::Right),
    ]);
    for row in &report.rows {
        table.row(cells(row));
    }
    format!(
        "{}\n{}: {:.0} GFLOP/s multiply-add, {:.1} GB/s read\n",
        table.text(),
        report.machine,
        report.rulers.fma_gflops,
        report.rulers.stream_read_gbps
    )
}

fn cells(row: &BenchRow) -> [String; 5] {
    [
        row.name.clone(),
        row.shape.clone(),
        format!("{:.3}", row.seconds),
        format!("{:.2} G{}/s", row.gops, row.unit),
        row.of_bound.map_or_else(String::new, percent),
    ]
}

//! `pare bench structure`: a block of Llama 7B before and after a quarter of its neurons goes.

use super::rounds;
use crate::cli::answer::Answer;
use crate::cli::arguments::Bench;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::{Edge, Table};
use pare_engine::measure::profile::ProfileError;
use pare_engine::measure::{StructureBench, StructureBenchReport, bench_structure};

pub(super) fn run(arguments: &Bench, context: &Context) -> Result<Answer, Failure> {
    let usual = StructureBench::LLAMA_7B;
    let bench = match arguments.columns {
        // Another width, the same proportions.
        Some(width) => StructureBench {
            hidden: width.next_multiple_of(64),
            heads: width.div_ceil(64),
            neurons: width.next_multiple_of(64) * 11 / 4,
            kept: width.next_multiple_of(64) * 33 / 16,
            ..usual
        },
        None => usual,
    };
    let bench = StructureBench {
        rounds: rounds(arguments, bench.rounds),
        ..bench
    };
    let report = bench_structure(bench, &context.progress).map_err(|error| match error {
        ProfileError::Stopped(_) => Failure::Stopped,
        error => Failure::failed(error),
    })?;
    Answer::new(&report, page(&report))
}

fn page(report: &StructureBenchReport) -> String {
    let mut table = Table::new(&[
        ("weights", Edge::Left),
        ("tokens", Edge::Right),
        ("before ms", Edge::Right),
        ("after ms", Edge::Right),
        ("fall", Edge::Right),
        ("of what was predicted", Edge::Right),
    ]);
    for row in &report.rows {
        table.row([
            row.weights.clone(),
            row.tokens.to_string(),
            format!("{:.2}", 1e3 * row.before_seconds),
            format!("{:.2}", 1e3 * row.after_seconds),
            format!("{:.1} %", 100.0 * row.fall),
            format!("{:.2}", row.of_predicted),
        ]);
    }
    format!(
        "{}\n{}: arithmetic falls by {:.1} %\n",
        table.text(),
        report.machine,
        100.0 * report.predicted_fall
    )
}

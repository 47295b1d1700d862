//! `pare export`: a finished run in another container.
//!
//! Nothing is solved again; what the container cannot hold is told.

use crate::cli::answer::Answer;
use crate::cli::arguments::Export;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use pare_engine::report::ExportReport;
use pare_engine::session;
use pare_engine::units::Bytes;

pub(super) fn run(arguments: &Export, context: &Context) -> Result<Answer, Failure> {
    // An export that is stopped takes its unfinished folder away, however long that takes.
    context.stop.be_patient();
    let report = session::export(
        &arguments.run,
        arguments.format,
        &arguments.out,
        &context.options,
        &context.progress,
    )?;
    Answer::new(&report, page(&report))
}

fn page(report: &ExportReport) -> String {
    let mut text = String::new();
    for layer in &report.fallbacks {
        let fallback = &layer.fallback;
        text.push_str(&format!(
            "{}: {} instead of {}, {}\n",
            layer.name, fallback.to, fallback.from, fallback.reason
        ));
    }
    text.push_str(&format!(
        "Wrote {} as {}; {} tensors reopened, largest difference {}: {}\n",
        Bytes(report.bytes),
        report.format,
        report.verified.tensors,
        report.verified.max_abs_difference,
        report.out
    ));
    text
}

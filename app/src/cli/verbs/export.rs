//! `pare export`: a finished run in another container.
//!
//! Nothing is solved again; what the container cannot hold is told.

use crate::cli::answer::Answer;
use crate::cli::arguments::Export;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::plan;
use pare_engine::formats::Format;
use pare_engine::report::ExportReport;
use pare_engine::session::{self, GgufRequest};
use pare_engine::units::Bytes;

pub(super) fn run(arguments: &Export, context: &Context) -> Result<Answer, Failure> {
    // An export that is stopped takes its unfinished folder away, however long that takes.
    context.stop.be_patient();
    let report = match arguments.format {
        Format::Gguf => gguf(arguments, context)?,
        format => {
            refuse_gguf_words(arguments)?;
            let progress = &context.progress;
            session::export(
                &arguments.run,
                format,
                &arguments.out,
                &context.options,
                progress,
            )?
        }
    };
    Answer::new(&report, page(&report))
}

fn gguf(arguments: &Export, context: &Context) -> Result<ExportReport, Failure> {
    let opened = context.open(&arguments.run)?;
    let given = plan::recipe(None)?;
    let calibration = match arguments.calibration.corpus {
        Some(_) => Some(given.calibration(
            &arguments.calibration,
            context.seed,
            opened.session.inspect().context_length,
            false,
            context.cache(),
        )?),
        None => None,
    };
    let request = GgufRequest {
        out: arguments.out.clone(),
        kind: arguments.kind,
        calibration,
        imatrix: arguments.imatrix.clone(),
        split_bytes: arguments.split_bytes,
    };
    Ok(opened.session.export_gguf(&request, &context.progress)?)
}

/// Words that mean something in gguf only.
fn refuse_gguf_words(arguments: &Export) -> Result<(), Failure> {
    let given = [
        ("--type", arguments.kind.is_some()),
        ("--imatrix", arguments.imatrix.is_some()),
        ("--split-max-size", arguments.split_bytes.is_some()),
        ("--corpus", arguments.calibration.corpus.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((word, _)) => Err(Failure::WrongUse(format!(
            "{word} is for --format gguf. Leave it out, or choose that format."
        ))),
        None => Ok(()),
    }
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

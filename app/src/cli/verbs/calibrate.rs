//! `pare calibrate`: statistics of every layer's inputs, kept for later runs.
//!
//! Original-prefix statistics only: those of a compressed prefix exist inside a run.

use crate::cli::answer::Answer;
use crate::cli::arguments::Calibrate;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::plan;
use pare_engine::session::{CalibrationReport, CalibrationRequest};
use pare_engine::units::Bytes;

pub(super) fn run(arguments: &Calibrate, context: &Context) -> Result<Answer, Failure> {
    let given = plan::recipe(arguments.recipe.as_deref())?;
    let opened = context.open(&arguments.model)?;
    let settings = given.calibration(
        &arguments.calibration,
        context.seed,
        opened.session.inspect().context_length,
        opened.is_sample,
        context.cache(),
    )?;
    if settings.corpus.is_none() {
        return Err(Failure::WrongUse(
            "Calibration needs a text. Name one with --corpus FILE.".to_owned(),
        ));
    }
    if let Some(out) = &arguments.imatrix {
        opened
            .session
            .export_imatrix(&settings, out, &context.progress)?;
    }
    let report = opened
        .session
        .calibrate(&CalibrationRequest { settings }, &context.progress)?;
    Answer::new(&report, page(&report))
}

fn page(report: &CalibrationReport) -> String {
    let origin = if report.reused {
        "were in the cache already"
    } else {
        "gathered"
    };
    format!(
        "Statistics over {} sequences ({} tokens) {origin} in {:.1} s, {}: {}\n",
        report.sequences,
        report.tokens,
        report.seconds,
        Bytes(report.bytes),
        report.cache
    )
}

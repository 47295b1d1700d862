//! One file per verb: from its arguments to one answer.
//!
//! Knows which file does which verb, and nothing else.

mod allocate;
mod bench;
mod calibrate;
mod compress;
mod devices;
mod distill;
mod estimate;
mod evaluate;
mod export;
mod generate;
mod inspect;
mod logits;
mod losses;
mod open;
mod quality;
mod reasons;
mod report;
mod sensitivity;
mod structure;

use crate::cli::answer::Answer;
use crate::cli::arguments::Verb;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::studio::request::{OpenOutcome, OpenRequest};

/// Does what `verb` asks; `show` shows the studio.
pub(super) fn run(
    verb: &Verb,
    context: &Context,
    show: impl FnOnce(&OpenRequest) -> Result<OpenOutcome, String>,
) -> Result<Answer, Failure> {
    match verb {
        Verb::Open(open) => open::run(open, context, show),
        Verb::Inspect(inspect) => inspect::run(inspect, context),
        Verb::Logits(logits) => logits::run(logits, context),
        Verb::Calibrate(calibrate) => calibrate::run(calibrate, context),
        Verb::Compress(compress) => compress::run(compress, context),
        Verb::Distill(distill) => distill::run(distill, context),
        Verb::Sensitivity(sensitivity) => sensitivity::run(sensitivity, context),
        Verb::Allocate(allocate) => allocate::run(allocate, context),
        Verb::Evaluate(evaluate) => evaluate::run(evaluate, context),
        Verb::Generate(generate) => generate::run(generate, context),
        Verb::Estimate(estimate) => estimate::run(estimate, context),
        Verb::Devices(devices) => devices::run(devices, context),
        Verb::Export(export) => export::run(export, context),
        Verb::Report(report) => report::run(report, context),
        Verb::Bench(bench) => bench::run(bench, context),
    }
}

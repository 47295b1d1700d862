//! `pare logits`: runs the network on given token ids.
//!
//! For comparison with other programs; files in, files out.

use crate::cli::answer::Answer;
use crate::cli::arguments::Logits;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

pub(super) fn run(arguments: &Logits, context: &Context) -> Result<Answer, Failure> {
    let opened = context.open_rounding(&arguments.model, &arguments.inputs)?;
    let report = opened
        .session
        .logits(&arguments.ids, &arguments.out, &context.progress)?;
    let page = format!(
        "Wrote {:?} values in {:.2} s: {}\n",
        report.shape, report.seconds, report.out
    );
    Answer::new(&report, page)
}

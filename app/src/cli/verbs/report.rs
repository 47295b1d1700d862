//! `pare report`: a finished run as one page.
//!
//! The engine draws it; the studio saves the same bytes.

use crate::cli::answer::Answer;
use crate::cli::arguments::Report;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::verbs::reasons;
use crate::studio::places;
use pare_engine::session::{ReportRequest, write_report};
use pare_engine::units::Bytes;

pub(super) fn run(arguments: &Report, context: &Context) -> Result<Answer, Failure> {
    let out = arguments.out.clone();
    let request = ReportRequest {
        run: arguments.run.clone(),
        out: out.unwrap_or_else(|| places::report_of(&arguments.run)),
        csv: arguments.csv.clone(),
        allocation: arguments.allocation.clone(),
    };
    let written = write_report(&request, &context.progress)?;
    let mut page = format!("Wrote {}: {}\n", Bytes(written.bytes), written.out);
    if let (Some(csv), Some(bytes)) = (&written.csv, written.csv_bytes) {
        page.push_str(&format!("Wrote {}: {csv}\n", Bytes(bytes)));
    }
    let mut answer = Answer::new(&written, page)?;
    if let Some(document) = answer.document.as_object_mut() {
        reasons::explain(document, &[("csv", "no --csv was named")]);
    }
    Ok(answer)
}

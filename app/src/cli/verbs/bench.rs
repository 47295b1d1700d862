//! `pare bench`: this machine's solvers beside their bounds.

use crate::cli::answer::Answer;
use crate::cli::arguments::Bench;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

pub(super) fn run(_arguments: &Bench, _context: &Context) -> Result<Answer, Failure> {
    Err(Failure::Failed(
        "This machine cannot be measured yet.".to_owned(),
    ))
}

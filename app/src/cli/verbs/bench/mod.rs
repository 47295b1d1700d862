//! `pare bench`: this machine's solvers, kernels, memory or a smaller block beside their bounds.
//!
//! Chooses what is measured, starts the threads and counts on nothing else.

mod kernels;
mod memory;
mod solvers;
mod structure;

use crate::cli::answer::Answer;
use crate::cli::arguments::Bench;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use pare_engine::report::{Notice, Observer};

pub(super) fn run(arguments: &Bench, context: &Context) -> Result<Answer, Failure> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(context.options.threads.unwrap_or(0))
        .build()
        .map_err(|error| Failure::Failed(format!("The threads cannot be started: {error}.")))?;
    context.progress.notice(Notice::Stage {
        name: match arguments.what.as_str() {
            "kernels" => "bench kernels",
            "memory" => "bench memory",
            "structure" => "bench structure",
            _ => "bench solvers",
        },
        steps: 0,
    });
    pool.install(|| match arguments.what.as_str() {
        "kernels" => kernels::run(arguments, context),
        "memory" => memory::run(arguments, context),
        "structure" => structure::run(arguments, context),
        _ => solvers::run(arguments, context),
    })
}

/// Rounds as asked, or as usual.
fn rounds(arguments: &Bench, usual: u32) -> u32 {
    arguments
        .rounds
        .map_or(usual, |rounds| u32::try_from(rounds).unwrap_or(u32::MAX))
}

/// A share for people.
fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

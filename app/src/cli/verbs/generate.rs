//! `pare generate`: text from a decoder, shown as it is written.
//!
//! On stdout stands the prompt's continuation alone; speeds go to stderr with the other remarks.

use crate::cli::answer::Answer;
use crate::cli::arguments::Generate;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::progress::Progress;
use pare_engine::session::{GenerateReport, GenerateRequest};
use pare_engine::units::Bytes;

pub(super) fn run(arguments: &Generate, context: &Context) -> Result<Answer, Failure> {
    let opened = context.open(&arguments.model)?;
    let request = GenerateRequest {
        prompt: arguments.prompt.clone(),
        tokens: arguments.tokens,
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        seed: context.seed.unwrap_or(0),
        kv: arguments.kv,
    };
    let watcher = Progress::without_steps(context.stop.clone(), context.printer.clone());
    let mut on_text = |text: &str| context.printer.piece(text);
    let report = opened.session.generate(&request, &watcher, &mut on_text)?;
    // The text's line ends before stderr begins one.
    context.printer.piece("\n");
    context.printer.remark(&speeds(&report));
    Answer::new(&report, String::new())
}

fn speeds(report: &GenerateReport) -> String {
    let rate = |tokens_per_second: Option<f64>| match tokens_per_second {
        Some(rate) => format!(" at {rate:.0} tokens/s"),
        None => String::new(),
    };
    format!(
        "{} prompt tokens read{}, {} written{}; keys and values take {} in {}",
        report.prompt_tokens,
        rate(report.prefill_tokens_per_second),
        report.new_tokens,
        rate(report.decode_tokens_per_second),
        Bytes(report.kv_bytes),
        report.kv.word()
    )
}

//! `pare export`: a finished run in another container.
//!
//! Nothing is solved again; what the container cannot hold is told.

use crate::cli::answer::Answer;
use crate::cli::arguments::Export;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::plan;
use crate::studio::sample;
use pare_engine::formats::Format;
use pare_engine::report::{ExportReport, Fallback, LayerFallback};
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
                &sample::model(&arguments.run, context.cache())?,
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
    let mut text = told(&report.fallbacks);
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

/// A line for each thing that happened, with the layers that it happened to in their order.
fn told(fallbacks: &[LayerFallback]) -> String {
    let mut kinds: Vec<(&Fallback, Vec<&str>)> = Vec::new();
    for LayerFallback { name, fallback } in fallbacks {
        match kinds.iter_mut().find(|(known, _)| *known == fallback) {
            Some((_, names)) => names.push(name),
            None => kinds.push((fallback, vec![name])),
        }
    }
    let lines = kinds.iter().map(|(fallback, names)| {
        let layers = match names[..] {
            [] => String::new(),
            [first] => first.to_owned(),
            [first, second] => format!("{first}, {second}"),
            [first, .., last] => format!("{} layers ({first} … {last})", names.len()),
        };
        let Fallback { from, to, reason } = fallback;
        format!("{layers}: {to} instead of {from}, {reason}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_to_many_layers_is_one_line() {
        let fallback = |name: &str, to: &str| LayerFallback {
            name: name.to_owned(),
            fallback: Fallback {
                from: "Q4_K".to_owned(),
                to: to.to_owned(),
                reason: "why".to_owned(),
            },
        };
        let fallbacks = [
            fallback("a", "Q5_0"),
            fallback("b", "F16"),
            fallback("c", "Q5_0"),
            fallback("d", "Q5_0"),
        ];
        assert_eq!(
            told(&fallbacks),
            "3 layers (a … d): Q5_0 instead of Q4_K, why\nb: F16 instead of Q4_K, why\n"
        );
        assert_eq!(told(&[]), "");
    }
}

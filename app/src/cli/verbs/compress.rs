//! `pare compress`: the main job, and its dry run.
//!
//! Decides what the sample gets by default and whether a text is needed; the engine does the rest.

use crate::cli::answer::Answer;
use crate::cli::arguments::Compress;
use crate::cli::context::{Context, Opened};
use crate::cli::failure::Failure;
use crate::cli::plan;
use crate::cli::table::{Edge, Table};
use crate::cli::verbs::{quality, reasons, structure};
use crate::studio::sample::{self, Text};
use pare_engine::compress::need_of;
use pare_engine::formats::Format;
use pare_engine::mask::SparsityPattern;
use pare_engine::packed::ActivationKind;
use pare_engine::report::{Fallback, LayerReport};
use pare_engine::session::{CompressReport, CompressRequest, DryLayer, DryRun};
use pare_engine::settings::{Activations, LayerSettings, Rank};
use pare_engine::solved::Method;
use pare_engine::units::{BitsPerWeight, Bytes};
use std::path::{Path, PathBuf};

pub(super) fn run(arguments: &Compress, context: &Context) -> Result<Answer, Failure> {
    let opened = context.open(&arguments.model)?;
    let request = request(arguments, context, &opened)?;
    let session = &opened.session;
    let dry = session.watched_dry_run(&request, &context.progress)?;
    if arguments.dry_run {
        for warning in &dry.warnings {
            context.printer.warning(warning);
        }
        return Answer::new(&dry, dry_page(&dry));
    }
    check_corpus(&request, &dry)?;
    context.stop.keep_in(plan::unfinished(&request.out));
    let report = opened.session.compress(&request, &context.progress)?;
    let mut answer = Answer::new(&report, page(&report))?;
    reasons::explain_run(&mut answer.document);
    Ok(answer)
}

fn request(
    arguments: &Compress,
    context: &Context,
    opened: &Opened,
) -> Result<CompressRequest, Failure> {
    let cache = context.cache();
    let given =
        plan::recipe(arguments.recipe.as_deref())?.under(&arguments.solver, arguments.strict)?;
    let calibration = given.calibration(
        &arguments.calibration,
        context.seed,
        opened.session.inspect().context_length,
        opened.is_sample,
        cache,
    )?;
    let mut recipe = given.recipe;
    recipe.calibration = calibration;
    recipe.structure = arguments.structure.over(&recipe.structure)?;
    Ok(CompressRequest {
        recipe,
        out: arguments.out.clone().unwrap_or_default(),
        format: arguments.format.unwrap_or(Format::Pare),
        evaluate: evaluation_text(arguments, opened.is_sample, cache)?,
        resume: arguments.resume,
        keep_layers: !arguments.no_keep,
    })
}

/// The text named, or the sample's own; other models are evaluated only when asked.
fn evaluation_text(
    arguments: &Compress,
    is_sample: bool,
    cache: &Path,
) -> Result<Option<PathBuf>, Failure> {
    match &arguments.evaluate {
        Some(path) => Ok(Some(sample::text(path, Text::Evaluation, cache)?)),
        None if is_sample => Ok(Some(sample::text(
            &arguments.model,
            Text::Evaluation,
            cache,
        )?)),
        None => Ok(None),
    }
}

/// Much looks at the inputs of a layer; without a text there are none.
fn check_corpus(request: &CompressRequest, dry: &DryRun) -> Result<(), Failure> {
    if request.recipe.calibration.corpus.is_some() {
        return Ok(());
    }
    let need = |layer: &DryLayer| need_of(&layer.settings);
    match dry.layers.iter().find_map(need) {
        None => Ok(()),
        Some(need) => Err(Failure::WrongUse(format!(
            "A calibration text is needed for {}. Name one with --corpus FILE, or {}.",
            need.asked, need.instead
        ))),
    }
}

fn page(report: &CompressReport) -> String {
    let mut table = Table::new(&[
        ("layer", Edge::Left),
        ("method", Edge::Left),
        ("bits", Edge::Right),
        ("group", Edge::Right),
        ("zeros", Edge::Right),
        ("rank", Edge::Right),
        ("inputs", Edge::Left),
        ("size", Edge::Right),
        ("output error", Edge::Right),
        ("SQNR", Edge::Right),
        ("time", Edge::Right),
        ("instead of what was asked", Edge::Left),
    ]);
    for layer in &report.layers {
        table.row(row(layer));
    }
    let mut text = format!("{}\n", table.text());
    text.push_str(&optional(report.structure.as_ref(), structure::page));
    text.push_str(&sizes(
        report.bytes_before,
        report.bytes_after,
        report.bits_per_weight,
    ));
    text.push_str(&format!(
        "time        {:.1} s, memory at most {}\n",
        report.seconds,
        Bytes(report.peak_rss_bytes)
    ));
    if let Some(evaluation) = &report.evaluation {
        text.push_str(&quality::page(evaluation));
    }
    text.push_str(&format!(
        "written     as {}, {} tensors reopened, largest difference {}: {}\n",
        report.format, report.verified.tensors, report.verified.max_abs_difference, report.out
    ));
    text
}

fn row(layer: &LayerReport) -> [String; 12] {
    [
        layer.name.clone(),
        layer.method.word().to_owned(),
        layer.bits.to_string(),
        group(layer.method, layer.group),
        zeros(layer.pattern, layer.sparsity),
        layer
            .rank
            .map_or_else(|| "-".to_owned(), |rank| rank.to_string()),
        inputs(layer.activations.kind()),
        Bytes(layer.bytes).to_string(),
        optional(layer.relative_output_error, |error| {
            format!("{:.2} %", 100.0 * error)
        }),
        optional(layer.sqnr_db, |sqnr| format!("{sqnr:.1} dB")),
        format!("{:.2} s", layer.seconds),
        optional(layer.fallback.as_ref(), told),
    ]
}

fn dry_page(dry: &DryRun) -> String {
    let mut table = Table::new(&[
        ("layer", Edge::Left),
        ("method", Edge::Left),
        ("bits", Edge::Right),
        ("group", Edge::Right),
        ("zeros", Edge::Right),
        ("rank", Edge::Right),
        ("inputs", Edge::Left),
        ("bytes", Edge::Right),
        ("decided by", Edge::Left),
        ("instead of what was asked", Edge::Left),
    ]);
    for layer in &dry.layers {
        table.row(dry_row(layer));
    }
    format!(
        "{}\n{}{}total       {} bytes\n",
        table.text(),
        optional(dry.structure.as_ref(), structure::plan),
        sizes(dry.bytes_before, dry.bytes_after, dry.bits_per_weight),
        dry.bytes_after
    )
}

fn dry_row(layer: &DryLayer) -> [String; 10] {
    let settings = &layer.settings;
    let bits = match settings.method {
        Method::None | Method::Float => "-".to_owned(),
        _ => settings.bits.to_string(),
    };
    let is_pruned = settings.method != Method::None && !settings.prune.is_none();
    let pattern = is_pruned.then_some(settings.prune.pattern);
    [
        layer.name.clone(),
        settings.method.word().to_owned(),
        bits,
        group(settings.method, settings.group),
        zeros(pattern, settings.prune.sparsity),
        rank(settings),
        inputs(ActivationKind::of_settings(settings)),
        layer.bytes.to_string(),
        layer.rule.clone(),
        optional(layer.fallback.as_ref(), told),
    ]
}

fn group(method: Method, group: usize) -> String {
    match (method, group) {
        (Method::None | Method::Float | Method::Palette, _) => "-".to_owned(),
        (_, 0) => "row".to_owned(),
        (_, group) => group.to_string(),
    }
}

/// Share and pattern of zeros that were chosen.
fn zeros(pattern: Option<SparsityPattern>, share: f64) -> String {
    match pattern {
        None => "-".to_owned(),
        Some(pattern) => format!("{:.1} % {pattern}", 100.0 * share),
    }
}

/// The rank of factors; what weights decide is settled when a layer is planned.
fn rank(settings: &LayerSettings) -> String {
    match settings.rank {
        Rank::Fixed(rank) if settings.method != Method::None => rank.to_string(),
        _ => "-".to_owned(),
    }
}

/// How inputs are rounded: `dynamic8/32` is a scale for 32 inputs of each token.
fn inputs(kind: ActivationKind) -> String {
    match (kind.mode, kind.block) {
        (Activations::None, _) => "-".to_owned(),
        (mode, 0) => mode.word().to_owned(),
        (mode, block) => format!("{}/{block}", mode.word()),
    }
}

fn told(fallback: &Fallback) -> String {
    format!("{} -> {}: {}", fallback.from, fallback.to, fallback.reason)
}

fn optional<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(String::new, text)
}

fn sizes(before: u64, after: u64, bits_per_weight: f64) -> String {
    let share = 100.0 * after as f64 / before.max(1) as f64;
    format!(
        "size        {} -> {} ({share:.1} %), {} in the compressed layers\n",
        Bytes(before),
        Bytes(after),
        BitsPerWeight(bits_per_weight)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_tell_before_and_after() {
        assert_eq!(
            sizes(2000, 500, 4.25),
            "size        2.0 kB -> 500 B (25.0 %), 4.25 bits/weight in the compressed layers\n"
        );
    }

    #[test]
    fn a_row_wide_group_is_called_so() {
        assert_eq!(group(Method::Gptq, 0), "row");
        assert_eq!(group(Method::Gptq, 32), "32");
        assert_eq!(group(Method::None, 32), "-");
    }
}

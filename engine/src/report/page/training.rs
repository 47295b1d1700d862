//! What training told, as curves and numbers; and what was taken out of a network as a whole.

use super::axis::{Axis, short};
use super::plots::figure as picture;
use super::svg::Chart;
use super::text::{bytes, count, escape, figure, measured, percent, seconds};
use super::{RunPage, missing, pair, pairs, under};
use crate::report::{BlockCut, DistillReport, NetworkSizes, PartCut, StructureReport, TrainPoint};

/// Blocks, heads, neurons and tokens that went.
pub(super) fn structure(page: &RunPage) -> String {
    let Some(report) = &page.structure else {
        return String::new();
    };
    let mut content = pairs(&sizes(report));
    content.push_str(&similarity(report));
    content.push_str(&cuts(&report.cuts));
    under("The smaller network", &content)
}

/// A name, and how much of it a network has.
type Part = (&'static str, fn(&NetworkSizes) -> u64);

fn sizes(report: &StructureReport) -> String {
    let parts: [Part; 6] = [
        ("blocks", |sizes| sizes.blocks as u64),
        ("heads of a block", |sizes| sizes.heads as u64),
        ("key heads of a block", |sizes| sizes.kv_heads as u64),
        ("neurons of a block", |sizes| sizes.neurons as u64),
        ("tokens", |sizes| sizes.vocabulary as u64),
        ("parameters", |sizes| sizes.parameters),
    ];
    let (before, after) = (&report.plan.before, &report.plan.after);
    let mut rows: String = parts
        .iter()
        .map(|(name, of)| {
            pair(
                name,
                &format!("{} → {}", count(of(before)), count(of(after))),
            )
        })
        .collect();
    rows += &pair(
        "dense bytes",
        &format!(
            "{} → {}",
            bytes(before.tensor_bytes),
            bytes(after.tensor_bytes)
        ),
    );
    if !report.removed_blocks.is_empty() {
        let numbers: Vec<String> = report.removed_blocks.iter().map(usize::to_string).collect();
        rows += &pair("blocks that went", &numbers.join(", "));
    }
    for note in &report.plan.notes {
        rows += &pair("note", &escape(note));
    }
    rows + &pair("time", &seconds(report.seconds))
}

fn similarity(report: &StructureReport) -> String {
    let rows: String = report
        .similarity
        .iter()
        .map(|block| pair(&format!("block {}", block.block), &figure(block.similarity)))
        .collect();
    match rows.as_str() {
        "" => String::new(),
        rows => format!(
            "<h3>Cosine of each block's input and output</h3>\n{}",
            pairs(rows)
        ),
    }
}

fn cuts(cuts: &[BlockCut]) -> String {
    let rows: String = cuts
        .iter()
        .flat_map(|cut| {
            [
                (cut.block, "heads", &cut.heads),
                (cut.block, "neurons", &cut.neurons),
            ]
        })
        .filter_map(|(block, name, part)| Some(cut_row(block, name, part.as_ref()?)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<h3>What each block lost</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th class=\"n\">block</th><th>part</th><th class=\"n\">gone</th><th class=\"n\">of the scores</th><th class=\"n\">error cut</th><th class=\"n\">repaired</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn cut_row(block: usize, name: &str, part: &PartCut) -> String {
    let repaired = part.relative_error_repaired;
    format!(
        "<tr><td class=\"n\">{block}</td><td>{name}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
        count(part.removed.len() as u64),
        percent(part.removed_score_share),
        percent(part.relative_error_cut),
        repaired.map_or_else(|| "not repaired".to_owned(), percent)
    )
}

/// Curves and numbers of training.
pub(super) fn section(page: &RunPage) -> String {
    let Some(training) = &page.training else {
        return String::new();
    };
    let content =
        losses(&training.curve) + &gradients(&training.curve) + &pairs(&numbers(training));
    under("Training", &content)
}

type Of = fn(&TrainPoint) -> Option<f64>;

/// Points of a curve that can stand on a logarithmic axis.
fn points(curve: &[TrainPoint], of: Of) -> Vec<(f64, f64)> {
    let known = |point: &TrainPoint| {
        let value = of(point).filter(|value| *value > 0.0 && value.is_finite());
        value.map(|value| (point.step as f64, value))
    };
    curve.iter().filter_map(known).collect()
}

fn losses(curve: &[TrainPoint]) -> String {
    let series = [
        ("loss of the batch", points(curve, |point| point.loss)),
        ("held-out loss", points(curve, |point| point.held_out)),
    ];
    curves(
        "Loss",
        "loss",
        &series,
        "The loss of each step's batch before the step, and of the held-out sequences where they were looked at; logarithmic.",
    )
}

fn gradients(curve: &[TrainPoint]) -> String {
    let series = [
        ("learning rate", points(curve, |point| Some(point.rate))),
        (
            "gradient's length",
            points(curve, |point| point.gradient_norm),
        ),
    ];
    curves(
        "Learning rate and gradient",
        "value",
        &series,
        "The gradient's length before it is clipped; logarithmic.",
    )
}

fn curves(heading: &str, label: &str, series: &[(&str, Vec<(f64, f64)>)], caption: &str) -> String {
    let all = || series.iter().flat_map(|(_, points)| points);
    let values = || all().map(|(_, value)| *value);
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(0.0, f64::max),
    );
    if !low.is_finite() {
        return format!("<h3>{heading}</h3>\n<p class=\"missing\">Nothing was recorded.</p>\n");
    }
    let last = all().map(|(step, _)| *step).fold(1.0, f64::max);
    let x = Axis::linear(0.0, last, short);
    let y = Axis::log(low, high, short);
    let mut chart = Chart::new(heading, (x, "step"), (y, label));
    let mut names = Vec::new();
    for (look, (name, points)) in series.iter().enumerate() {
        match points.as_slice() {
            [] => {}
            [(step, value)] => chart.point(look, *step, *value, name),
            points => chart.line(look, points),
        }
        names.push((*name).to_owned());
    }
    picture(heading, &chart.finish(&names), caption)
}

fn numbers(training: &DistillReport) -> String {
    let number = |value: Option<f64>, why: &str| value.map_or_else(|| missing(why), figure);
    let nothing_held = "no sequences were held out";
    let no_text = "no text to evaluate on was named, or the model is an encoder";
    let mut rows = pair("mode", &escape(&training.mode))
        + &pair("steps", &count(training.steps))
        + &pair("skipped steps", &count(training.skipped_steps))
        + &pair(
            "loss, first step",
            &number(training.loss_first, "the step was skipped"),
        )
        + &pair(
            "loss, last step",
            &number(training.loss_last, "the step was skipped"),
        )
        + &pair(
            "held-out loss, first",
            &number(training.held_out_first, nothing_held),
        )
        + &pair(
            "held-out loss, best",
            &number(training.held_out_best, nothing_held),
        );
    if let Some(step) = training.best_step {
        rows += &pair("best after step", &count(step));
    }
    let perplexity =
        |value: Option<f64>| value.map_or_else(|| missing(no_text), |value| measured(value, None));
    rows += &pair(
        "perplexity before training",
        &perplexity(training.perplexity_before),
    );
    rows += &pair("perplexity after", &perplexity(training.perplexity_after));
    rows += &pair(
        "perplexity of the first teacher",
        &perplexity(training.reference_perplexity),
    );
    if let Some(sparsity) = training.sparsity {
        rows += &pair("zeros in pruned layers", &percent(sparsity));
    }
    if let Some(difference) = training.export_difference {
        rows += &pair("written against trained outputs", &figure(difference));
    }
    rows += &pair("a step", &seconds(training.step_seconds));
    rows += &pair(
        "training tokens per second",
        &figure(training.tokens_per_second),
    );
    let bound = training.of_fma_bound;
    rows += &pair(
        "of this machine's multiply-add rate",
        &bound.map_or_else(|| missing("nobody measured it"), percent),
    );
    rows + &pair(
        "memory stated before the start",
        &bytes(training.memory_bytes),
    )
}

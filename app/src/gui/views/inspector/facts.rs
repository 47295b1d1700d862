//! Named figures of one layer, and their text for the clipboard.

use super::model::Picture;
use crate::gui::look::Look;
use crate::gui::widgets::{error_text, mark_hint, sign, time_text};
use crate::studio::Project;
use crate::studio::figure::Mark;
use crate::studio::project::Stage;
use crate::studio::sparse;
use egui::{Grid, RichText, Ui};
use pare_engine::estimate::{Bound, OpTime};
use pare_engine::model::LayerInfo;
use pare_engine::preview::{Basis, Preview};
use pare_engine::recipe::LayerSettings;
use pare_engine::report::LayerReport;
use pare_engine::solved::{Method, Warning};
use pare_engine::units::Bytes;

/// A named figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) mark: Mark,
}

/// All that is known of `layer`: measured where a run had these settings, else from the newest preview.
pub(super) fn of(project: &Project, layer: usize) -> Vec<Fact> {
    let info = &project.layers[layer];
    let figures = &project.figures[layer];
    let mut facts = vec![
        fact("Shape", shape(info), Mark::Exact),
        fact("Dtype", info.dtype.to_string(), Mark::Exact),
        fact(
            "Size",
            format!(
                "{} to {}",
                Bytes(figures.bytes_before),
                Bytes(figures.bytes_after)
            ),
            figures.bytes_mark,
        ),
    ];
    facts.extend(zeros(project, layer));
    facts.extend(latency(project, layer));
    let preview = project.answer(layer).and_then(|(answer, _)| {
        let preview = answer.result.as_ref().ok()?;
        Some((preview.as_ref(), answer.stage, &answer.settings))
    });
    match (project.measured_now(layer), preview) {
        (Some(report), preview) => {
            of_report(&mut facts, report);
            if let Some((preview, ..)) = preview {
                facts.push(clipped(preview));
            }
        }
        (None, Some((preview, stage, settings))) => {
            of_preview(&mut facts, preview, (stage, settings));
            facts.push(clipped(preview));
        }
        (None, None) => {}
    }
    facts
}

/// The table, and a button that copies it.
pub(super) fn show(ui: &mut Ui, look: &Look, picture: &Picture, is_stale: bool) {
    ui.horizontal(|ui| {
        ui.label(RichText::new("Facts").strong());
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui
                .small_button("Copy")
                .on_hover_text("Copy the facts as text")
                .clicked()
            {
                ui.ctx().copy_text(text(&picture.facts));
            }
        });
    });
    let grid = Grid::new("facts")
        .num_columns(2)
        .spacing([12.0, 2.0])
        .striped(true);
    grid.show(ui, |ui| {
        for fact in &picture.facts {
            let mark = match (fact.mark, is_stale) {
                (Mark::Estimated, true) => Mark::Stale,
                (mark, _) => mark,
            };
            let colour = match mark {
                Mark::Stale => look.colours.weak,
                _ => look.colours.text,
            };
            ui.label(RichText::new(fact.name).color(look.colours.weak));
            let value = format!("{}{}", sign(mark), fact.value);
            let label = egui::Label::new(RichText::new(value).color(colour)).truncate();
            ui.add(label).on_hover_text(mark_hint(mark));
            ui.end_row();
        }
    });
}

fn fact(name: &'static str, value: String, mark: Mark) -> Fact {
    Fact { name, value, mark }
}

/// Zeros and factors asked for, and what they come to for this shape.
fn zeros(project: &Project, layer: usize) -> Vec<Fact> {
    let (info, settings) = (&project.layers[layer], &project.draft().settings[layer]);
    let mut facts = Vec::new();
    if let Some(zeros) = sparse::zeros_of(settings) {
        let among = zeros.among();
        let kept = zeros
            .pattern
            .stored_values(info.rows, info.columns, zeros.sparsity, among);
        let all = info.rows * info.columns;
        let text = format!(
            "{} of {all} by {}",
            all.saturating_sub(kept),
            sparse::prune_name(zeros.method)
        );
        // Of a shorter block at the end of a row nobody knows whether it stays.
        let has_tail = !info.columns.is_multiple_of(zeros.pattern.unit());
        let mark = match has_tail || zeros.shares_threshold() {
            true => Mark::Estimated,
            false => Mark::Exact,
        };
        facts.push(fact("Zeros", text, mark));
    }
    if let Some(rank) = sparse::rank_of(settings) {
        let text = match rank.of_shape(info.rows, info.columns) {
            Some(rank) => format!("{rank} of {}", info.rows.min(info.columns)),
            None => sparse::rank_text(rank),
        };
        facts.push(fact("Rank of factors", text, Mark::Exact));
    }
    facts
}

/// What it takes of a token and of the prompt, and what it waits for.
fn latency(project: &Project, layer: usize) -> Vec<Fact> {
    let Some(speed) = project.latency.speed() else {
        return Vec::new();
    };
    let steps = &speed.estimate.layers;
    let Some(step) = steps.iter().find(|step| step.layer == Some(layer)) else {
        return Vec::new();
    };
    let mark = speed.mark();
    let words = |time: OpTime| {
        let bound = match time.bound_by {
            Bound::Memory => "memory",
            Bound::Compute => "compute",
            Bound::Launch => "its start",
        };
        format!("{}, bound by {bound}", time_text(time.milliseconds / 1e3))
    };
    let decode = step
        .decode
        .map(|time| fact("Time of a token", words(time), mark));
    let prefill = fact("Time of the prompt", words(step.prefill), mark);
    decode.into_iter().chain([prefill]).collect()
}

fn text(facts: &[Fact]) -> String {
    let line = |fact: &Fact| format!("{}\t{}\t{}\n", fact.name, fact.value, fact.mark.word());
    facts.iter().map(line).collect()
}

fn shape(info: &LayerInfo) -> String {
    let sides: Vec<String> = info.shape.iter().map(usize::to_string).collect();
    sides.join(" × ")
}

fn decibels(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} dB"))
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.5}"))
}

fn of_report(facts: &mut Vec<Fact>, report: &LayerReport) {
    let mut push = |name, value| facts.push(fact(name, value, Mark::Measured));
    if let Some(error) = report.relative_output_error {
        push("Output error", error_text(error));
    }
    if let Some(error) = report.max_error {
        push("SQNR", decibels(report.sqnr_db));
        push("Cosine", ratio(report.cosine));
        push("Max error", error_text(error));
    }
    push(
        "Codes used",
        format!("{} of {}", report.codes_used, 1u32 << report.bits.min(16)),
    );
    push("Dead inputs", report.dead_inputs.to_string());
    let fallback = report.fallback.as_ref().map_or_else(
        || "none".to_owned(),
        |fallback| {
            format!(
                "{} instead of {}: {}",
                fallback.to, fallback.from, fallback.reason
            )
        },
    );
    push("Fallback", fallback);
    push("Solved in", format!("{:.2} s", report.seconds));
}

fn of_preview(
    facts: &mut Vec<Fact>,
    preview: &Preview,
    (stage, settings): (Stage, &LayerSettings),
) {
    // The layer alone, without what earlier layers become: never more than an estimate of a run.
    let mut push = |name, value, mark| facts.push(fact(name, value, mark));
    let guess = Mark::Estimated;
    let name = match preview.basis {
        Basis::Inputs => "Output error",
        Basis::Weights => "Weight error",
    };
    let error = preview
        .relative_error
        .map_or_else(|| "–".to_owned(), error_text);
    push(name, error, guess);
    push("SQNR", decibels(preview.sqnr_db), guess);
    push("Cosine", ratio(preview.cosine), guess);
    push("Max error", error_text(preview.max_error), guess);
    if preview.codes_possible > 0 {
        let used = f64::from(preview.codes_used) / f64::from(preview.codes_possible);
        let text = format!(
            "{} of {} ({:.0} %)",
            preview.codes_used,
            preview.codes_possible,
            100.0 * used
        );
        push("Codes used", text, guess);
    }
    push("Rows", rows(preview, stage, settings), Mark::Exact);
    let dead = preview.warnings.iter().find_map(|warning| match warning {
        Warning::DeadInputs { count } => Some(*count),
        _ => None,
    });
    if stage == Stage::Exact {
        push("Dead inputs", dead.unwrap_or(0).to_string(), Mark::Exact);
        push("Fallback", fallback(preview), Mark::Exact);
    }
}

fn clipped(preview: &Preview) -> Fact {
    let share = 100.0 * preview.clipped_share;
    fact("Clipped", format!("{share:.2} %"), Mark::Estimated)
}

fn rows(preview: &Preview, stage: Stage, settings: &LayerSettings) -> String {
    match stage {
        Stage::Sampled => format!("{} of {} rows", preview.sampled_rows, preview.rows),
        Stage::Whole if preview.exact || preview.method == Method::None => "whole layer".to_owned(),
        Stage::Whole => "whole layer, by RTN".to_owned(),
        Stage::Exact => super::exact_words(settings),
    }
}

fn fallback(preview: &Preview) -> String {
    let words = preview.warnings.iter().find_map(|warning| match warning {
        Warning::FellBack { from, to, reason } => Some(format!(
            "{} instead of {}: {reason}",
            to.word(),
            from.word()
        )),
        Warning::PrunedOtherwise { from, to, reason } => Some(format!(
            "pruned by {} instead of {}: {reason}",
            to.word(),
            from.word()
        )),
        Warning::FactorsOfWeights { reason } => {
            Some(format!("factors of the weights alone: {reason}"))
        }
        Warning::Damped { damping, .. } => Some(format!("damping raised to {damping}")),
        _ => None,
    });
    words.unwrap_or_else(|| "none".to_owned())
}

//! The strip of numbers: the newest step, losses, speed, what is left.

use crate::gui::scene::Scene;
use crate::gui::views::run::{figure, seconds};
use crate::gui::widgets::{error_text, tokens_text};
use crate::studio::train::Curve;
use egui::Ui;

/// Width of a figure with its caption: nothing moves when a digit comes.
const WIDTH: f32 = 80.0;
/// Texts of more letters need a wider place.
const LONG: usize = 12;
/// Panes at least so wide have room for the learning rate.
const ROOMY: f32 = 700.0;

pub(super) fn show(ui: &mut Ui, scene: &Scene<'_>) {
    let Some(run) = scene.studio.shown_training() else {
        return;
    };
    let curve = scene.studio.curves.get(run.id);
    let is_at_work = scene
        .studio
        .active
        .as_ref()
        .is_some_and(|active| active.id == run.id);
    let last = curve.and_then(Curve::last);
    let report = run.trained();
    let number = |value: Option<f64>| value.map_or_else(unknown, error_text);
    let total = scene
        .studio
        .active
        .as_ref()
        .filter(|active| is_at_work && active.progress.total > 0)
        .map(|active| active.progress.total);
    let step = last.map_or(0, |point| point.step);
    let steps = match total.filter(|&total| total >= step) {
        Some(total) => format!("{step} of {total}"),
        None => step.to_string(),
    };
    let held_out = curve.and_then(Curve::held_out).map(|(_, loss)| loss);
    let best = report.and_then(|report| report.held_out_best);
    let speed = match report {
        Some(report) => Some(report.tokens_per_second),
        None => last.map(|point| point.tokens_per_second),
    };
    let speed = speed.filter(|speed| *speed > 0.0);
    let time = match (report, last) {
        (Some(report), _) => ("took", seconds(report.seconds)),
        (None, Some(point)) if is_at_work && point.step > 0 => {
            ("left", format!("≈{}", seconds(point.seconds_left)))
        }
        _ => ("left", unknown()),
    };
    let loss = last.and_then(|point| point.loss);
    let mut all = vec![
        ("step", steps),
        ("loss", number(loss)),
        match best {
            Some(_) => ("held-out, best", number(best)),
            None => ("held-out loss", number(held_out)),
        },
        ("tokens/s", speed.map_or_else(unknown, tokens_text)),
        time,
    ];
    let perplexity = report.and_then(|one| one.perplexity_before.zip(one.perplexity_after));
    all.push(match perplexity {
        Some((before, after)) => ("perplexity", format!("{before:.2} → {after:.2}")),
        None => {
            let norm = last.and_then(|point| point.gradient_norm);
            ("gradient norm", number(norm))
        }
    });
    if ui.available_width() >= ROOMY {
        let rate = last.map_or_else(unknown, |point| rate_text(point.rate));
        all.push(("learning rate", rate));
    }
    ui.horizontal_wrapped(|ui| {
        for (caption, text) in all {
            let is_long = text.chars().count() > LONG;
            let width = if is_long { 1.4 * WIDTH } else { WIDTH };
            figure(ui, scene, caption, &text, width);
        }
    });
}

fn unknown() -> String {
    "–".to_owned()
}

/// A learning rate as people write it.
pub(super) fn rate_text(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate => format!("{rate:.2e}"),
    }
}

//! The knobs of training: the main ones in rows, the others behind "More…".

use super::setup::fields;
use super::student::percent;
use crate::gui::scene::Scene;
use crate::gui::widgets::named;
use crate::studio::train::TrainDraft;
use egui::emath::Numeric;
use egui::{ComboBox, DragValue, Response, Ui};
use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::{
    Ensemble, LEAST_TEMPERATURE, OptimizerKind, Schedule, StateStorage, TrainMode, TrainPruning,
    TrainSettings,
};
use std::ops::RangeInclusive;

/// No learning rate above 0 is lower.
const LEAST_RATE: f64 = 1e-9;
/// No count is larger.
const MOST: u64 = 10_000_000;

/// What the knobs remember between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    shows_more: bool,
}

pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    draft: &mut TrainDraft,
    memory: &mut Memory,
) {
    let context = scene
        .project()
        .and_then(|one| one.inspection.context_length);
    let longest = context.unwrap_or(1 << 20);
    let settings = &mut draft.settings;
    fields(ui, scene, "Steps", |ui, _| {
        whole(
            ui,
            "Steps",
            "",
            &mut settings.steps,
            1..=MOST,
            "Optimizer steps",
        );
        let hint = "Sequences of a step";
        whole(ui, "Batch", "batch ", &mut settings.batch, 1..=4096, hint);
        length(ui, &mut settings.length, longest);
    });
    fields(ui, scene, "Learning rate", |ui, _| {
        // Of rounding 0 is a rate: one over the steps.
        let least = match settings.mode {
            TrainMode::Round => 0.0,
            _ => LEAST_RATE,
        };
        rate(ui, &mut settings.rate, least);
        let hint = "Steps until the highest rate";
        whole(
            ui,
            "Warm-up",
            "warm-up ",
            &mut settings.warm_up,
            0..=MOST,
            hint,
        );
    });
    fields(ui, scene, "Loss", |ui, _| {
        let hint = "Of teacher and student in the divergence";
        amount(
            ui,
            "Temperature",
            "temperature ",
            &mut settings.temperature,
            LEAST_TEMPERATURE..=100.0,
            hint,
        );
        let hint = "Share of the text's own tokens in the loss, beside the teachers";
        share(ui, "Hard share", "hard ", &mut settings.hard, hint);
    });
    fields(ui, scene, "Held out", |ui, _| {
        let hint = "Sequences held out: the best weights by them are kept";
        whole(
            ui,
            "Held-out sequences",
            "",
            &mut settings.held_out,
            0..=65_536,
            hint,
        );
        let hint = "Steps between looks at them; 0 = only before and after";
        whole(
            ui,
            "Look every",
            "look every ",
            &mut settings.check_every,
            0..=MOST,
            hint,
        );
    });
    fields(ui, scene, "Zeros", |ui, _| prune(ui, settings));
    fields(ui, scene, "", |ui, _| {
        ui.toggle_value(&mut memory.shows_more, "More…")
            .on_hover_text("Optimizer, schedule, matching, memory, seed");
    });
    if memory.shows_more {
        more(ui, scene, settings);
    }
}

fn more(ui: &mut Ui, scene: &mut Scene<'_>, settings: &mut TrainSettings) {
    fields(ui, scene, "Optimizer", |ui, _| {
        let kinds = [
            (OptimizerKind::Adamw, "AdamW"),
            (OptimizerKind::Sign, "sign"),
        ];
        list(ui, "Optimizer", &mut settings.optimizer, &kinds);
        amount(
            ui,
            "Weight decay",
            "decay ",
            &mut settings.decay,
            0.0..=1.0,
            "Of matrices",
        );
        let hint = "Longest gradient; 0 = any";
        amount(ui, "Clip", "clip ", &mut settings.clip, 0.0..=1e6, hint);
    });
    fields(ui, scene, "Means", |ui, _| {
        let hint = "Share of the past in the mean of gradients";
        share(ui, "Beta 1", "beta 1 ", &mut settings.beta1, hint);
        let hint = "Share of the past in the mean of their squares";
        share(ui, "Beta 2", "beta 2 ", &mut settings.beta2, hint);
    });
    fields(ui, scene, "Schedule", |ui, _| {
        let kinds = [
            (Schedule::Cosine, "cosine"),
            (Schedule::Linear, "linear"),
            (Schedule::Constant, "constant"),
        ];
        list(ui, "Schedule", &mut settings.schedule, &kinds);
        let hint = "The last step's rate as a share of the highest";
        share(ui, "Last rate", "last ", &mut settings.last_rate, hint);
    });
    fields(ui, scene, "Teachers' mean", |ui, _| {
        let kinds = [
            (Ensemble::Probability, "of probabilities"),
            (Ensemble::Logit, "of logits"),
        ];
        list(ui, "Mean of teachers", &mut settings.ensemble, &kinds);
        let hint = "Likeliest tokens of each position kept on disk; 0 = teachers run in each step";
        whole(
            ui,
            "Cache",
            "cache top ",
            &mut settings.cache_top,
            0..=4096,
            hint,
        );
    });
    fields(ui, scene, "Matching", |ui, _| {
        let hint = "Weight of states matched with the first teacher's, block by block";
        amount(
            ui,
            "States",
            "states ",
            &mut settings.hidden,
            0.0..=1e3,
            hint,
        );
        let hint = "Weight of attention maps matched with the first teacher's";
        amount(
            ui,
            "Attention maps",
            "attention ",
            &mut settings.attention,
            0.0..=1e3,
            hint,
        );
    });
    fields(ui, scene, "Memory", |ui, _| {
        let hint = "Sequences in memory at once; 0 = the whole batch";
        whole(
            ui,
            "Micro-batch",
            "at once ",
            &mut settings.micro_batch,
            0..=4096,
            hint,
        );
        let kinds = [(StateStorage::F32, "f32"), (StateStorage::Bf16, "bf16")];
        list(ui, "States kept as", &mut settings.states, &kinds);
    });
    fields(ui, scene, "End", |ui, _| {
        let hint = "Looks without a lower held-out loss until training ends; 0 = never";
        whole(
            ui,
            "Patience",
            "patience ",
            &mut settings.patience,
            0..=MOST,
            hint,
        );
        let hint = "Steps in a row without a finite loss until training fails";
        whole(
            ui,
            "Skip limit",
            "skip at most ",
            &mut settings.skip_limit,
            1..=MOST,
            hint,
        );
    });
    fields(ui, scene, "Repeat", |ui, _| {
        let hint = "Steps between stored states; 0 = only when it is stopped";
        whole(
            ui,
            "Save every",
            "save every ",
            &mut settings.save_every,
            0..=MOST,
            hint,
        );
        let hint = "Seed of batches and fresh weights";
        whole(
            ui,
            "Seed of training",
            "seed ",
            &mut settings.seed,
            0..=u64::MAX,
            hint,
        );
    });
}

/// Zeros that grow while the rest is trained.
fn prune(ui: &mut Ui, settings: &mut TrainSettings) {
    let pattern = settings.prune.map(|prune| prune.pattern);
    let kinds = [
        (None, "none"),
        (Some(SparsityPattern::Unstructured), "unstructured"),
        (Some(SparsityPattern::TWO_OF_FOUR), "2:4"),
    ];
    let mut chosen = pattern;
    list(ui, "Pruned while training", &mut chosen, &kinds);
    if chosen != pattern {
        settings.prune = chosen.map(|pattern| TrainPruning {
            pattern,
            sparsity: pattern.sparsity().unwrap_or(0.5),
            from: 0,
            until: 0,
            every: 10,
        });
    }
    if let Some(prune) = &mut settings.prune {
        // N:M fixes its own share.
        if prune.pattern.sparsity().is_none() {
            percent(ui, "Share of zeros at the end", "", &mut prune.sparsity);
        }
        let hint = "Steps between changes of the masks";
        whole(
            ui,
            "Masks change every",
            "every ",
            &mut prune.every,
            1..=MOST,
            hint,
        );
    }
}

fn whole<N: Numeric>(
    ui: &mut Ui,
    name: &str,
    prefix: &str,
    value: &mut N,
    range: RangeInclusive<N>,
    hint: &str,
) -> Response {
    let field = DragValue::new(value)
        .range(range)
        .speed(0.25)
        .prefix(prefix);
    let field = field.update_while_editing(false);
    named(ui.add(field), name).on_hover_text(hint)
}

fn amount(
    ui: &mut Ui,
    name: &str,
    prefix: &str,
    value: &mut f64,
    range: RangeInclusive<f64>,
    hint: &str,
) {
    let field = DragValue::new(value)
        .range(range)
        .speed(0.01)
        .max_decimals(4);
    let field = field.prefix(prefix).update_while_editing(false);
    named(ui.add(field), name).on_hover_text(hint);
}

fn share(ui: &mut Ui, name: &str, prefix: &str, value: &mut f64, hint: &str) {
    amount(ui, name, prefix, value, 0.0..=1.0, hint);
}

/// The highest learning rate: dragged by shares of itself; 0 reads as what the engine takes.
fn rate(ui: &mut Ui, value: &mut f64, least: f64) {
    let speed = (0.01 * *value).max(LEAST_RATE);
    let field = DragValue::new(value)
        .range(least..=10.0)
        .speed(speed)
        .custom_formatter(|value, _| match value {
            0.0 => "auto".to_owned(),
            value => format!("{value:.2e}"),
        })
        .custom_parser(|text| match text.trim() {
            "auto" => Some(0.0),
            text => text.parse().ok(),
        })
        .update_while_editing(false);
    named(ui.add(field), "Highest learning rate").on_hover_text("Highest learning rate");
}

/// Tokens of a sequence; 0 reads as what the engine takes.
fn length(ui: &mut Ui, value: &mut usize, longest: usize) {
    let field = DragValue::new(value)
        .range(0..=longest)
        .speed(1.0)
        .custom_formatter(|value, _| match value {
            0.0 => "auto".to_owned(),
            value => format!("{value:.0}"),
        })
        .custom_parser(|text| text.trim().parse().ok())
        .prefix("length ")
        .update_while_editing(false);
    let hint = "Tokens of a sequence; 0 = the context, at most 512 (128 for sentences)";
    named(ui.add(field), "Length").on_hover_text(hint);
}

fn list<T: PartialEq + Copy>(ui: &mut Ui, name: &str, value: &mut T, kinds: &[(T, &str)]) {
    let now = kinds.iter().find(|(kind, _)| kind == value);
    let combo = ComboBox::from_id_salt(name)
        .selected_text(now.map_or("", |(_, word)| *word))
        .width(92.0)
        .show_ui(ui, |ui| {
            for (kind, word) in kinds {
                ui.selectable_value(value, *kind, *word);
            }
        });
    named(combo.response, name).on_hover_text(name);
}

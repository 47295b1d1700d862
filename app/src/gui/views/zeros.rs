//! Controls of zeros, factors and palettes for the selected layers: in the inspector, and in a list of the bar.
//!
//! What differs among layers reads "mixed". The slider edits with every frame of a drag, as one step of undo; errors follow
//! from previews as they come in. Knows no solver.

use super::gestures::Gestures;
use crate::gui::scene::Scene;
use crate::gui::widgets::{error_text, named, sign};
use crate::studio::draft::LayerEdit;
use crate::studio::sparse::{
    self, PALETTE_ROWS, PATTERNS, RANKS, SPARSITY, palette_text, pattern_name, prune_hint,
    prune_name, rank_text, scope_name,
};
use crate::studio::{Command, Project};
use egui::{ComboBox, DragValue, RichText, Slider, Ui};
use pare_engine::mask::{LARGEST_M, SparsityPattern};
use pare_engine::recipe::{LayerSettings, PruneMethod, PruneScope, Pruning, Rank};
use pare_engine::solved::Method;
use std::ops::RangeInclusive;

/// Numbers of gestures begin far from those of other views.
const FIRST_GESTURE: u64 = 1 << 41;

/// What the controls remember between frames.
#[derive(Debug)]
pub(super) struct Memory {
    gestures: Gestures,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            gestures: Gestures::from(FIRST_GESTURE),
        }
    }
}

/// All controls for `layers`, of which there is at least one; as wide as there is room.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    layers: &[usize],
    memory: &mut Memory,
) {
    let draft = project.draft();
    let settings: Vec<LayerSettings> = layers.iter().map(|&layer| draft.settings[layer]).collect();
    let pruned = shared(settings.iter().map(sparse::zeros_of));
    let first = settings.iter().find_map(sparse::zeros_of);
    ui.horizontal_wrapped(|ui| {
        method(ui, scene, &settings, pruned);
        if let Some(first) = first {
            pattern(ui, scene, &settings, first, memory);
            share(ui, scene, &settings, first, memory);
            scope(ui, scene, &settings, first);
            error(ui, scene, project, layers);
        }
        rank(ui, scene, &settings, memory);
        if settings.iter().any(|one| one.method == Method::Palette) {
            palette(ui, scene, &settings);
        }
    });
}

/// The value that all share.
fn shared<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

fn push(scene: &mut Scene<'_>, edit: LayerEdit) {
    scene.push(Command::Edit {
        edit,
        layers: None,
        gesture: None,
    });
}

/// A list under a name; `text` is what is chosen.
fn list(
    ui: &mut Ui,
    (name, text): (&str, String),
    width: f32,
    hint: &str,
    rows: impl FnOnce(&mut Ui),
) {
    let combo = ComboBox::from_id_salt(name)
        .selected_text(text)
        .width(width);
    let response = combo.show_ui(ui, rows).response;
    named(response, name).on_hover_text(hint);
}

fn method(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    settings: &[LayerSettings],
    pruned: Option<Option<Pruning>>,
) {
    let of =
        |one: &LayerSettings| sparse::zeros_of(one).map_or(PruneMethod::None, |zeros| zeros.method);
    let value = shared(settings.iter().map(of));
    let text = match (pruned, value) {
        (Some(None), _) => "not pruned".to_owned(),
        (_, Some(method)) => prune_name(method).to_owned(),
        (_, None) => "pruning mixed".to_owned(),
    };
    let hint = "Pruning: which weights become zero";
    list(ui, ("Pruning", text), 92.0, hint, |ui| {
        for option in PruneMethod::ALL {
            let label = ui.selectable_label(value == Some(option), prune_name(option));
            if label.on_hover_text(prune_hint(option)).clicked() {
                push(scene, LayerEdit::Prune(option));
            }
        }
    });
}

fn pattern(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    settings: &[LayerSettings],
    first: Pruning,
    memory: &mut Memory,
) {
    let patterns = settings.iter().filter_map(sparse::zeros_of);
    let value = shared(patterns.map(|zeros| zeros.pattern));
    let text = value.map_or_else(|| "pattern mixed".to_owned(), pattern_name);
    let hint = "Pattern: where zeros may lie. Kernels skip those of 2:4 and of sparse blocks under whole codes; others save bytes";
    list(ui, ("Pattern of zeros", text), 96.0, hint, |ui| {
        for option in PATTERNS {
            let is_chosen = value == Some(option);
            let label = ui.selectable_label(is_chosen, pattern_name(option));
            if label.clicked() {
                push(scene, LayerEdit::Pattern(option));
            }
        }
        let other = match first.pattern {
            SparsityPattern::NOfM { .. } => first.pattern,
            _ => SparsityPattern::NOfM { kept: 1, of: 2 },
        };
        if ui.selectable_label(false, "any N:M").clicked() {
            push(scene, LayerEdit::Pattern(other));
        }
    });
    if let Some(SparsityPattern::NOfM { kept, of }) = value {
        ui.spacing_mut().item_spacing.x = 2.0;
        let (mut few, mut many) = (kept, of);
        number(
            ui,
            scene,
            memory,
            ("Weights kept", 1..=of - 1),
            &mut few,
            |kept| SparsityPattern::NOfM { kept, of },
        );
        ui.label(":");
        number(
            ui,
            scene,
            memory,
            ("Of neighbours", 2..=LARGEST_M),
            &mut many,
            |of| {
                let kept = kept.min(of - 1);
                SparsityPattern::NOfM { kept, of }
            },
        );
        ui.spacing_mut().item_spacing.x = 6.0;
    }
}

/// One number of an N:M pattern.
fn number(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    memory: &mut Memory,
    (name, range): (&str, RangeInclusive<u8>),
    value: &mut u8,
    pattern: impl Fn(u8) -> SparsityPattern,
) {
    let field = DragValue::new(value).range(range).speed(0.05);
    let response = named(ui.add(field), name);
    let edit = LayerEdit::Pattern(pattern(*value));
    memory.gestures.edit(scene, &response, edit);
    response.on_hover_text(name);
}

/// The slider of zeros; of an N:M pattern it moves N.
fn share(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    settings: &[LayerSettings],
    first: Pruning,
    memory: &mut Memory,
) {
    let share = first.pattern.sparsity().unwrap_or(first.sparsity);
    let mut percent = 100.0 * share;
    ui.spacing_mut().slider_width = 120.0;
    let ends = 100.0 * *SPARSITY.start()..=100.0 * *SPARSITY.end();
    let slider = Slider::new(&mut percent, ends)
        .step_by(1.0)
        .max_decimals(0)
        .suffix(" %");
    // On a raised ground the rail would not be seen.
    ui.visuals_mut().widgets.inactive.bg_fill = scene.look.colours.line;
    let response = ui.name_inputs("Share of zeros", |ui| ui.add(slider));
    let edit = LayerEdit::Sparsity(percent / 100.0);
    memory.gestures.edit(scene, &response, edit);
    let all = settings.iter().map(sparse::share_of);
    let is_mixed = shared(all).is_none();
    let hint = match (is_mixed, first.pattern) {
        (true, _) => {
            "Share of weights that become zero; the selected layers differ, this is the first"
        }
        (_, SparsityPattern::NOfM { .. }) => {
            "Share of weights that become zero; of this pattern it moves N"
        }
        _ => "Share of weights that become zero",
    };
    response.on_hover_text(hint);
}

fn scope(ui: &mut Ui, scene: &mut Scene<'_>, settings: &[LayerSettings], first: Pruning) {
    if matches!(first.pattern, SparsityPattern::NOfM { .. }) {
        return;
    }
    let scopes = settings.iter().filter_map(sparse::zeros_of);
    let value = shared(scopes.map(|zeros| zeros.scope));
    let text = value.map_or("scope mixed", scope_name).to_owned();
    let hint = "Scope: among which weights zeros are chosen";
    list(ui, ("Scope of zeros", text), 108.0, hint, |ui| {
        for option in PruneScope::ALL {
            let is_chosen = value == Some(option);
            if ui.selectable_label(is_chosen, scope_name(option)).clicked() {
                push(scene, LayerEdit::Scope(option));
            }
        }
    });
}

/// What it costs: follows the slider as previews come in.
fn error(ui: &mut Ui, scene: &Scene<'_>, project: &Project, layers: &[usize]) {
    let error = match layers {
        [layer] => project.figures[*layer].error,
        _ => project.selected_totals.error,
    };
    let (text, colour) = match error {
        Some(error) => {
            let text = format!("error {}{}", sign(error.mark), error_text(error.value));
            (text, scene.look.colours.strong)
        }
        None => ("error –".to_owned(), scene.look.colours.weak),
    };
    let hint = match error {
        Some(error) => format!(
            "Relative error with these zeros, {}; it follows the slider",
            error.mark.word()
        ),
        None => "Errors are on their way".to_owned(),
    };
    // Its place is kept, so that nothing moves as figures come in.
    let size = egui::vec2(88.0, ui.spacing().interact_size.y);
    let label = egui::Label::new(RichText::new(text).color(colour));
    ui.add_sized(size, label).on_hover_text(hint);
}

fn rank(ui: &mut Ui, scene: &mut Scene<'_>, settings: &[LayerSettings], memory: &mut Memory) {
    let of = |one: &LayerSettings| sparse::rank_of(one).unwrap_or(Rank::None);
    let value = shared(settings.iter().map(of));
    let text = value.map_or_else(|| "factors mixed".to_owned(), rank_text);
    let hint = "Low rank: factors that make up for what codes and zeros lose; of floats that are not pruned, factors in place of the weights";
    list(ui, ("Rank of factors", text), 96.0, hint, |ui| {
        for option in RANKS {
            if ui
                .selectable_label(value == Some(option), rank_text(option))
                .clicked()
            {
                push(scene, LayerEdit::Rank(option));
            }
        }
    });
    if let Some(Rank::Fixed(mut rank)) = value {
        let field = DragValue::new(&mut rank).range(1..=8192).speed(0.2);
        let response = named(ui.add(field), "Rank");
        let edit = LayerEdit::Rank(Rank::Fixed(rank));
        memory.gestures.edit(scene, &response, edit);
    }
}

fn palette(ui: &mut Ui, scene: &mut Scene<'_>, settings: &[LayerSettings]) {
    let palettes = settings.iter().filter(|one| one.method == Method::Palette);
    let value = shared(palettes.map(|one| one.palette_rows));
    let text = value.map_or_else(|| "palettes mixed".to_owned(), palette_text);
    let hint = "Rows that share a palette: fewer rows fit better and store more";
    list(ui, ("Rows of a palette", text), 148.0, hint, |ui| {
        for rows in PALETTE_ROWS {
            let is_chosen = value == Some(rows);
            if ui.selectable_label(is_chosen, palette_text(rows)).clicked() {
                push(scene, LayerEdit::PaletteRows(rows));
            }
        }
    });
}

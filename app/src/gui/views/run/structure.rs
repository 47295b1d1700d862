//! What is taken out of the network as a whole: heads, neurons, blocks, tokens that no text has.
//!
//! Holds for the whole recipe, as the text that calibrates does. A drag is one step of undo.

use super::blocks;
use super::setup::row;
use crate::gui::scene::Scene;
use crate::gui::views::gestures::Gestures;
use crate::gui::widgets::named;
use crate::studio::steps::structure_in_words;
use crate::studio::{Command, Project};
use egui::{Align, DragValue, Layout, Response, RichText, Ui};
use pare_engine::recipe::{BlockChoice, Structure};
use std::ops::RangeInclusive;

/// Numbers of gestures begin far from those of other views.
const FIRST_GESTURE: u64 = 1 << 42;
/// Most that is taken out of heads and neurons, in per cent.
const MOST_PERCENT: f64 = 90.0;

/// Panes at least so wide show all fields in one row.
const ONE_ROW: f32 = 660.0;

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

/// What goes of each block, which blocks and tokens go, and how much each block changes.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let studio = scene.studio;
    let Some(project) = studio.project() else {
        return;
    };
    let structure = project.draft().structure.clone();
    let fields = |ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, parts: [bool; 2]| {
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.add_space(8.0);
            if parts[0] {
                shares(ui, scene, &structure, memory);
            }
            if parts[1] {
                whole_parts(ui, scene, project, &structure, memory);
            }
        });
    };
    let is_wide = ui.available_width() >= ONE_ROW;
    let none = |_: &mut Ui, _: &mut Scene<'_>| {};
    row(ui, scene, "Structure", none, |ui, scene, _| {
        fields(ui, scene, memory, [true, is_wide]);
    });
    if !is_wide {
        row(ui, scene, "", none, |ui, scene, _| {
            fields(ui, scene, memory, [false, true]);
        });
    }
    if has_blocks(project) {
        row(
            ui,
            scene,
            "Change by block",
            |_, _| {},
            |ui, scene, _| {
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    ui.add_space(8.0);
                    blocks::show(ui, scene, project, &structure);
                });
            },
        );
    }
}

/// Blocks of the network that is open.
fn has_blocks(project: &Project) -> bool {
    project.layers.iter().any(|info| info.block.is_some())
}

fn shares(ui: &mut Ui, scene: &mut Scene<'_>, structure: &Structure, memory: &mut Memory) {
    let mut heads = 100.0 * structure.heads;
    let response = percent(ui, "heads", &mut heads);
    let hint = "Share of attention heads that goes; of heads that share keys, whole groups. From every block the same number";
    let changed = Structure {
        heads: heads / 100.0,
        ..structure.clone()
    };
    follow(scene, memory, &response, changed);
    response.on_hover_text(hint);

    let mut neurons = 100.0 * structure.neurons;
    let response = percent(ui, "neurons", &mut neurons);
    let changed = Structure {
        neurons: neurons / 100.0,
        ..structure.clone()
    };
    follow(scene, memory, &response, changed);
    response
        .on_hover_text("Share of feed-forward neurons that goes, from every block the same number");

    let mut multiple = structure.neuron_multiple.max(1);
    let response = whole(
        ui,
        "Neurons stay in multiples of",
        "in multiples of ",
        &mut multiple,
        1..=1024,
    );
    let neuron_multiple = if multiple == 1 { 0 } else { multiple };
    let changed = Structure {
        neuron_multiple,
        ..structure.clone()
    };
    follow(scene, memory, &response, changed);
    response
        .on_hover_text("Neurons stay in multiples of this, so that widths fit kernels and groups");
}

fn whole_parts(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    structure: &Structure,
    memory: &mut Memory,
) {
    let named = match &structure.blocks {
        BlockChoice::These(blocks) if !blocks.is_empty() => Some(blocks.len()),
        _ => None,
    };
    let all = project.layers.iter().filter_map(|info| info.block).max();
    let most = all.map_or(0, |last| last.saturating_sub(1));
    match named {
        Some(count) => {
            ui.label(format!("{count} blocks by name"));
            if ui
                .small_button("Clear")
                .on_hover_text("Clear blocks: all of them stay")
                .clicked()
            {
                let blocks = BlockChoice::Count(0);
                scene.push(set(Structure {
                    blocks,
                    ..structure.clone()
                }));
            }
        }
        None => {
            let mut count = match &structure.blocks {
                BlockChoice::Count(count) => *count,
                BlockChoice::These(_) => 0,
            };
            let response = whole(ui, "Blocks that go", "blocks ", &mut count, 0..=most);
            let blocks = BlockChoice::Count(count);
            follow(
                scene,
                memory,
                &response,
                Structure {
                    blocks,
                    ..structure.clone()
                },
            );
            response
                .on_hover_text("Whole blocks that go: those whose output is most like their input");
        }
    }
    let mut vocabulary = structure.vocabulary;
    let hint =
        "Tokens that the calibration text does not contain lose their rows; the tokenizer follows";
    if ui
        .checkbox(&mut vocabulary, "drop unused tokens")
        .on_hover_text(hint)
        .changed()
    {
        scene.push(set(Structure {
            vocabulary,
            ..structure.clone()
        }));
    }
    let mut repair = structure.repair;
    let hint =
        "Repair: layers after heads and neurons are fitted to what is left, by least squares";
    let has_parts = structure.heads > 0.0 || structure.neurons > 0.0;
    let response = ui.add_enabled(has_parts, egui::Checkbox::new(&mut repair, "repair"));
    let response = response.on_disabled_hover_text("Nothing to repair: all heads and neurons stay");
    if response.on_hover_text(hint).changed() {
        scene.push(set(Structure {
            repair,
            ..structure.clone()
        }));
    }
    if !structure.is_none() {
        let words = RichText::new(structure_in_words(structure)).small();
        let label = egui::Label::new(words.color(scene.look.colours.weak)).truncate();
        ui.add(label).on_hover_text("Taken out before anything else is done; bytes and speed shown elsewhere are of the whole network");
    }
}

fn set(structure: Structure) -> Command {
    Command::SetStructure(structure, None)
}

fn follow(scene: &mut Scene<'_>, memory: &mut Memory, response: &Response, structure: Structure) {
    memory.gestures.follow(scene, response, |gesture| {
        Command::SetStructure(structure, Some(gesture))
    });
}

fn percent(ui: &mut Ui, word: &str, value: &mut f64) -> Response {
    let field = DragValue::new(value)
        .range(0.0..=MOST_PERCENT)
        .speed(0.5)
        .max_decimals(0)
        .prefix(format!("{word} "))
        .suffix(" %");
    named(ui.add(field), &format!("Share of {word} that goes"))
}

fn whole(
    ui: &mut Ui,
    name: &str,
    prefix: &str,
    value: &mut usize,
    range: RangeInclusive<usize>,
) -> Response {
    let field = DragValue::new(value).range(range).speed(0.1).prefix(prefix);
    named(ui.add(field), name)
}

//! What proposals must keep to: fused layers that agree, fewest bits of embeddings and head, allowed options, locks.
//!
//! Edits the studio's rules as a whole; knows nothing of how they are kept.

use super::Memory;
use super::options::{chips, read, words};
use crate::gui::scene::Scene;
use crate::gui::widgets::sign_button;
use crate::studio::action::View;
use crate::studio::proposal::BudgetRules;
use crate::studio::{Command, Project};
use egui::{Button, CollapsingHeader, ComboBox, RichText, Ui};
use egui_material_icons::icons::ICON_CLOSE;

/// Hits every layer: where chips write what they allow.
const EVERY: &str = "*";

/// The foldable section.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    let mut rules = project.budget_rules.clone();
    CollapsingHeader::new("Rules")
        .id_salt("budget rules")
        .show(ui, |ui| {
            fused(ui, scene, project, &mut rules);
            ends(ui, &mut rules);
            allowed(ui, scene, project, memory, &mut rules);
            locks(ui, scene, project);
        });
    if rules != project.budget_rules {
        scene.push(Command::SetBudgetRules(rules));
    }
}

fn fused(ui: &mut Ui, scene: &Scene<'_>, project: &Project, rules: &mut BudgetRules) {
    ui.checkbox(&mut rules.fused, "q/k/v and gate/up agree")
        .on_hover_text("Runtimes that fuse these layers need one option for all of them");
    let format = project.draft().format;
    if format.fuses_peers() {
        let word = format.word();
        let (text, colour) = match rules.fused {
            true => (
                format!("The {word} container needs it: its loaders fuse these layers"),
                scene.look.colours.weak,
            ),
            false => (
                format!(
                    "Loaders of the {word} container fuse these layers and refuse those that differ"
                ),
                scene.look.colours.warning,
            ),
        };
        ui.label(RichText::new(text).small().color(colour));
    }
}

fn ends(ui: &mut Ui, rules: &mut BudgetRules) {
    ui.checkbox(&mut rules.ends, "Embeddings and head may change");
    if !rules.ends {
        return;
    }
    let text = |bits: Option<u8>| match bits {
        None => "with any bits".to_owned(),
        Some(bits) => format!("with at least {bits} bits"),
    };
    let combo = ComboBox::from_id_salt("fewest end bits")
        .selected_text(text(rules.minimum_end_bits))
        .width(132.0);
    let response = combo.show_ui(ui, |ui| {
        for bits in [None, Some(3), Some(4), Some(5), Some(6), Some(8)] {
            ui.selectable_value(&mut rules.minimum_end_bits, bits, text(bits));
        }
    });
    response
        .response
        .on_hover_text("Fewest bits of embeddings and head");
}

/// Chips for all layers, then a row for each pattern.
fn allowed(
    ui: &mut Ui,
    scene: &Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    rules: &mut BudgetRules,
) {
    let known = &project.sensitivity.table.options;
    let place = rules
        .allowed
        .iter()
        .position(|(pattern, _)| pattern == EVERY);
    let all = match place {
        Some(place) => rules.allowed[place].1.clone(),
        None => known.clone(),
    };
    if let Some(chosen) = chips(ui, known, &all) {
        match place {
            Some(place) => rules.allowed.remove(place),
            None => (String::new(), Vec::new()),
        };
        if chosen.len() < known.len() {
            // Patterns after it decide for what they hit.
            rules.allowed.insert(0, (EVERY.to_owned(), chosen));
        }
    }
    let mut dropped = None;
    for (index, (pattern, options)) in rules.allowed.iter_mut().enumerate() {
        if pattern == EVERY {
            continue;
        }
        ui.horizontal(|ui| {
            ui.label(format!("{pattern} = {}", words(options, known)));
            let button = ui.add(Button::new(ICON_CLOSE.codepoint).frame(false));
            if sign_button(button, &format!("Drop the rule for {pattern}")).clicked() {
                dropped = Some(index);
            }
        });
    }
    if let Some(index) = dropped {
        rules.allowed.remove(index);
    }
    new_pattern(ui, scene, project, memory, rules);
}

/// `*.down_proj = 4,5,6`, taken with Enter.
fn new_pattern(
    ui: &mut Ui,
    scene: &Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    rules: &mut BudgetRules,
) {
    let width = (ui.available_width() - 8.0).clamp(80.0, 260.0);
    let name = "Pattern and the options it may have";
    let hint = "*.down_proj = 4,5,6/64";
    let (_, typed) = memory.pattern.show(ui, name, &memory.refused, hint, width);
    if let Some(text) = typed {
        let row = read(&text, &project.sensitivity.table.options);
        // What was refused stays in the field, to be mended.
        memory.refused = match row {
            Ok(_) => String::new(),
            Err(_) => text,
        };
        memory.rule_problem = row.as_ref().err().cloned();
        rules.allowed.extend(row);
    }
    if let Some(problem) = &memory.rule_problem {
        ui.label(
            RichText::new(problem)
                .small()
                .color(scene.look.colours.error),
        );
    }
}

fn locks(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    let count = project
        .draft()
        .locked
        .iter()
        .filter(|locked| **locked)
        .count();
    if count == 0 {
        return;
    }
    ui.horizontal(|ui| {
        let text = match count {
            1 => "1 locked layer stays as it is".to_owned(),
            count => format!("{count} locked layers stay as they are"),
        };
        ui.label(text);
        if ui.small_button("Show locked").clicked() {
            scene.push(Command::Filter("locked".to_owned()));
            scene.push(Command::Show(View::Layers));
        }
    });
}
